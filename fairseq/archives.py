"""Tar archives from strangers, read from one descriptor, in one pass, within limits.

What decides whether a file is an archive, what names its folder in the cache and what is unpacked come from the same
open file. The archive is read as a stream, so no part of it is decompressed twice, and each byte that comes out of the
decompressor is counted: names and headers can be as large as files.
"""

from __future__ import annotations

import bz2
import contextlib
import errno
import gzip
import lzma
import os
import stat
import tarfile
import zlib
from collections.abc import Iterator
from typing import IO, Any

__all__ = ["ArchiveStream", "open_archive"]

# Weights hardly shrink, text to a fifth: an archive of a hundred times its size was made to fill a disk.
MAX_RATIO = 100
MAX_SMALL_BYTES = 64 << 20
MAX_MEMBERS = 100_000
# Names and headers that come before a member are held in memory.
MAX_HEADER_BYTES = 1 << 20
# ``xz -9`` needs 65 MB to unpack; the format can ask for 4 GB.
MAX_XZ_MEMORY = 256 << 20

_DAMAGE = (
    tarfile.TarError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    ValueError,
    LookupError,
    ArithmeticError,
    RecursionError,
    NotImplementedError,
)
# What is wrong on this side rather than in the archive.
_OURS = frozenset((errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS, errno.EMFILE, errno.EIO))


class _XZ:
    """The contents of a file that xz wrote, in limited memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._unpacker = lzma.LZMADecompressor(memlimit=MAX_XZ_MEMORY)

    def read(self, count: int) -> bytes:
        while True:
            if self._unpacker.eof:  # several streams may follow each other, with padding between them
                rest = (self._unpacker.unused_data or self._file.read(1 << 16)).lstrip(b"\0")
                if not rest:
                    return b""
                self._unpacker = lzma.LZMADecompressor(memlimit=MAX_XZ_MEMORY)
                packed = rest
            else:
                packed = self._file.read(1 << 16) if self._unpacker.needs_input else b""
                if self._unpacker.needs_input and not packed:
                    raise EOFError("the archive is cut off")
            if data := self._unpacker.decompress(packed, count):
                return data


class _Metered:
    """A stream that ends with an error when more comes out of it than its archive may hold."""

    def __init__(self, stream: Any, room: int) -> None:
        self._stream, self._room = stream, room

    def read(self, count: int) -> bytes:
        data = self._stream.read(count)
        self._room -= len(data)
        if self._room < 0:
            raise ValueError(f"it holds more than {MAX_RATIO} times its own size")
        return data


class _Member(tarfile.TarInfo):
    """A member whose headers are limited: tarfile reads names and attributes into memory, whatever their size."""

    def _proc_member(self, archive: Any) -> Any:
        special = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE)
        if self.type in (*special, tarfile.SOLARIS_XHDTYPE) and not 0 <= self.size <= MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {self.size:,} bytes")
        return super()._proc_member(archive)  # type: ignore[misc]


class ArchiveStream:
    """An open archive, to be unpacked once.

    Attributes:
        identity: tells this archive from others, also from other files of this name.
    """

    def __init__(self, path: str | os.PathLike[str], file: IO[bytes]) -> None:
        state = os.fstat(file.fileno())
        self._path, self._file, self._size = os.fspath(path), file, state.st_size
        self.identity = f"{os.path.abspath(path)}:{state.st_size}:{state.st_mtime_ns}"

    def _contents(self) -> _Metered:
        self._file.seek(0)
        head = self._file.read(6)
        self._file.seek(0)
        stream: Any = self._file
        if head.startswith(b"\x1f\x8b"):
            stream = gzip.GzipFile(fileobj=self._file)
        elif head.startswith(b"BZh"):
            stream = bz2.BZ2File(self._file)
        elif head == b"\xfd7zXZ\x00":
            stream = _XZ(self._file)
        return _Metered(stream, MAX_RATIO * self._size + MAX_SMALL_BYTES)

    def _opened(self) -> tarfile.TarFile:
        return tarfile.open(fileobj=self._contents(), mode="r|", tarinfo=_Member)  # type: ignore[call-overload]

    def is_archive(self) -> bool:
        """Whether the file begins like a tar archive, compressed or not."""
        try:
            with self._opened():
                return True
        except (*_DAMAGE, OSError):
            return False

    def extract_to(self, folder: str | os.PathLike[str]) -> None:
        """Extract the members one by one; what points out of the folder, is no file, or is out of proportion ends it.

        Raises:
            ValueError: the archive is damaged, or not harmless.
        """
        try:
            with self._opened() as archive:
                for count, member in enumerate(archive, start=1):
                    if count > MAX_MEMBERS:
                        raise ValueError(f"it holds more than {MAX_MEMBERS:,} files")
                    if member.size > MAX_RATIO * self._size + MAX_SMALL_BYTES:
                        raise ValueError(f"it holds more than {MAX_RATIO} times its own size")
                    archive.extract(member, os.fspath(folder), filter="data")
        except OSError as error:
            if error.errno in _OURS:
                raise
            raise self._refusal(error) from error
        except _DAMAGE as error:
            raise self._refusal(error) from error

    def _refusal(self, error: Exception) -> ValueError:
        reason = " ".join(str(error).split()) or type(error).__name__
        return ValueError(f"{self._path} is refused, or damaged; nothing was unpacked: {reason[:300]}")


@contextlib.contextmanager
def open_archive(path: str | os.PathLike[str]) -> Iterator[ArchiveStream | None]:
    """A tar archive, opened once; ``None`` for a file that is none.

    Raises:
        ValueError: this Python has no safe way to unpack.
        OSError: the file cannot be opened.
    """
    path = os.fspath(path)
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError(f"{path} is neither a folder nor a regular file")
    with open(path, "rb") as file:
        stream = ArchiveStream(path, file)
        if not stream.is_archive():
            yield None
            return
        if not hasattr(tarfile, "data_filter"):
            raise ValueError(
                f"{path}: this Python cannot unpack archives safely; update it (3.10.12, 3.11.4 or newer), or unpack it"
            )
        yield stream
