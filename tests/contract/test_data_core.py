"""Dictionaries, binary formats and text encoders against recorded results (``golden/data_core.json``)."""

import base64
import io
import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from fairseq.data import indexed_dataset
from fairseq.data.dictionary import Dictionary

CASES = json.loads((Path(__file__).parent / "golden" / "data_core.json").read_text(encoding="utf-8"))["cases"]


def of_kind(kind):
    cases = [case for case in CASES if case["kind"] == kind]
    assert cases
    return pytest.mark.parametrize("case", cases, ids=[case["id"] for case in cases])


def text_of(dictionary):
    out = io.StringIO()
    dictionary.save(out)
    return out.getvalue()


def same_bytes(path, facts):
    return Path(path).read_bytes() == base64.b64decode(facts["base64"])


@of_kind("dict_build")
def test_a_dictionary_built_from_text_has_the_recorded_order(case):
    given, expect = case["given"], case["expect"]
    dictionary = Dictionary(**given.get("dict_args", {}))
    for line in given["text"]:
        dictionary.encode_line(line)
    assert len(dictionary) == expect["before"]
    dictionary.finalize(**given["finalize"])
    assert (len(dictionary), text_of(dictionary)) == (expect["length"], expect["text"])
    assert [dictionary[i] for i in range(dictionary.nspecial)] == expect["special_words"]
    assert [dictionary.bos(), dictionary.pad(), dictionary.eos(), dictionary.unk()] == expect["special"]
    assert dictionary[len(dictionary) + 5] == expect["beyond"]


@of_kind("dict_encode")
def test_encoding_and_writing_out_give_the_recorded_rows(case):
    given, expect = case["given"], case["expect"]
    dictionary = Dictionary()
    for word in given["words"]:
        dictionary.add_symbol(word)
    for line, row in zip(given["text"], expect["rows"]):
        ids = dictionary.encode_line(line, **given["encode"])
        assert (ids.tolist(), str(ids.dtype)) == (row["ids"], row["dtype"])
        assert dictionary.string(ids, **given["string"]) == row["string"]
    assert dictionary.count == expect["counts"]


@of_kind("dict_load")
def test_dictionary_files_load_or_are_refused_as_recorded(case):
    given, expect = case["given"], case["expect"]
    if "raises" in expect:
        with pytest.raises(Exception) as caught:
            Dictionary.load(io.StringIO(given["dict_text"]))
        assert type(caught.value).__name__ == expect["raises"]
        return
    dictionary = Dictionary.load(io.StringIO(given["dict_text"]))
    assert [dictionary.index(word) for word in given["ask"]] == expect["indices"]
    assert (len(dictionary), text_of(dictionary)) == (expect["length"], expect["text"])


@of_kind("builder_bytes")
def test_builders_write_the_recorded_bytes_and_readers_give_the_items_back(case, tmp_path):
    given, expect = case["given"], case["expect"]

    def build(prefix, items):
        if "dtype" in given:
            kinds = {
                "mmap": indexed_dataset.MMapIndexedDatasetBuilder,
                "cached": indexed_dataset.IndexedDatasetBuilder,
            }
            builder = kinds[given["impl"]](prefix + ".bin", dtype=np.dtype(given["dtype"]).type)
        else:
            builder = indexed_dataset.make_builder(prefix + ".bin", given["impl"], given.get("vocab_size"))
        for item in items:
            builder.add_item(torch.tensor(item, dtype=getattr(torch, given.get("tensor", "int64"))))
        return builder

    prefix = str(tmp_path / "d")
    if "raises" in expect:
        with pytest.raises({"ValueError": ValueError, "KeyError": KeyError}[expect["raises"]]):
            build(prefix, given["items"])
        return
    builder = build(prefix, given["items"])
    if "merge" in given:
        build(prefix + "2", given["merge"]).finalize(prefix + "2.idx")
        builder.merge_file_(prefix + "2")
    builder.finalize(prefix + ".idx")
    assert same_bytes(prefix + ".bin", expect["bin"])
    assert same_bytes(prefix + ".idx", expect["idx"])
    assert indexed_dataset.infer_dataset_impl(prefix) == expect["inferred"]
    assert indexed_dataset.dataset_exists(prefix, given["impl"]) == expect["exists"]
    data = indexed_dataset.make_dataset(prefix, given["impl"])
    if data.supports_prefetch:
        data.prefetch(range(len(data)))
    assert [data[i].tolist() for i in range(len(data))] == expect["back"]
    assert data.sizes.tolist() == expect["sizes"]


@of_kind("int_dtype")
def test_the_stored_type_follows_the_vocabulary(case):
    found = [np.dtype(indexed_dataset.best_fitting_int_dtype(n)).name for n in case["given"]["largest"]]
    assert found == case["expect"]


@of_kind("huffman")
def test_huffman_codes_and_files_are_the_recorded_ones(case, tmp_path):
    pytest.importorskip("bitarray")
    from fairseq.data.huffman import HuffmanCodeBuilder, HuffmanMMapIndexedDataset, HuffmanMMapIndexedDatasetBuilder

    lines, expect = [line.split() for line in case["given"]["text"]], case["expect"]
    counts = HuffmanCodeBuilder()
    for words in lines:
        counts.add_symbols(*words)
    coder = counts.build_code()
    assert {word: coder.get_code(word).to01() for word in expect["codes"]} == expect["codes"]
    prefix = str(tmp_path / "d")
    with HuffmanMMapIndexedDatasetBuilder(prefix, coder) as builder:
        for words in lines:
            builder.add_item(words)
    assert same_bytes(prefix + ".bin", expect["bin"])
    assert same_bytes(prefix + ".idx", expect["idx"])
    data = HuffmanMMapIndexedDataset(prefix)
    assert [item.tolist() for item in data] == expect["back"]
    assert [list(data.get_symbols(i)) for i in range(len(data))] == lines


@of_kind("preprocess_files")
@pytest.mark.parametrize("workers", ["1", "3"])
def test_preprocessing_writes_the_recorded_files(case, workers, tmp_path):
    from fairseq import options
    from fairseq_cli import preprocess

    def fill(text):
        return text.replace("{dest}", str(tmp_path / "out"))

    for name, text in case["given"]["write"].items():
        path = Path(fill(name))
        (tmp_path / "out").mkdir(exist_ok=True)
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    argv = [*map(fill, case["given"]["argv"]), "--workers", workers]
    preprocess.main(options.get_preprocessing_parser().parse_args(argv))
    written = {path.name for path in (tmp_path / "out").iterdir()} - {"preprocess.log"}
    assert written == set(case["expect"])
    assert all(same_bytes(tmp_path / "out" / name, facts) for name, facts in case["expect"].items())


@of_kind("encoder")
def test_tokenizers_and_subwords_encode_and_decode_as_recorded(case, tmp_path):
    from fairseq.data import encoders

    given, expect = case["given"], case["expect"]
    needed = {"subword_nmt": "subword_nmt", "moses": "sacremoses"}.get(given["name"])
    if needed:
        pytest.importorskip(needed)
    options = dict(given.get("args", {}))
    if "codes" in given:
        options["bpe_codes"] = str(tmp_path / "codes")
        (tmp_path / "codes").write_text(given["codes"], encoding="utf-8")
    build = encoders.build_bpe if given["group"] == "bpe" else encoders.build_tokenizer
    encoder = build(Namespace(**{given["group"]: given["name"]}, **options))
    encoded = [encoder.encode(text) for text in given["texts"]]
    assert encoded == expect["encoded"]
    assert [encoder.decode(text) for text in encoded] == expect["decoded"]
