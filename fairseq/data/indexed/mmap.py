"""The memory-mapped format: opening costs the same for ten sentences and for a billion.

The index is ``MMIDIDX\\0\\0``, version (u64, 1), type code (u8), number of items N (u64), N sizes in tokens (i32), N
byte offsets into the data file (i64). The data file holds the tokens of all items without separators.
"""

from __future__ import annotations

import contextlib
import os
import struct
from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.utils.data

from fairseq.data.indexed.formats import (
    MMAP_MAGIC,
    DataWriter,
    array_at,
    damaged,
    data_file_path,
    dtype_code,
    dtype_of_code,
    header,
    index_file_path,
    map_file,
)
from fairseq.file_io import PathManager, atomic_open

__all__ = ["MMapIndex", "MMapIndexedDataset", "MMapIndexedDatasetBuilder"]

LAYOUT = "<QBQ"


class MMapIndex:
    """The index file: sizes and places of the items.

    Args:
        path: the ``.idx`` file.

    Attributes:
        dtype: of the tokens in the data file.
        sizes: tokens per item, ``(N,)``, int32, a read-only view of the file.

    Raises:
        AssertionError: another format.
        ValueError: the file is damaged.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        path = os.fspath(path)
        self.path = path
        self._buffer = map_file(path)
        code, self._len = header(self._buffer, path, MMAP_MAGIC, LAYOUT)
        self.dtype = dtype_of_code(path, code)
        start = len(MMAP_MAGIC) + struct.calcsize(LAYOUT)
        self.sizes = array_at(self._buffer, path, "<i4", self._len, start)
        self.pointers = array_at(self._buffer, path, "<i8", self._len, start + 4 * self._len)

    def __len__(self) -> int:
        return self._len

    def __getitem__(self, i: int) -> tuple[int, int]:
        """Byte offset and number of tokens of an item."""
        return int(self.pointers[i]), int(self.sizes[i])

    @staticmethod
    @contextlib.contextmanager
    def writer(path: str, dtype: Any) -> Iterator[_IndexWriter]:
        """Write an index file; the object given has ``write(sizes)``."""
        with atomic_open(path, "wb") as file:
            yield _IndexWriter(file, np.dtype(dtype))


class _IndexWriter:
    def __init__(self, file: Any, dtype: np.dtype) -> None:
        self.file, self.dtype = file, dtype

    def write(self, sizes: Any) -> None:
        sizes = np.asarray(sizes, dtype="<i4")
        ends = np.cumsum(sizes, dtype="<i8") * self.dtype.itemsize
        self.file.write(MMAP_MAGIC + struct.pack(LAYOUT, 1, dtype_code(self.dtype), len(sizes)))
        self.file.write(sizes.tobytes())
        self.file.write(np.concatenate([np.zeros(1, "<i8"), ends[:-1]])[: len(sizes)].tobytes())


class MMapIndexedDataset(torch.utils.data.Dataset):
    """Items of tokens, read when they are asked for.

    An item is an int64 tensor ``(num_tokens,)`` of its own, whatever the file holds. Pickling keeps the path
    alone, so a data loader's workers open the files anew.

    Args:
        path: of both files, without ``.idx`` and ``.bin``.

    Raises:
        AssertionError: the index has another format.
        ValueError: a file is damaged. What lies within the data file is checked when an item is read.
    """

    Index = MMapIndex

    def __init__(self, path: str) -> None:
        super().__init__()
        self._open(path)

    def _open(self, path: str | os.PathLike[str]) -> None:
        path = os.fspath(path)
        self._path = path
        self._index = MMapIndex(index_file_path(path))
        self._data = map_file(data_file_path(path))
        self._sizes_checked = False
        if len(self._index):
            # The last item ends where the data ends; a data file that was cut short is noticed now, not in epoch 7.
            self._span(len(self._index) - 1)

    def _span(self, i: int) -> tuple[int, int]:
        offset, size = self._index[i]
        if offset < 0 or size < 0 or offset + size * self._index.dtype.itemsize > len(self._data):
            damaged(
                data_file_path(self._path),
                f"by its index, item {i} has {size:,} tokens at byte {offset:,} of {len(self._data):,}",
            )
        return offset, size

    def __getstate__(self) -> str:
        return self._path

    def __setstate__(self, state: str) -> None:
        self._open(state)

    def __del__(self) -> None:
        # Subclasses outside call it; the map itself goes when its last view does.
        self._data = b""

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, i: int) -> torch.Tensor:
        offset, size = self._span(i)
        stored = np.frombuffer(self._data, dtype=self._index.dtype, count=size, offset=offset)
        # Always a copy: the map is read-only, and a tensor cannot be.
        return torch.from_numpy(stored.astype(np.int64))

    @property
    def sizes(self) -> np.ndarray:
        """Tokens per item, ``(N,)``, int32."""
        if not self._sizes_checked:
            if len(self) and self._index.sizes.min() < 0:
                damaged(self._index.path, f"item {self._index.sizes.argmin()} has a negative size")
            self._sizes_checked = True
        return self._index.sizes

    @property
    def supports_prefetch(self) -> bool:
        """No: the operating system does it."""
        return False

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        """Yes: items do not depend on the epoch."""
        return True

    @staticmethod
    def exists(path: str) -> bool:
        """Whether both files are there."""
        return PathManager.exists(index_file_path(path)) and PathManager.exists(data_file_path(path))


class MMapIndexedDatasetBuilder:
    """Writes the format.

    Args:
        out_file: the data file.
        dtype: of the stored tokens.

    Raises:
        ValueError: the format has no code for the type.
    """

    def __init__(self, out_file: str | os.PathLike[str], dtype: Any = np.int64) -> None:
        out_file = os.fspath(out_file)
        dtype_code(dtype)
        self._dtype = np.dtype(dtype)
        self._data = DataWriter(out_file, dtype)
        # Four bytes per item; a list would take ten times as much.
        self._sizes = array("i")

    def add_item(self, tensor: torch.Tensor) -> None:
        """Append one item, any shape; it is stored flat."""
        self._data.write(tensor.numpy())
        self._sizes.append(tensor.numel())

    def add_items(self, tokens: np.ndarray, lengths: np.ndarray) -> None:
        """Append many items: all their tokens, one behind the other, and how many each has."""
        self._data.write(tokens)
        self._sizes.frombytes(np.asarray(lengths, dtype="i4").tobytes())

    def merge_file_(self, another_file: str) -> None:
        """Append the items of another dataset (a path without extension).

        Raises:
            ValueError: it holds another type.
        """
        index = MMapIndex(index_file_path(another_file))
        if index.dtype != self._dtype:
            raise ValueError(f"{another_file} holds {index.dtype.name} and cannot be appended to {self._dtype.name}")
        self._sizes.frombytes(index.sizes.tobytes())
        self._data.append_file(data_file_path(another_file))

    def finalize(self, index_file: str | os.PathLike[str]) -> None:
        """Finish the data file and write the index."""
        index_file = os.fspath(index_file)
        self._data.close()
        with MMapIndex.writer(index_file, self._dtype) as index:
            index.write(self._sizes)
