"""The Huffman-coded dataset.

The index is ``HUFFIDX\\0\\0``, version (u64, 1), length of the data file (u64), number of items N (u64), N sizes in
tokens (i32), N byte offsets (i64), each of the *end* of an item. The code itself is in the ``.vocab`` file.
"""

from __future__ import annotations

import contextlib
import os
import struct
from array import array
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
import torch.utils.data

from fairseq.data.huffman.huffman_coder import HuffmanCoder
from fairseq.data.indexed.formats import (
    HUFFMAN_MAGIC,
    DataWriter,
    array_at,
    damaged,
    data_file_path,
    header,
    index_file_path,
    map_file,
)
from fairseq.file_io import PathManager, atomic_open

__all__ = ["HuffmanMMapIndex", "HuffmanMMapIndexedDataset", "HuffmanMMapIndexedDatasetBuilder", "vocab_file_path"]

LAYOUT = "<QQQ"


def vocab_file_path(prefix_path: str | os.PathLike[str]) -> str:
    """The file with the code of a prefix."""
    return os.fspath(prefix_path) + ".vocab"


class HuffmanMMapIndex:
    """The index file.

    Args:
        path: the ``.idx`` file.

    Raises:
        AssertionError: another format.
        ValueError: the file is damaged.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        path = os.fspath(path)
        self._path = path
        buffer = map_file(path)
        self._data_len, self._len = header(buffer, path, HUFFMAN_MAGIC, LAYOUT)
        start = len(HUFFMAN_MAGIC) + struct.calcsize(LAYOUT)
        self._sizes = array_at(buffer, path, "<i4", self._len, start)
        self._ends = array_at(buffer, path, "<i8", self._len, start + 4 * self._len)

    @classmethod
    @contextlib.contextmanager
    def writer(cls, path: str, data_len: int) -> Iterator[Any]:
        """Write an index; call what is given with the sizes and the end offsets: ``write(sizes, pointers)``."""
        with atomic_open(path, "wb") as file:
            yield _IndexWriter(file, data_len)

    @property
    def data_len(self) -> int:
        """Bytes in the data file."""
        return self._data_len

    @property
    def sizes(self) -> np.ndarray:
        """Tokens per item, ``(N,)``, int32."""
        return self._sizes

    def __del__(self) -> None:
        # The map goes when its last view does.
        self._sizes = self._ends = np.zeros(0, dtype=np.int64)

    def span(self, i: int) -> tuple[int, int]:
        """First byte of an item, and the one behind its last."""
        i = range(len(self))[i]
        return int(self._ends[i - 1]) if i else 0, int(self._ends[i])

    def __getitem__(self, i: int) -> tuple[int, int]:
        """End offset and number of tokens of an item."""
        return int(self._ends[i]), int(self._sizes[i])

    def __len__(self) -> int:
        return self._len

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return (self[i] for i in range(len(self)))


class _IndexWriter:
    def __init__(self, file: Any, data_len: int) -> None:
        self.file, self.data_len = file, data_len

    def write(self, sizes: Any, pointers: Any) -> None:
        self.file.write(HUFFMAN_MAGIC + struct.pack(LAYOUT, 1, self.data_len, len(sizes)))
        self.file.write(np.asarray(sizes, dtype="<i4").tobytes() + np.asarray(pointers, dtype="<i8").tobytes())


class HuffmanMMapIndexedDataset(torch.utils.data.Dataset):
    """Items as int64 tensors ``(num_tokens,)`` of the words' ids in the code, decoded when they are asked for.

    Pickling keeps the path alone.

    Args:
        prefix_path: of the three files.

    Raises:
        AssertionError: the index has another format.
        ValueError: a file is damaged.
    """

    def __init__(self, prefix_path: str | os.PathLike[str]) -> None:
        prefix_path = os.fspath(prefix_path)
        super().__init__()
        self._open(prefix_path)

    def _open(self, prefix_path: str) -> None:
        self._prefix_path = prefix_path
        self._index = HuffmanMMapIndex(index_file_path(prefix_path))
        self._coder = HuffmanCoder.from_file(vocab_file_path(prefix_path))
        self._data = map_file(data_file_path(prefix_path))
        if self._index.data_len != len(self._data):
            damaged(
                data_file_path(prefix_path),
                f"it has {len(self._data):,} bytes, and {self._index.data_len:,} by its index",
            )

    def __getstate__(self) -> str:
        return self._prefix_path

    def __setstate__(self, state: str) -> None:
        self._open(state)

    def __del__(self) -> None:
        self._data = b""

    def __len__(self) -> int:
        return len(self._index)

    def _nodes(self, i: int) -> Iterator[Any]:
        start, end = self._index.span(i)
        if not 0 <= start < end <= len(self._data):
            damaged(index_file_path(self._prefix_path), f"item {i} lies at bytes {start} to {end} of {len(self._data)}")
        try:
            nodes = list(self._coder.decode(self._data[start:end]))
        except ValueError as error:
            damaged(data_file_path(self._prefix_path), f"item {i} cannot be decoded ({error})")
        return iter(nodes)

    def __getitem__(self, i: int) -> torch.Tensor:
        return torch.tensor([node.id for node in self._nodes(i)], dtype=torch.int64)

    def __iter__(self) -> Iterator[torch.Tensor]:
        return (self[i] for i in range(len(self)))

    def get_symbols(self, i: int) -> Iterator[str]:
        """An item's words."""
        return (node.symbol for node in self._nodes(i))

    @property
    def sizes(self) -> np.ndarray:
        """Tokens per item, ``(N,)``, int32."""
        return self._index.sizes

    @property
    def supports_prefetch(self) -> bool:
        """No: the operating system does it."""
        return False

    @property
    def coder(self) -> HuffmanCoder:
        """The code."""
        return self._coder

    @staticmethod
    def exists(prefix_path: str) -> bool:
        """Whether all three files are there."""
        paths = (index_file_path(prefix_path), data_file_path(prefix_path), vocab_file_path(prefix_path))
        return all(PathManager.exists(path) for path in paths)


