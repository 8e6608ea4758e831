"""Big arrays that the processes of a machine share: files in a folder, mapped into memory read-only."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ArrayFolder"]


class ArrayFolder:
    """Arrays by name. Every process maps the same file, so that an array is in memory once.

    Args:
        path: the folder; it is made, for this user alone, when the first array is stored.
        max_bytes: how much may be stored; ``None`` for any amount.
    """

    def __init__(self, path: str | os.PathLike[str], max_bytes: int | None = None) -> None:
        self.path = os.fspath(path)
        self.max_bytes = max_bytes

    def make(self) -> None:
        """Make the folder.

        Raises:
            PermissionError: it belongs to another user, who could replace what is in it.
            NotADirectoryError: there is something else of that name.
        """
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        found = os.lstat(self.path)
        if not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(f"{self.path} is not a folder: choose another --plasma-path")
        if hasattr(os, "getuid") and found.st_uid != os.getuid():
            raise PermissionError(f"{self.path} belongs to another user: choose another --plasma-path")

    def _file(self, name: str) -> str:
        if not re.fullmatch(r"[0-9a-f]+", name):
            raise ValueError(f"names of shared arrays are hexadecimal numbers, got {name!r}")
        return os.path.join(self.path, f"{name}.npy")

    def __contains__(self, name: str) -> bool:
        return os.path.exists(self._file(name))

    def put(self, name: str, array: NDArray[Any]) -> None:
        """Store an array, unless there is one of that name. It appears whole or not at all.

        Raises:
            MemoryError: there would be more than ``max_bytes``.
            OSError: the file cannot be written.
        """
        self.make()
        path = self._file(name)
        if os.path.exists(path):
            return
        if self.max_bytes is not None and array.nbytes + self._used() > self.max_bytes:
            raise MemoryError(f"{self.path}: no room for {array.nbytes:,} bytes, the limit is {self.max_bytes:,}")
        handle, temporary = tempfile.mkstemp(dir=self.path, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                np.save(file, array, allow_pickle=False)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.remove(temporary)
            raise

    def _used(self) -> int:
        return sum(entry.stat().st_size for entry in os.scandir(self.path) if entry.name.endswith(".npy"))

    def get(self, name: str) -> NDArray[Any]:
        """A read-only map of a stored array.

        Raises:
            FileNotFoundError: there is none of that name.
        """
        return np.load(self._file(name), mmap_mode="r", allow_pickle=False)

    def remove(self, name: str) -> None:
        """Forget an array; maps that exist stay good (except on Windows, where the file stays until they are gone)."""
        with contextlib.suppress(OSError):
            os.remove(self._file(name))

    def clear(self) -> None:
        """Remove the folder, if it was made."""
        shutil.rmtree(self.path, ignore_errors=True)
