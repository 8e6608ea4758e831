"""From a survey to the real object: the surveyed bytes, torch's restricted unpickler, tensor data by our own offsets.

``torch.load`` would look for the zip file's records itself, in a file opened anew. Here its unpickler (the one behind
``weights_only=True``) is given the very bytes that were surveyed, and the data of every tensor comes from the record
that was checked. Files of the older layout have no records: ``torch.load`` gets them as a stream that begins with those
bytes.
"""

from __future__ import annotations

import io
from typing import Any

import torch

from fairseq.serialization.keys import Refused
from fairseq.serialization.pickle_inspector import Survey
from fairseq.serialization.source import Source

__all__ = ["rebuild"]


def rebuild(source: Source, survey: Survey, mmap: bool) -> Any:
    """The object in a file, with what ``torch.serialization.add_safe_globals`` allows and nothing else.

    Args:
        source: the file that was surveyed.
        survey: its survey, which refused what must not be rebuilt.
        mmap: leave tensor data in the file (zip layout, this machine's byte order; other files are read).
    """
    return _from_zip(source, survey, mmap) if survey.is_zip else _from_pickles(source, survey)


def _from_zip(source: Source, survey: Survey, mmap: bool) -> Any:
    from torch import _weights_only_unpickler as restricted

    assert survey.archive is not None
    entries = survey.archive.entries
    storages: dict[str, torch.UntypedStorage] = {}
    take = source.map if mmap and survey.is_native else source.copy

    def tensor_data(pid: Any) -> Any:
        kind, key, _, count = pid[1:5]
        dtype = torch.uint8 if kind is torch.UntypedStorage else kind.dtype
        if key not in storages:
            size = survey.storages[key].num_bytes
            storages[key] = take(entries[f"data/{key}"].offset, size)
            if not survey.is_native:
                storages[key].byteswap(dtype)
        if count * dtype.itemsize > storages[key].nbytes():
            raise Refused(f"it describes tensor data {key} twice, with different sizes")
        return torch.storage.TypedStorage(wrap_storage=storages[key], dtype=dtype, _internal=True)

    unpickler = restricted.Unpickler(io.BytesIO(survey.description), encoding="utf-8")
    unpickler.persistent_load = tensor_data  # type: ignore[method-assign]
    return unpickler.load()


class _Stream(io.RawIOBase):
    """Bytes that were read already, then the rest of the file. It has no descriptor, so torch reads all through it."""

    def __init__(self, head: bytes, source: Source) -> None:
        super().__init__()
        self._head, self._source, self._at = head, source, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        if self._at < len(self._head):
            part = self._head[self._at : self._at + len(target)]
            target[: len(part)] = part
            count = len(part)
        else:
            count = max(0, min(len(target), self._source.size - self._at))
            self._source.read_into(self._at, target[:count])
        self._at += count
        return count


def _from_pickles(source: Source, survey: Survey) -> Any:
    stream = io.BufferedReader(_Stream(survey.description, source), 1 << 16)
    return torch.load(stream, map_location="cpu", weights_only=True)
