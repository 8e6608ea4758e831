"""Which format a prefix holds, and the reader or writer for a format."""

from __future__ import annotations

from typing import Any

from fairseq.data.indexed.formats import (
    HUFFMAN_MAGIC,
    MMAP_MAGIC,
    TNT_MAGIC,
    best_fitting_int_dtype,
    data_file_path,
    index_file_path,
)
from fairseq.data.indexed.mmap import MMapIndexedDataset, MMapIndexedDatasetBuilder
from fairseq.data.indexed.raw_text import IndexedRawTextDataset
from fairseq.data.indexed.tnt import IndexedCachedDataset, IndexedDataset, IndexedDatasetBuilder
from fairseq.dataclass.constants import DATASET_IMPL_CHOICES
from fairseq.file_io import PathManager

__all__ = [
    "dataset_exists",
    "get_available_dataset_impl",
    "get_indexed_dataset_to_local",
    "infer_dataset_impl",
    "make_builder",
    "make_dataset",
]

IMPL_BY_MAGIC = {TNT_MAGIC[:8]: "cached", MMAP_MAGIC[:8]: "mmap", HUFFMAN_MAGIC[:8]: "huffman"}


def get_available_dataset_impl() -> list[str]:
    """The values of ``--dataset-impl``."""
    return list(map(str, DATASET_IMPL_CHOICES))


def infer_dataset_impl(path: str) -> str | None:
    """Look at the files of a prefix and say which format they have; ``None`` if there are none, or none known."""
    from fairseq.data.fasta_dataset import FastaDataset

    if IndexedRawTextDataset.exists(path):
        return "raw"
    if IndexedDataset.exists(path):
        with PathManager.open(index_file_path(path), "rb") as file:
            return IMPL_BY_MAGIC.get(file.read(8))
    return "fasta" if FastaDataset.exists(path) else None


def make_builder(out_file: str, impl: str, vocab_size: int | None = None) -> Any:
    """The writer for a format.

    Args:
        out_file: the data file.
        impl: "mmap", "lazy" or "cached".
        vocab_size: chooses the element type of mmap.

    Raises:
        NotImplementedError: fasta is not written.
        ValueError: huffman has a builder of its own; raw is text.
    """
    if impl == "mmap":
        return MMapIndexedDatasetBuilder(out_file, dtype=best_fitting_int_dtype(vocab_size))
    if impl == "fasta":
        raise NotImplementedError("fasta files are read, not written; use --dataset-impl mmap")
    if impl == "huffman":
        raise ValueError("Huffman data is written by HuffmanCodeBuilder and HuffmanMMapIndexedDatasetBuilder instead")
    if impl == "raw":
        raise ValueError("raw data is plain text and has no builder: copy the text file")
    return IndexedDatasetBuilder(out_file)


def make_dataset(path: str, impl: str, fix_lua_indexing: bool = False, dictionary: Any = None) -> Any:
    """Open a dataset; ``None`` if the files of that format do not exist.

    Args:
        path: the prefix.
        impl: the format.
        fix_lua_indexing: for lazy and cached: subtract the one that is stored on top of each token.
        dictionary: for raw and fasta, which are encoded on reading.
    """
    if impl == "raw" and IndexedRawTextDataset.exists(path):
        if dictionary is None:
            raise ValueError(f"{path} is raw text and cannot be read without a dictionary")
        return IndexedRawTextDataset(path, dictionary)
    if impl == "lazy" and IndexedDataset.exists(path):
        return IndexedDataset(path, fix_lua_indexing=fix_lua_indexing)
    if impl == "cached" and IndexedDataset.exists(path):
        return IndexedCachedDataset(path, fix_lua_indexing=fix_lua_indexing)
    if impl == "mmap" and MMapIndexedDataset.exists(path):
        return MMapIndexedDataset(path)
    if impl == "fasta":
        from fairseq.data.fasta_dataset import EncodedFastaDataset, FastaDataset

        return EncodedFastaDataset(path, dictionary) if FastaDataset.exists(path) else None
    if impl == "huffman":
        from fairseq.data.huffman import HuffmanMMapIndexedDataset

        return HuffmanMMapIndexedDataset(path) if HuffmanMMapIndexedDataset.exists(path) else None
    return None


def dataset_exists(path: str, impl: str) -> bool:
    """Whether the files of a dataset in the given format are there."""
    if impl == "raw":
        return IndexedRawTextDataset.exists(path)
    if impl == "fasta":
        from fairseq.data.fasta_dataset import FastaDataset

        return FastaDataset.exists(path)
    if impl == "huffman":
        from fairseq.data.huffman import HuffmanMMapIndexedDataset

        return HuffmanMMapIndexedDataset.exists(path)
    return MMapIndexedDataset.exists(path)


def get_indexed_dataset_to_local(path: str) -> str:
    """Fetch both files of a prefix, if they are remote, and return the prefix on this machine.

    Raises:
        ValueError: the two files came to lie under different names.
    """
    index = PathManager.get_local_path(index_file_path(path))
    data = PathManager.get_local_path(data_file_path(path))
    if index.removesuffix(".idx") != data.removesuffix(".bin"):
        raise ValueError(f"{path}: the index and the data were fetched to different places ({index} and {data})")
    return index.removesuffix(".idx")
