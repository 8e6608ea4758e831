"""Write a file so that its name always holds a complete one: the old, or the new.

The bytes go to ``NAME.tmp`` beside the target, are forced to the disk, and take the name in one step. A crash, a full
disk or a kill leaves the old file as it was, at worst with a ``.tmp`` beside it. ``remove_stale`` takes those away when
the next run starts; the writer holds a lock on its own, so a run that is still alive keeps it.

Checksums, where wanted, are files of their own (``NAME.sha256``). One is removed before its file is replaced and
written after it, so that none ever belongs to another file than the one beside it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from typing import IO, Any

import torch

from fairseq.serialization.errors import CheckpointWriteError, CorruptCheckpointError
from fairseq.serialization.notes import NOTES, add_notes

__all__ = [
    "CHECKSUM_ENV",
    "checksums_wanted",
    "copy_file",
    "remove_stale",
    "replacing",
    "save_into",
    "verify_checksum",
    "write_checkpoint",
    "write_checksum",
]

CHECKSUM_ENV = "FAIRSEQ_CHECKSUM_CHECKPOINTS"

logger = logging.getLogger(__name__)

# Network file systems return these now and then; a second try usually works.
_PASSING = frozenset({errno.EIO, errno.EAGAIN, errno.EBUSY, errno.ETIMEDOUT, getattr(errno, "ESTALE", errno.EIO)})
_ATTEMPTS, _PAUSE_SECONDS = 3, 2.5


class _Recorder:
    """A binary file that remembers its first error: torch's writer reports its own, vaguer one afterwards."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = self.error or error
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _sync_folder(folder: str) -> None:
    # The rename is only durable once the folder is. Some file systems cannot sync folders; then there is nothing to do.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _lock(file: IO[bytes]) -> bool:
    """Claim a temporary file for this process, as long as it is open; ``False`` if another one has it.

    The lock is not inherited by children, so it ends with the process that writes. Without locks (Windows, some network
    disks) every file counts as free.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EAGAIN, errno.EACCES)
    return True


def remove_stale(folder: str | os.PathLike[str]) -> list[str]:
    """Remove the temporary files of checkpoints whose writer was killed.

    Args:
        folder: with checkpoints; it must not be written to by this process at the time.

    Returns:
        The names that were removed; files of other processes that still write are not among them.
    """
    removed = []
    with os.scandir(folder) as entries:
        found = [
            entry.path
            for entry in entries
            if entry.name.endswith((".pt.tmp", ".pt.sha256.tmp")) and entry.is_file(follow_symlinks=False)
        ]
    for path in found:
        with contextlib.suppress(OSError), open(path, "r+b") as file:
            if _lock(file):
                os.unlink(path)
                removed.append(os.path.basename(path))
    return sorted(removed)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A file to write to that becomes ``path`` when the block ends without an exception.

    Raises:
        CheckpointWriteError: the folder is missing or read-only, or the disk is full; ``path`` is as it was.
    """
    target = os.path.abspath(os.fspath(path))
    temporary = f"{target}.tmp"
    recorder: Any = None
    try:
        with open(temporary, "w+b") as file:
            recorder = _Recorder(file)
            _lock(file)
            yield recorder
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{target}.sha256")
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        cause = getattr(recorder, "error", None) or error
        if not isinstance(cause, OSError):
            raise
        failure = CheckpointWriteError(
            f"{target} was not written: {cause.strerror or cause}. The file of that name, if any, is unchanged."
        )
        failure.errno = cause.errno
        raise failure from cause
    _sync_folder(os.path.dirname(target))


def checksums_wanted() -> bool:
    """Whether ``FAIRSEQ_CHECKSUM_CHECKPOINTS`` (set by ``--checksum-checkpoints`` too) asks for checksums."""
    return os.environ.get(CHECKSUM_ENV, "0") not in ("", "0")


def save_into(file: Any, obj: Any) -> None:
    """``torch.save`` to an open binary file; the ``NOTES`` entry of a dictionary goes beside the pickle."""
    notes = None
    if isinstance(obj, dict) and NOTES in obj:
        notes = obj[NOTES]
        obj = {key: value for key, value in obj.items() if key != NOTES}
    torch.save(obj, file)
    if notes:
        add_notes(file, notes)


def write_checkpoint(obj: Any, path: str | os.PathLike[str], *, checksum: bool | None = None) -> None:
    """``torch.save`` that never leaves half a file under ``path``.

    Args:
        obj: what to save; the ``NOTES`` entry of a dictionary is kept beside the pickle, see ``notes``.
        path: a local file name in an existing folder.
        checksum: also write ``PATH.sha256``, in the format of ``sha256sum``; ``None`` asks ``checksums_wanted``.

    Raises:
        CheckpointWriteError: see ``replacing``; errors that come and go on network disks are tried three times.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with replacing(path) as file:
                save_into(file, obj)
            break
        except CheckpointWriteError as error:
            if attempt == _ATTEMPTS or error.errno not in _PASSING:
                raise
            logger.warning("saving %s failed (%s), trying again in %s s", path, error, _PAUSE_SECONDS)
            time.sleep(_PAUSE_SECONDS)
    if checksums_wanted() if checksum is None else checksum:
        write_checksum(path)


def _digest(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_checksum(path: str | os.PathLike[str]) -> None:
    """Write ``PATH.sha256`` for a file."""
    path = os.fspath(path)
    with replacing(f"{path}.sha256") as out:
        out.write(f"{_digest(path)}  {os.path.basename(path)}\n".encode())


def verify_checksum(path: str | os.PathLike[str], digest: Callable[[], str] | None = None) -> bool:
    """Compare a file with ``PATH.sha256``.

    Args:
        path: the file.
        digest: gives the checksum of the file where it is open already; it is opened otherwise.

    Returns:
        Whether there is such a checksum.

    Raises:
        CorruptCheckpointError: there is, and it is another one than that of the file.
    """
    path = os.fspath(path)
    try:
        with open(f"{path}.sha256", encoding="ascii", errors="replace") as file:
            expected = file.read(200).split()
    except FileNotFoundError:
        return False
    if not expected or (digest() if digest is not None else _digest(path)) != expected[0]:
        raise CorruptCheckpointError(
            f"{path} is damaged: its checksum is not the one in {path}.sha256. Without that file it is not compared."
        )
    return True


def copy_file(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Copy bytes, atomically as ``replacing`` does, and the checksum if the source has one."""
    with open(source, "rb") as reader, replacing(target) as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)
    with contextlib.suppress(FileNotFoundError), open(f"{os.fspath(source)}.sha256", encoding="ascii") as known:
        line = f"{known.read(200).split()[0]}  {os.path.basename(target)}\n"
        with replacing(f"{os.fspath(target)}.sha256") as out:
            out.write(line.encode())
