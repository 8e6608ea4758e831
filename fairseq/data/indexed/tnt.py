"""The format of the Torch days, read lazily or through a cache.

The index is ``TNTIDX\\0\\0``, version (u64, 1), type code (u64), element size in bytes (u64), number of items N (u64),
number of sizes S (u64), N + 1 positions in the sizes (i64), N + 1 positions in the data in elements (i64), S sizes
(i64). By tradition (Lua counts from 1) files hold tokens plus one; ``fix_lua_indexing`` takes it off again.
"""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from fairseq.data.fairseq_dataset import FairseqDataset
from fairseq.data.indexed.formats import (
    TNT_MAGIC,
    DataWriter,
    array_at,
    damaged,
    data_file_path,
    dtype_code,
    dtype_of_code,
    header,
    index_file_path,
    map_file,
    write_longs,
)
from fairseq.file_io import PathManager, atomic_open

__all__ = ["IndexedCachedDataset", "IndexedDataset", "IndexedDatasetBuilder"]

LAYOUT = "<QQQQQ"
MAX_ELEMENT_SIZE = 8


class IndexedDataset(FairseqDataset):
    """Items of tokens, each read from the file when it is asked for.

    Args:
        path: of both files, without ``.idx`` and ``.bin``.
        fix_lua_indexing: subtract the one that is stored on top of each token.

    Attributes:
        sizes: all dimensions of all items; for plain sequences, tokens per item, ``(N,)``, int64.

    Raises:
        AssertionError: the index has another format.
        ValueError: a file is damaged.
    """

    def __init__(self, path: str | os.PathLike[str], fix_lua_indexing: bool = False) -> None:
        path = os.fspath(path)
        super().__init__()
        self.path = path
        self.fix_lua_indexing = fix_lua_indexing
        self.data_file: Any = None
        self.read_index(path)

    def read_index(self, path: str) -> None:
        """Map the index file; nothing of its tables is read yet."""
        name = index_file_path(path)
        buffer = map_file(name)
        code, self.element_size, self._len, self.s = header(buffer, name, TNT_MAGIC, LAYOUT)
        self.dtype = dtype_of_code(name, code).type
        if not 1 <= self.element_size <= MAX_ELEMENT_SIZE:
            damaged(name, f"its elements cannot have {self.element_size} bytes")
        start = len(TNT_MAGIC) + struct.calcsize(LAYOUT)
        self.dim_offsets = array_at(buffer, name, "<i8", self._len + 1, start)
        self.data_offsets = array_at(buffer, name, "<i8", self._len + 1, start + 8 * (self._len + 1))
        self.sizes = array_at(buffer, name, "<i8", self.s, start + 16 * (self._len + 1))
        self._check_span(self._len - 1)

    def read_data(self, path: str) -> None:
        """Open the data file."""
        if self.data_file is None:
            self.data_file = open(data_file_path(path), "rb", buffering=0)  # noqa: SIM115 - kept open

    def check_index(self, i: int) -> None:
        """Refuse an index outside of ``[0, N)``.

        Raises:
            IndexError: always the same text, ``index out of range``.
        """
        if i < 0 or i >= self._len:
            raise IndexError("index out of range")

    def _check_span(self, i: int) -> tuple[np.ndarray, int, int]:
        """Shape, number of elements and first byte of an item, checked against the size of the data file."""
        name = data_file_path(self.path)
        if i < 0:
            return np.zeros(0, dtype=np.int64), 0, 0
        first, last = int(self.dim_offsets[i]), int(self.dim_offsets[i + 1])
        # An item without a dimension would be read as a number.
        if not 0 <= first < last <= len(self.sizes):
            damaged(index_file_path(self.path), f"item {i} has its sizes at {first} to {last} of {len(self.sizes)}")
        shape = self.sizes[first:last]
        # Python integers: a product of hostile sizes must not wrap around.
        count, start = 1, int(self.data_offsets[i]) * self.element_size
        for size in shape.tolist():
            count = count * size if size >= 0 else -1
        available = os.path.getsize(name)
        if count < 0 or start < 0 or start + count * np.dtype(self.dtype).itemsize > available:
            damaged(name, f"by its index, item {i} has the shape {shape.tolist()} at byte {start:,} of {available:,}")
        return shape, count, start

    def _read_item(self, i: int) -> np.ndarray:
        shape, count, start = self._check_span(i)
        if self.data_file is None:
            self.read_data(self.path)
        self.data_file.seek(start)
        values = np.empty(count, dtype=self.dtype)
        # The size was looked up by name: this file may be another one by now, or cut.
        if self.data_file.readinto(values.view(np.uint8).data) != values.nbytes:
            damaged(data_file_path(self.path), f"it ends within item {i}")
        return values.reshape(shape)

    def __getstate__(self) -> dict[str, Any]:
        # The tables are views of a memory map, which stays behind.
        return {"path": self.path, "fix_lua_indexing": self.fix_lua_indexing}

    def __setstate__(self, state: dict[str, Any]) -> None:
        type(self).__init__(self, state["path"], state["fix_lua_indexing"])

    def __del__(self) -> None:
        if getattr(self, "data_file", None) is not None:
            self.data_file.close()

    def __getitem__(self, i: int) -> torch.Tensor:
        self.check_index(i)
        return self._token_tensor(self._read_item(i))

    def _token_tensor(self, values: np.ndarray) -> torch.Tensor:
        item = torch.from_numpy(values.astype(np.int64))
        return item - 1 if self.fix_lua_indexing else item

    def __len__(self) -> int:
        return self._len

    def num_tokens(self, index: int) -> int:
        """Tokens of an item, as the batching counts them."""
        return self.sizes[index]

    def size(self, index: int) -> int:
        """Size of an item, as the length filters count it."""
        return self.sizes[index]

    @staticmethod
    def exists(path: str) -> bool:
        """Whether both files are there."""
        return PathManager.exists(index_file_path(path)) and PathManager.exists(data_file_path(path))

    @property
    def supports_prefetch(self) -> bool:
        """No."""
        return False


