"""Binary formats: round trips, damaged files, opening without reading."""

import os
import pickle
import struct

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairseq.data import indexed_dataset
from fairseq.data.dictionary import Dictionary
from fairseq.data.indexed.formats import DTYPES
from fairseq.data.indexed_dataset import (
    IndexedCachedDataset,
    IndexedDataset,
    IndexedDatasetBuilder,
    IndexedRawTextDataset,
    MMapIndexedDataset,
    MMapIndexedDatasetBuilder,
)

FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ITEMS = [[5, 6, 2], [2], [7, 8, 9, 2]]


def write(prefix, items=ITEMS, impl="mmap", vocab_size=100):
    builder = indexed_dataset.make_builder(f"{prefix}.bin", impl, vocab_size)
    for item in items:
        builder.add_item(torch.tensor(item, dtype=torch.int64))
    builder.finalize(f"{prefix}.idx")
    return str(prefix)


def read(prefix, impl):
    data = indexed_dataset.make_dataset(prefix, impl, fix_lua_indexing=impl != "mmap")
    if data.supports_prefetch:
        data.prefetch(range(len(data)))
    return [data[i].tolist() for i in range(len(data))]


@pytest.mark.parametrize("impl", ["mmap", "lazy", "cached"])
@FEW
@given(items=st.lists(st.lists(st.integers(0, 99), max_size=6), max_size=6))
def test_what_was_written_is_read_and_many_at_once_are_the_same_bytes(impl, items, tmp_path):
    prefix = write(tmp_path / "one", items, impl)
    assert read(prefix, "lazy" if impl == "lazy" else impl) == items
    builder = indexed_dataset.make_builder(str(tmp_path / "many.bin"), impl, 100)
    half = len(items) // 2
    for part in (items[:half], items[half:]):
        flat = np.array([token for item in part for token in item], dtype=np.int64)
        builder.add_items(flat, np.array([len(item) for item in part], dtype=np.int64))
    builder.finalize(str(tmp_path / "many.idx"))
    for extension in (".bin", ".idx"):
        assert (tmp_path / f"one{extension}").read_bytes() == (tmp_path / f"many{extension}").read_bytes()


@pytest.mark.parametrize("dtype", sorted({np.dtype(kind).name for kind in DTYPES.values()}))
def test_every_element_type_comes_back_as_int64(dtype, tmp_path):
    builder = MMapIndexedDatasetBuilder(str(tmp_path / "d.bin"), dtype=np.dtype(dtype).type)
    builder.add_item(torch.tensor([1, 2, 100]))
    builder.finalize(str(tmp_path / "d.idx"))
    item = MMapIndexedDataset(str(tmp_path / "d"))[0]
    assert (item.tolist(), item.dtype) == ([1, 2, 100], torch.int64)
    item += 1  # the caller's own: the file does not change


def test_a_token_that_does_not_fit_is_refused_instead_of_wrapping_around(tmp_path):
    builder = MMapIndexedDatasetBuilder(str(tmp_path / "d.bin"), dtype=np.uint16)
    for value in (65536, -1):
        with pytest.raises(ValueError, match="do not fit uint16"):
            builder.add_item(torch.tensor([value]))


def test_datasets_of_different_types_are_not_merged(tmp_path):
    write(tmp_path / "small", vocab_size=100)
    builder = indexed_dataset.make_builder(str(tmp_path / "big.bin"), "mmap", 100_000)
    with pytest.raises(ValueError, match="uint16"):
        builder.merge_file_(str(tmp_path / "small"))


@pytest.mark.parametrize("impl", ["mmap", "lazy"])
def test_a_pickled_dataset_is_a_path(impl, tmp_path):
    prefix = write(tmp_path / "d", [[1, 2]] * 5000, impl)
    data = indexed_dataset.make_dataset(prefix, impl, fix_lua_indexing=impl != "mmap")
    packed = pickle.dumps(data)
    assert len(packed) < 1000
    assert pickle.loads(packed)[4999].tolist() == [1, 2]


def test_items_outside_are_index_errors(tmp_path):
    lazy = IndexedDataset(write(tmp_path / "l", impl="lazy"))
    for i in (-1, 3):
        with pytest.raises(IndexError, match="index out of range"):
            lazy[i]
    mapped = MMapIndexedDataset(write(tmp_path / "m"))
    with pytest.raises(IndexError):
        mapped[3]
    assert mapped[-1].tolist() == ITEMS[-1]


