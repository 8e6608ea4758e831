"""One open checkpoint file: all that is learnt about it and all that is used come from one descriptor.

A name may be given to another file between two looks at it. So a file is opened once, and the check, the loading, the
notes and the checksum read from that descriptor; a mapping is made from it too.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import stat
import weakref
from typing import Any

import torch

from fairseq.serialization.errors import CorruptCheckpointError
from fairseq.serialization.keys import Refused

__all__ = ["Source", "mapped_ranges"]

# Living mappings: the file's real path at the time, first address, size.
_mappings: weakref.WeakKeyDictionary[mmap.mmap, tuple[str, int, int]] = weakref.WeakKeyDictionary()


def mapped_ranges(path: str | os.PathLike[str]) -> list[tuple[int, int]]:
    """Addresses at which ``Source.map`` has mapped a file of this name into the process."""
    name = os.path.realpath(path)
    return [(begin, begin + size) for known, begin, size in list(_mappings.values()) if known == name]


def _refuse_other_than_files(path: str, mode: int) -> None:
    """A pipe would be waited for without end, and a device has no size."""
    if stat.S_ISDIR(mode):
        raise CorruptCheckpointError(f"{path} cannot be loaded as a checkpoint: it is a folder; name a file in it")
    if not stat.S_ISREG(mode):
        raise CorruptCheckpointError(f"{path} cannot be loaded as a checkpoint: it is no regular file")


class Source:
    """A regular file, open for reading; a context manager.

    Args:
        path: a local file.

    Attributes:
        path: as it was given, for messages.
        size: in bytes, when it was opened.

    Raises:
        FileNotFoundError: no such file.
        CorruptCheckpointError: it is a folder, a pipe or a device.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        # Opening a device may already do something, so it is refused by name first; what was opened counts.
        _refuse_other_than_files(self.path, os.stat(self.path).st_mode)
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        self._file = os.fdopen(os.open(self.path, flags), "rb", buffering=0)
        try:
            status = os.fstat(self._file.fileno())
            _refuse_other_than_files(self.path, status.st_mode)
        except BaseException:
            self._file.close()
            raise
        self.size = status.st_size
        self._name = os.path.realpath(self.path)
        self._map: mmap.mmap | None = None

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()

    def read_into(self, offset: int, target: memoryview) -> None:
        """Fill a writable buffer of bytes with the file's bytes from ``offset`` on.

        Raises:
            Refused: the file ends before.
        """
        self._file.seek(offset)
        while target:
            count = self._file.readinto(target)
            if not count:
                raise Refused("it is truncated")
            target = target[count:]

    def read(self, offset: int, count: int) -> bytes:
        """Exactly ``count`` bytes from ``offset`` on.

        Raises:
            Refused: the file has not so many; no memory was taken for them.
        """
        if offset < 0 or count < 0 or offset + count > self.size:
            raise Refused("it is truncated")
        data = bytearray(count)
        self.read_into(offset, memoryview(data))
        return bytes(data)

    def digest(self) -> str:
        """SHA-256 of all bytes, in hexadecimal."""
        digest = hashlib.sha256()
        self._file.seek(0)
        while block := self._file.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()

    def copy(self, offset: int, count: int) -> torch.UntypedStorage:
        """``count`` bytes from ``offset`` on as tensor data in memory."""
        if offset + count > self.size:
            raise Refused("it is truncated")
        held = torch.empty(count, dtype=torch.uint8)
        if count:
            self.read_into(offset, memoryview(held.numpy()))  # type: ignore[arg-type]
        return held.untyped_storage()

    def map(self, offset: int, count: int) -> torch.UntypedStorage:
        """The same, left in the file until it is touched; writing to it does not change the file.

        The mapping lives as long as the tensors that use it, also when the source is closed.
        """
        # A page is the unit of a mapping, and kernels like their data aligned; torch.save aligns all of it.
        if not count or offset % 16:
            return self.copy(offset, count)
        if offset + count > self.size:
            raise Refused("it is truncated")
        if self._map is None:
            self._map = mmap.mmap(self._file.fileno(), self.size, access=mmap.ACCESS_COPY)
            begin = torch.frombuffer(self._map, dtype=torch.uint8, count=1).data_ptr()
            _mappings[self._map] = (self._name, begin, self.size)
        return torch.frombuffer(self._map, dtype=torch.uint8, count=count, offset=offset).untyped_storage()