class IndexedCachedDataset(IndexedDataset):
    """As ``IndexedDataset``, but the items of an epoch are read by ``prefetch`` in one go, and stay in memory."""

    def __init__(self, path: str, fix_lua_indexing: bool = False) -> None:
        super().__init__(path, fix_lua_indexing=fix_lua_indexing)
        self.cache: np.ndarray | None = None
        self.cache_index: dict[int, tuple[int, tuple[int, ...]]] = {}

    @property
    def supports_prefetch(self) -> bool:
        """Yes, and an item must be prefetched before it can be had."""
        return True

    def prefetch(self, indices: Iterable[int]) -> None:
        """Read items into the cache and close the file; what was cached before is forgotten."""
        wanted = sorted({int(i) for i in indices})
        if all(i in self.cache_index for i in wanted):
            return
        for i in wanted:
            self.check_index(i)
        spans = [self._check_span(i)[:2] for i in wanted]
        total = sum(count for _, count in spans)
        name = data_file_path(self.path)
        if total * np.dtype(self.dtype).itemsize > os.path.getsize(name):
            damaged(name, f"by its index, items overlap: {total:,} tokens are more than it holds")
        self.cache = np.empty(total, dtype=self.dtype)
        self.cache_index = {}
        position = 0
        for i, (shape, count) in zip(wanted, spans, strict=True):
            self.cache[position : position + count] = self._read_item(i).ravel()
            self.cache_index[i] = position, tuple(shape.tolist())
            position += count
        if self.data_file is not None:
            self.data_file.close()
            self.data_file = None

    def __getitem__(self, i: int) -> torch.Tensor:
        self.check_index(i)
        if self.cache is None or i not in self.cache_index:
            raise KeyError(f"{self.path}: item {i} was not prefetched; call prefetch() with all indices in use")
        position, shape = self.cache_index[i]
        count = int(np.prod(shape, dtype=np.int64))
        return self._token_tensor(self.cache[position : position + count].reshape(shape))


class IndexedDatasetBuilder:
    """Writes the format.

    Args:
        out_file: the data file.
        dtype: of the stored tokens.

    Raises:
        KeyError: the format has no element size for the type.
    """

    # The 4 for float64 is an old slip that files carry in their header; positions are counted with it.
    element_sizes = {np.uint8: 1, np.int8: 1, np.int16: 2, np.int32: 4, np.int64: 8, np.float64: 4}

    def __init__(self, out_file: str | os.PathLike[str], dtype: Any = np.int32) -> None:
        out_file = os.fspath(out_file)
        self.dtype = np.dtype(dtype).type
        if self.dtype not in self.element_sizes:
            known = ", ".join(np.dtype(known).name for known in self.element_sizes)
            raise KeyError(f"this format does not store {np.dtype(dtype).name}; it knows {known}")
        self.element_size = self.element_sizes[self.dtype]
        self.out_file = DataWriter(out_file, self.dtype)
        self.data_offsets = array("q", [0])
        self.dim_offsets = array("q", [0])
        self.sizes = array("q")

    def add_item(self, tensor: torch.Tensor) -> None:
        """Append one item of any shape. One is added to each token."""
        num_bytes = self.out_file.write(tensor.numpy() + 1)
        self.data_offsets.append(self.data_offsets[-1] + num_bytes // self.element_size)
        self.sizes.extend(tensor.size())
        self.dim_offsets.append(self.dim_offsets[-1] + tensor.dim())

    def add_items(self, tokens: np.ndarray, lengths: np.ndarray) -> None:
        """Append many flat items: all their tokens, one behind the other, and how many each has."""
        self.out_file.write(tokens + 1)
        per_token = np.dtype(self.dtype).itemsize // self.element_size
        ends = np.cumsum(lengths, dtype=np.int64) * per_token + self.data_offsets[-1]
        self.data_offsets.frombytes(ends.tobytes())
        self.sizes.frombytes(np.asarray(lengths, dtype=np.int64).tobytes())
        self.dim_offsets.extend(range(self.dim_offsets[-1] + 1, self.dim_offsets[-1] + 1 + len(lengths)))

    def merge_file_(self, another_file: str) -> None:
        """Append the items of another dataset (a path without extension).

        Raises:
            ValueError: it holds another type.
        """
        other = IndexedDataset(another_file)
        if other.dtype != self.dtype:
            names = np.dtype(other.dtype).name, np.dtype(self.dtype).name
            raise ValueError("{} holds {} and cannot be appended to {}".format(another_file, *names))
        self.data_offsets.frombytes((other.data_offsets[1:] + self.data_offsets[-1]).tobytes())
        self.dim_offsets.frombytes((other.dim_offsets[1:] + self.dim_offsets[-1]).tobytes())
        self.sizes.frombytes(other.sizes.tobytes())
        self.out_file.append_file(data_file_path(another_file))

    def finalize(self, index_file: str | os.PathLike[str]) -> None:
        """Finish the data file and write the index."""
        index_file = os.fspath(index_file)
        self.out_file.close()
        num_items = len(self.data_offsets) - 1
        with atomic_open(index_file, "wb") as file:
            numbers = (1, dtype_code(self.dtype), self.element_size, num_items, len(self.sizes))
            file.write(TNT_MAGIC + struct.pack(LAYOUT, *numbers))
            for table in (self.dim_offsets, self.data_offsets, self.sizes):
                write_longs(file, table)
