"""Datasets of tokens on disk, under one name; the parts live in ``fairseq.data.indexed``."""

from fairseq.data.indexed.choose import (
    dataset_exists,
    get_available_dataset_impl,
    get_indexed_dataset_to_local,
    infer_dataset_impl,
    make_builder,
    make_dataset,
)
from fairseq.data.indexed.formats import (
    best_fitting_int_dtype,
    data_file_path,
    index_file_path,
    read_longs,
    write_longs,
)
from fairseq.data.indexed.mmap import MMapIndexedDataset, MMapIndexedDatasetBuilder
from fairseq.data.indexed.raw_text import IndexedRawTextDataset
from fairseq.data.indexed.tnt import IndexedCachedDataset, IndexedDataset, IndexedDatasetBuilder

__all__ = [
    "IndexedCachedDataset",
    "IndexedDataset",
    "IndexedDatasetBuilder",
    "IndexedRawTextDataset",
    "MMapIndexedDataset",
    "MMapIndexedDatasetBuilder",
    "best_fitting_int_dtype",
    "data_file_path",
    "dataset_exists",
    "get_available_dataset_impl",
    "get_indexed_dataset_to_local",
    "index_file_path",
    "infer_dataset_impl",
    "make_builder",
    "make_dataset",
    "read_longs",
    "write_longs",
]
