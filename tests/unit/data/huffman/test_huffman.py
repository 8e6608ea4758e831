"""Compressed token data."""

import pickle

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairseq.data.indexed_dataset import infer_dataset_impl, make_dataset

FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
WORDS = st.lists(st.sampled_from(["a", "b", "c", "dd", "é", "<unk>"]), max_size=8)


@pytest.fixture
def huffman():
    pytest.importorskip("bitarray")
    from fairseq.data import huffman

    return huffman


def coder_of(huffman, lines):
    counts = huffman.HuffmanCodeBuilder()
    for words in lines:
        counts.add_symbols(*words)
    return counts.build_code()


def write(huffman, prefix, coder, lines):
    with huffman.HuffmanMMapIndexedDatasetBuilder(str(prefix), coder) as builder:
        for words in lines:
            builder.add_item(words)
    return str(prefix)


@FEW
@given(lines=st.lists(WORDS, max_size=6))
def test_what_was_compressed_is_read(huffman, lines, tmp_path):
    prefix = write(huffman, tmp_path / "d", coder_of(huffman, lines), lines)
    data = make_dataset(prefix, infer_dataset_impl(prefix))
    assert [list(data.get_symbols(i)) for i in range(len(data))] == lines
    assert data.sizes.tolist() == [len(words) for words in lines]
    assert len(pickle.loads(pickle.dumps(data))) == len(lines)


def test_words_outside_of_the_code_are_unknown(huffman):
    coder = coder_of(huffman, [["a", "a", "b"]])
    assert [node.symbol for node in coder.decode(coder.encode(["a", "zzz"]))] == ["a", "<unk>"]
    assert ("a" in coder, "zzz" in coder) == (True, False)
    assert coder.get_code("zzz") == coder.get_code("<unk>")
    assert [node.symbol for node in coder.root.decode(coder.get_code("a") + coder.get_code("b"))] == ["a", "b"]


def test_a_code_survives_its_file_and_merging_adds_counts(huffman, tmp_path):
    coder = coder_of(huffman, [["a", "a", "b"]])
    coder.to_file(str(tmp_path / "vocab"))
    assert huffman.HuffmanCoder.from_file(str(tmp_path / "vocab")) == coder
    merged = coder.merge(coder_of(huffman, [["b", "c"]]))
    assert {symbol: merged.get_node(symbol).count for symbol in "abc"} == {"a": 2, "b": 2, "c": 1}
    assert sorted(coder) == sorted(["a", "b", "<s>", "<pad>", "</s>", "<unk>"])
    assert coder.to_dictionary().index("a") == 4
    counts = huffman.HuffmanCodeBuilder()
    counts.increment("x", 3)
    assert (counts + counts).symbols == {"x": 6}


def test_datasets_with_one_code_are_appended(huffman, tmp_path):
    lines = [["a", "b"], ["b"]]
    coder = coder_of(huffman, lines)
    first = write(huffman, tmp_path / "one", coder, lines)
    with huffman.HuffmanMMapIndexedDatasetBuilder(str(tmp_path / "two"), coder) as builder:
        builder.add_item(["a"])
        builder.append(first)
    data = huffman.HuffmanMMapIndexedDataset(str(tmp_path / "two"))
    assert [list(data.get_symbols(i)) for i in range(3)] == [["a"], *lines]
    with (
        pytest.raises(ValueError, match="another Huffman code"),
        huffman.HuffmanMMapIndexedDatasetBuilder(str(tmp_path / "x"), coder_of(huffman, [["q"]])) as builder,
    ):
        builder.append(first)


@pytest.mark.parametrize("extension", [".idx", ".bin", ".vocab"])
def test_damaged_files_are_named(huffman, extension, tmp_path):
    lines = [["a", "b", "a"], ["b"]]
    prefix = write(huffman, tmp_path / "d", coder_of(huffman, lines), lines)
    path = tmp_path / f"d{extension}"
    body = path.read_bytes()
    for damaged in (body[:-1] if extension != ".vocab" else b"a b c\n", b"" if extension != ".vocab" else b"a x\n"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"d\.(idx|bin|vocab)"):
            huffman.HuffmanMMapIndexedDataset(prefix)
    if extension == ".bin":
        path.write_bytes(b"\0" * len(body))
        with pytest.raises(ValueError, match="item 0 cannot be decoded"):
            huffman.HuffmanMMapIndexedDataset(prefix)[0]


def test_a_vocabulary_that_is_not_utf8_is_named_by_line(huffman, tmp_path):
    (tmp_path / "v").write_bytes(b"a\t1\n\xff\t2\n")
    with pytest.raises(ValueError, match=r"v, line 2: the words must be UTF-8"):
        huffman.HuffmanCodeBuilder.from_file(str(tmp_path / "v"))
