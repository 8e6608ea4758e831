"""Files, local or (where the iopath package has a handler for them) remote.

``PathManager``    the operations that the toolkit uses, as static methods
``open_text``      read UTF-8 text, whatever the locale is, without a byte-order mark
``atomic_open``    write a file that either appears whole or not at all
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator
from typing import IO, Any

__all__ = ["IOPathManager", "PathManager", "atomic_open", "decoded", "open_text", "without_mark"]

logger = logging.getLogger(__name__)

# Editors on Windows write it at the beginning of UTF-8 files. It is no part of the text.
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_noted: set[str] = set()


def _load_iopath() -> Any:
    try:
        from iopath.common.file_io import g_pathmgr
    except ImportError:
        return None
    return g_pathmgr


# Remote storage is optional. ``None`` (the usual case) means: the local file system only.
IOPathManager: Any = _load_iopath()


class PathManager:
    """File operations behind one door, so that ``s3://...`` and the like work where a handler is installed."""

    @staticmethod
    def open(
        path: str | os.PathLike[str], mode: str = "r", buffering: int = -1, encoding: str | None = None,
        errors: str | None = None, newline: str | None = None,
    ) -> IO[Any]:  # fmt: skip
        """Open a file; the arguments are those of the built-in ``open``."""
        path = os.fspath(path)
        opener = IOPathManager.open if IOPathManager else open
        return opener(path, mode=mode, buffering=buffering, encoding=encoding, errors=errors, newline=newline)

    @staticmethod
    def copy(src_path: str | os.PathLike[str], dst_path: str | os.PathLike[str], overwrite: bool = False) -> bool:
        """Copy a file's bytes.

        Raises:
            FileExistsError: the destination exists and ``overwrite`` is false.
        """
        src_path, dst_path = os.fspath(src_path), os.fspath(dst_path)
        if IOPathManager:
            return IOPathManager.copy(src_path, dst_path, overwrite=overwrite)
        if not overwrite and os.path.exists(dst_path):
            raise FileExistsError(f"{dst_path} exists; pass overwrite=True to replace it")
        shutil.copyfile(src_path, dst_path)
        return True

    @staticmethod
    def get_local_path(path: str | os.PathLike[str], **kwargs: Any) -> str:
        """A path on this machine that holds the file; remote ones are fetched first."""
        path = os.fspath(path)
        return IOPathManager.get_local_path(path, **kwargs) if IOPathManager else path

    @staticmethod
    def exists(path: str | os.PathLike[str]) -> bool:
        """Whether there is a file or a folder."""
        path = os.fspath(path)
        return IOPathManager.exists(path) if IOPathManager else os.path.exists(path)

    @staticmethod
    def isfile(path: str | os.PathLike[str]) -> bool:
        """Whether there is a file."""
        path = os.fspath(path)
        return IOPathManager.isfile(path) if IOPathManager else os.path.isfile(path)

    @staticmethod
    def ls(path: str | os.PathLike[str]) -> list[str]:
        """Names in a folder, in no particular order."""
        path = os.fspath(path)
        return IOPathManager.ls(path) if IOPathManager else os.listdir(path)

    @staticmethod
    def mkdirs(path: str | os.PathLike[str]) -> None:
        """Make a folder and those above it. An existing one, and the empty path (here), are fine."""
        path = os.fspath(path)
        if IOPathManager:
            IOPathManager.mkdirs(path)
        elif path:
            os.makedirs(path, exist_ok=True)

    @staticmethod
    def rm(path: str | os.PathLike[str]) -> None:
        """Remove a file."""
        path = os.fspath(path)
        (IOPathManager.rm if IOPathManager else os.remove)(path)

    @staticmethod
    def chmod(path: str, mode: int) -> None:
        """Set permission bits; remote storage has none and is left alone."""
        if not PathManager.path_requires_pathmanager(path):
            os.chmod(path, mode)

    @staticmethod
    def register_handler(handler: Any) -> None:
        """Teach iopath another kind of path.

        Raises:
            ImportError: iopath is not installed.
        """
        if IOPathManager is None:
            raise ImportError("Remote paths need iopath. Please install it with: pip install iopath")
        IOPathManager.register_handler(handler=handler)

    @staticmethod
    def copy_from_local(
        local_path: str | os.PathLike[str], dst_path: str | os.PathLike[str], overwrite: bool = False, **kwargs: Any
    ) -> bool:
        """Copy a local file to a path that may be remote."""
        local_path, dst_path = os.fspath(local_path), os.fspath(dst_path)
        if IOPathManager:
            return IOPathManager.copy_from_local(local_path, dst_path, overwrite=overwrite, **kwargs)
        return PathManager.copy(local_path, dst_path, overwrite=overwrite)

    @staticmethod
    def path_requires_pathmanager(path: str | os.PathLike[str]) -> bool:
        """Whether only an iopath handler can open the path."""
        path = os.fspath(path)
        if IOPathManager is None:
            return False
        return any(path.startswith(prefix) for prefix in IOPathManager._path_handlers)

    @staticmethod
    def supports_rename(path: str) -> bool:
        """Whether ``rename`` works there: on local file systems."""
        return not PathManager.path_requires_pathmanager(path)

    @staticmethod
    def rename(src: str, dst: str) -> None:
        """Rename, replacing the destination in one step."""
        os.replace(src, dst)

    @staticmethod
    def opena(
        path: str | os.PathLike[str],
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        """Open a file for writing without waiting for the disk.

        What is written stays in memory until the file is closed, and is then written on a thread. Files are written in
        the order in which they were closed. Call ``async_close`` before the program ends.
        """
        path = os.fspath(path)
        if IOPathManager:
            return IOPathManager.opena(path, mode, buffering, encoding, errors, newline)
        if mode == "wb":
            return _DeferredFile(path)
        if mode == "w":
            return io.TextIOWrapper(_DeferredFile(path), encoding=encoding, errors=errors, newline=newline)
        raise ValueError(f"opena writes files: mode must be 'w' or 'wb', got {mode!r}")

    @staticmethod
    def async_close() -> bool:
        """Wait until all files of ``opena`` are on disk. Returns whether there was anything to wait for.

        Raises:
            OSError: one of them could not be written.
        """
        if IOPathManager:
            return IOPathManager.async_close()
        return _DeferredFile.join()


class _DeferredFile(io.BytesIO):
    """A binary file that is written, whole, on a thread once it is closed."""

    _threads: list[threading.Thread] = []
    _errors: list[OSError] = []

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def close(self) -> None:
        if self.closed:
            return
        body, previous = self.getvalue(), self._threads[-1:]
        super().close()
        # Not a daemon: a program that ends without async_close still finishes its files.
        thread = threading.Thread(target=self._write, args=(body, previous))
        self._threads.append(thread)
        thread.start()

    def _write(self, body: bytes, previous: list[threading.Thread]) -> None:
        for thread in previous:
            thread.join()
        try:
            with atomic_open(self.path, "wb") as out:
                out.write(body)
        except OSError as error:
            self._errors.append(error)

    @classmethod
    def join(cls) -> bool:
        threads, cls._threads = cls._threads, []
        for thread in threads:
            thread.join()
        errors, cls._errors = cls._errors, []
        if errors:
            raise errors[0]
        return bool(threads)


def open_text(path: str | os.PathLike[str], errors: str | None = None, newline: str | None = None) -> IO[str]:
    """Open UTF-8 text for reading; a byte-order mark at its beginning is dropped, and a log line says so.

    Args:
        path: the file; may be a pipe.
        errors, newline: as for the built-in ``open``.
    """
    return decoded(PathManager.open(os.fspath(path), "rb"), str(path), errors, newline)


def decoded(file: IO[bytes], name: str, errors: str | None = None, newline: str | None = None) -> IO[str]:
    """The text of an open binary file, as ``open_text`` gives it."""
    peek = getattr(file, "peek", None)
    if peek is not None and peek(len(BYTE_ORDER_MARK)).startswith(BYTE_ORDER_MARK):
        note_mark(name)
    # The codec drops the mark also where it cannot be seen beforehand.
    return io.TextIOWrapper(file, encoding="utf-8-sig", errors=errors, newline=newline)


def without_mark(lines: Iterable[str], name: str) -> Iterator[str]:
    """Lines that were decoded elsewhere (standard input), without a byte-order mark before the first."""
    for number, line in enumerate(lines):
        if number == 0 and line.startswith("\ufeff"):
            note_mark(name)
            line = line[1:]
        yield line


def note_mark(name: str) -> None:
    """Log, once per file, that its byte-order mark is dropped."""
    if name not in _noted:
        _noted.add(name)
        logger.warning("%s begins with a byte-order mark (U+FEFF), which is dropped", name)


@contextlib.contextmanager
def atomic_open(path: str | os.PathLike[str], mode: str = "w", encoding: str | None = None) -> Iterator[IO[Any]]:
    """Open a file for writing; it takes its name only after everything was written and reached the disk.

    Whatever goes wrong inside the ``with`` block, an older file of that name stays as it was and no part of the new one
    is left behind. Folders above it are made.

    Args:
        path: where the file shall be.
        mode: ``"w"`` or ``"wb"``.
        encoding: of text; UTF-8 unless given.

    Raises:
        OSError: naming ``path``, when the disk is full or the folder cannot be written.
    """
    path = os.fspath(path)
    if encoding is None and "b" not in mode:
        encoding = "utf-8"
    if PathManager.path_requires_pathmanager(path):
        with PathManager.open(path, mode, encoding=encoding) as out:
            yield out
        return
    with naming_file(path):
        folder = os.path.dirname(path) or "."
        os.makedirs(folder, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{os.path.basename(path)}.", suffix=".tmp")
    try:
        with naming_file(path), os.fdopen(handle, mode, encoding=encoding) as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        with naming_file(path):
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
        raise


@contextlib.contextmanager
def naming_file(path: str | os.PathLike[str]) -> Iterator[None]:
    """Make an ``OSError`` of this block name the file: the one of a full disk does not do so by itself."""
    try:
        yield
    except OSError as error:
        if error.errno is None or (error.filename is not None and error.filename == path):
            raise
        raise type(error)(error.errno, error.strerror, path) from error


def _umask() -> int:
    """The process's file mode mask; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