def test_a_cached_item_must_be_prefetched(tmp_path):
    data = IndexedCachedDataset(write(tmp_path / "c", impl="cached"), fix_lua_indexing=True)
    data.prefetch([2, 0])
    assert data.data_file is None
    assert [data[0].tolist(), data[2].tolist()] == [ITEMS[0], ITEMS[2]]
    with pytest.raises(KeyError, match="prefetch"):
        data[1]


def test_items_of_more_dimensions_keep_their_shape(tmp_path):
    builder = IndexedDatasetBuilder(str(tmp_path / "d.bin"))
    builder.add_item(torch.arange(6).reshape(2, 3))
    builder.finalize(str(tmp_path / "d.idx"))
    data = IndexedDataset(str(tmp_path / "d"), fix_lua_indexing=True)
    assert data[0].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_opening_touches_a_few_pages_whatever_the_size(tmp_path):
    resource = pytest.importorskip("resource")
    num_items = 1 << 24
    with open(tmp_path / "d.idx", "wb") as index:
        index.write(b"MMIDIDX\0\0" + struct.pack("<QBQ", 1, 8, num_items))
        index.truncate(26 + 12 * num_items)  # 200 MB of zeros that take no room on the disk
    (tmp_path / "d.bin").write_bytes(b"")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    data = MMapIndexedDataset(str(tmp_path / "d"))
    assert (len(data), data[12345].tolist()) == (num_items, [])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 5000


def test_raw_text_keeps_its_lines_and_an_uncommon_dictionary_gives_the_same(tmp_path):
    class Uncommon(Dictionary):
        def index(self, sym):
            return super().index(sym)

    path = tmp_path / "text"
    path.write_text(" a  b\n\nz a", encoding="utf-8")
    found = []
    for kind in (Dictionary, Uncommon):
        dictionary = kind()
        dictionary.add_symbol("a")
        dictionary.add_symbol("b")
        data = IndexedRawTextDataset(str(path), dictionary, reverse_order=True)
        found.append([item.tolist() for item in data])
        assert [data.get_original_text(i) for i in range(3)] == [" a  b", "", "z a"]
        assert data.sizes.tolist() == [3, 1, 3]
        assert data[0].dtype == torch.int64
    assert found == [[[5, 4, 2], [2], [4, 3, 2]]] * 2


def test_the_format_is_inferred_from_the_files(tmp_path):
    assert indexed_dataset.infer_dataset_impl(str(tmp_path / "none")) is None
    assert indexed_dataset.infer_dataset_impl(write(tmp_path / "m")) == "mmap"
    assert indexed_dataset.infer_dataset_impl(write(tmp_path / "c", impl="lazy")) == "cached"
    (tmp_path / "x.idx").write_bytes(b"something else")
    (tmp_path / "x.bin").write_bytes(b"")
    assert indexed_dataset.infer_dataset_impl(str(tmp_path / "x")) is None
    (tmp_path / "raw").write_text("a\n")
    assert indexed_dataset.infer_dataset_impl(str(tmp_path / "raw")) == "raw"


def test_a_missing_dataset_is_none_and_a_wrong_builder_is_explained(tmp_path):
    for impl in indexed_dataset.get_available_dataset_impl():
        assert indexed_dataset.make_dataset(str(tmp_path / "none"), impl, dictionary=Dictionary()) is None
        assert not indexed_dataset.dataset_exists(str(tmp_path / "none"), impl)
    with pytest.raises(NotImplementedError):
        indexed_dataset.make_builder(str(tmp_path / "x.bin"), "fasta")
    with pytest.raises(ValueError, match="HuffmanCodeBuilder"):
        indexed_dataset.make_builder(str(tmp_path / "x.bin"), "huffman")


# -- damaged files


def test_another_format_is_the_assertion_error_that_scripts_know(tmp_path):
    prefix = write(tmp_path / "d", impl="lazy")
    with pytest.raises(AssertionError, match="Index file doesn't match expected format. Make sure that --dataset-impl"):
        MMapIndexedDataset(prefix)


