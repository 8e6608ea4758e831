"""Protein and nucleotide sequences in FASTA files: a ``>description`` line, then lines of letters."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
import torch.utils.data

from fairseq.data.indexed.formats import damaged

__all__ = ["EncodedFastaDataset", "FastaDataset", "fasta_file_path"]

logger = logging.getLogger(__name__)


def fasta_file_path(prefix_path: str | os.PathLike[str]) -> str:
    """The FASTA file of a prefix."""
    return os.fspath(prefix_path) + ".fasta"


class FastaDataset(torch.utils.data.Dataset):
    """Sequences with their descriptions, read from the file when they are asked for.

    Args:
        path: the prefix of the file.
        cache_indices: keep where the sequences are in ``PREFIX.fasta.idx.npy``, and use that file if it exists.
            Otherwise the sequences are searched for each time.

    Attributes:
        offsets: byte position of each description, ``(N,)``, int64.
        sizes: letters per sequence, ``(N,)``, int64.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file does not begin with a description, or the kept index does not belong to it.
    """

    def __init__(self, path: str | os.PathLike[str], cache_indices: bool = False) -> None:
        path = os.fspath(path)
        self.fn = fasta_file_path(path)
        self.threadlocal = threading.local()
        self.cache = Path(f"{self.fn}.idx.npy")
        if cache_indices and self.cache.exists():
            self.offsets, self.sizes = self._read_cache()
        else:
            self.offsets, self.sizes = find_sequences(self.fn)
            if cache_indices:
                self._write_cache()

    def _read_cache(self) -> tuple[np.ndarray, np.ndarray]:
        # Never a pickle: nothing from the file is executed.
        try:
            table = np.load(self.cache, allow_pickle=False)
        except (ValueError, EOFError) as error:
            damaged(str(self.cache), f"it is no array ({error}); remove it, and it is made again")
        if table.ndim != 2 or table.shape[0] != 2 or table.dtype.kind not in "iu":
            damaged(str(self.cache), f"it holds {table.dtype} {table.shape}, not two rows of integers")
        offsets, sizes = table.astype(np.int64)
        limit = os.path.getsize(self.fn)
        if len(offsets) and not (offsets.min() >= 0 and sizes.min() >= 0 and (offsets + sizes).max() <= limit):
            damaged(str(self.cache), f"it points outside of {self.fn}; remove it, and it is made again")
        return offsets, sizes

    def _write_cache(self) -> None:
        from fairseq.file_io import atomic_open

        try:
            with atomic_open(str(self.cache), "wb") as out:
                np.save(out, np.stack([self.offsets, self.sizes]))
        except OSError as error:
            logger.warning("the index of %s cannot be kept and will be made again each time: %s", self.fn, error)

    def _get_file(self) -> IO[bytes]:
        """The file, opened once per thread."""
        if not hasattr(self.threadlocal, "f"):
            self.threadlocal.f = open(self.fn, "rb")  # noqa: SIM115 - closed with the dataset
        return self.threadlocal.f

    def __getitem__(self, idx: int) -> Any:
        """Description (without ``>``) and letters."""
        file = self._get_file()
        file.seek(int(self.offsets[idx]))
        description = file.readline().decode("utf-8").strip().removeprefix(">")
        letters = []
        for line in file:
            if line.startswith(b">"):
                break
            letters.append(line.strip())
        return description, b"".join(letters).decode("utf-8")

    def __len__(self) -> int:
        return len(self.offsets)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "threadlocal"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.threadlocal = threading.local()

    def __del__(self) -> None:
        if hasattr(getattr(self, "threadlocal", None), "f"):
            self.threadlocal.f.close()

    @staticmethod
    def exists(path: str) -> bool:
        """Whether there is such a file."""
        return os.path.exists(fasta_file_path(path))


class EncodedFastaDataset(FastaDataset):
    """Sequences as int64 tensors ``(num_letters + 1,)``: one token per letter, and the end-of-sentence index.

    Args:
        path: the prefix of the file.
        dictionary: of letters.

    Attributes:
        sizes: tokens per sequence, ``(N,)``, int64.
    """

    def __init__(self, path: str, dictionary: Any) -> None:
        super().__init__(path, cache_indices=True)
        self.dictionary = dictionary
        self.sizes = self.sizes + 1

    def __getitem__(self, idx: int) -> torch.Tensor:
        _, letters = super().__getitem__(idx)
        return self.dictionary.encode_line(letters, line_tokenizer=list, add_if_not_exist=False).long()


def find_sequences(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Go through a FASTA file. Returns the byte position of each description and the letters of each sequence."""
    offsets: list[int] = []
    sizes: list[int] = []
    position = 0
    with open(path, "rb", buffering=1 << 20) as file:
        for line in file:
            if line.startswith(b">"):
                offsets.append(position)
                sizes.append(0)
            elif line.strip():
                if not sizes:
                    raise ValueError(f"{path}: letters before the first description; a FASTA file begins with '>'")
                sizes[-1] += len(line.strip())
            position += len(line)
    return np.array(offsets, dtype=np.int64), np.array(sizes, dtype=np.int64)