class HuffmanMMapIndexedDatasetBuilder:
    """Writes the dataset; used in a ``with`` block.

    Args:
        path_prefix: of the three files.
        coder: the code.
    """

    def __init__(self, path_prefix: str | os.PathLike[str], coder: HuffmanCoder) -> None:
        path_prefix = os.fspath(path_prefix)
        self._path_prefix = path_prefix
        self._coder = coder
        self._sizes = array("i")
        self._ends = array("q")
        self._data_len = 0
        self._data: DataWriter | None = None

    def open(self) -> None:
        """Open the data file."""
        self._data = DataWriter(data_file_path(self._path_prefix), np.uint8)

    def __enter__(self) -> HuffmanMMapIndexedDatasetBuilder:
        self.open()
        return self

    def _writer(self) -> DataWriter:
        if self._data is None:
            raise RuntimeError("the builder is not open: use it in a with block, or call open() first")
        return self._data

    def add_item(self, tokens: Iterable[str]) -> None:
        """Append an item, given as words."""
        words = list(tokens)
        encoded = self._coder.encode(words)
        self._writer().write(np.frombuffer(encoded, dtype=np.uint8))
        self._data_len += len(encoded)
        self._sizes.append(len(words))
        self._ends.append(self._data_len)

    def append(self, other_dataset_path_prefix: str) -> None:
        """Append the items of another dataset with the same code.

        Raises:
            ValueError: its code is another.
        """
        if HuffmanCoder.from_file(vocab_file_path(other_dataset_path_prefix)) != self._coder:
            raise ValueError(f"{other_dataset_path_prefix} has another Huffman code and cannot be appended as it is")
        index = HuffmanMMapIndex(index_file_path(other_dataset_path_prefix))
        self._writer().append_file(data_file_path(other_dataset_path_prefix))
        self._sizes.extend(index.sizes.tolist())
        self._ends.extend(end + self._data_len for end, _ in index)
        self._data_len += index.data_len

    def close(self) -> None:
        """Finish the data file; write the index and the code."""
        self._writer().close()
        self._coder.to_file(vocab_file_path(self._path_prefix))
        with HuffmanMMapIndex.writer(index_file_path(self._path_prefix), self._data_len) as index:
            index.write(self._sizes, self._ends)
        self._data = None

    def __exit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        if exc_type is None:
            self.close()
        else:
            self._writer().close()