def damage(path, at, layout, value):
    body = bytearray(path.read_bytes())
    struct.pack_into(layout, body, at, value)
    path.write_bytes(bytes(body))


HOSTILE_MMAP = {
    "version": (9, "<Q", 2),
    "element type 0": (17, "<B", 0),
    "element type 77": (17, "<B", 77),
    "many items": (18, "<Q", 2**62),
    "more items than there are": (18, "<Q", 4),
    "a negative last offset": (26 + 12 + 16, "<q", -8),
    "a huge last offset": (26 + 12 + 16, "<q", 2**60),
    "a huge last size": (26 + 8, "<i", 2**31 - 1),
    "a negative last size": (26 + 8, "<i", -1),
}


@pytest.mark.parametrize("what", HOSTILE_MMAP)
def test_a_hostile_index_is_refused_when_opened(what, tmp_path):
    prefix = write(tmp_path / "d")
    damage(tmp_path / "d.idx", *HOSTILE_MMAP[what])
    with pytest.raises(ValueError, match=r"d\.(idx|bin) is damaged: .* build it again"):
        MMapIndexedDataset(prefix)


@pytest.mark.parametrize(
    ("at", "layout", "value"), [(26, "<i", 2**31 - 1), (26, "<i", -5), (38, "<q", -2), (38, "<q", 2**62)]
)
def test_a_hostile_item_is_refused_when_read(at, layout, value, tmp_path):
    prefix = write(tmp_path / "d")
    damage(tmp_path / "d.idx", at, layout, value)
    data = MMapIndexedDataset(prefix)
    with pytest.raises(ValueError, match="damaged"):
        data[0]
    assert data[2].tolist() == ITEMS[2]


def test_negative_sizes_are_refused_before_anyone_sorts_by_them(tmp_path):
    prefix = write(tmp_path / "d")
    damage(tmp_path / "d.idx", 26, "<i", -5)
    with pytest.raises(ValueError, match="negative"):
        len(MMapIndexedDataset(prefix).sizes)


@pytest.mark.parametrize("impl", ["mmap", "lazy", "cached"])
def test_files_cut_anywhere_are_refused_or_read_as_they_were(impl, tmp_path):
    prefix = write(tmp_path / "d", impl=impl)
    whole = {extension: (tmp_path / f"d{extension}").read_bytes() for extension in (".idx", ".bin")}
    for extension, body in whole.items():
        for length in range(len(body)):
            (tmp_path / f"d{extension}").write_bytes(body[:length])
            with pytest.raises(ValueError, match="damaged"):
                read(prefix, impl)
        (tmp_path / f"d{extension}").write_bytes(body)
    assert read(prefix, impl) == ITEMS


@pytest.mark.parametrize("impl", ["mmap", "lazy", "cached"])
@FEW
@given(data=st.data())
def test_any_change_of_a_byte_is_an_error_of_known_kind_or_harmless(impl, data, tmp_path):
    prefix = write(tmp_path / "d", impl=impl)
    path = tmp_path / "d.idx"
    body = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(body))
    try:
        items = read(prefix, impl)
    except (ValueError, AssertionError):
        return
    # Nothing can be read that the data file does not hold.
    assert all(len(item) <= os.path.getsize(prefix + ".bin") for item in items)


@pytest.mark.parametrize("impl", ["lazy", "cached"])
def test_an_item_without_a_dimension_is_damage(impl, tmp_path):
    prefix = write(tmp_path / "d", impl=impl)
    path = tmp_path / "d.idx"
    body = path.read_bytes()
    # The offsets of the items' sizes follow the header of 48 bytes: 0, 1, 2, ...
    assert body[48:72] == b"".join(n.to_bytes(8, "little") for n in range(3))
    path.write_bytes(body[:56] + bytes(8) + body[64:])
    with pytest.raises(ValueError, match="item 0 has its sizes at 0 to 0"):
        read(prefix, impl)


@pytest.mark.parametrize("position", [8, 16, 24, 32, 40])
@pytest.mark.parametrize("value", [2**63, 2**40, 255])
def test_hostile_headers_of_the_old_format_are_refused(position, value, tmp_path):
    prefix = write(tmp_path / "d", impl="lazy")
    damage(tmp_path / "d.idx", position, "<Q", value)
    with pytest.raises(ValueError, match="damaged"):
        IndexedDataset(prefix)
