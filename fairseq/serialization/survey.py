"""Look into a checkpoint file without running any of it.

What comes out is the list of names, the tree with tensors as ``TensorSpec``, and a refusal if the file cannot be what
it claims to be: no regular file, compressed entries (torch never compresses), data that is missing, contents that are
nested without end. How the pickle inside is interpreted is in ``pickle_inspector``.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from typing import Any

from fairseq.serialization.archive import read_archive
from fairseq.serialization.errors import CorruptCheckpointError, shown
from fairseq.serialization.pickle_inspector import OpaqueGlobal, Refused, Survey, TensorSpec, interpret
from fairseq.serialization.source import Source
from fairseq.serialization.trees import measure

__all__ = ["OpaqueGlobal", "Survey", "TensorSpec", "survey_file", "survey_source", "walk"]

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_MAX_DEPTH = 200
_MAX_REPEATED = 2_000_000


class _Bounded:
    """Bytes in memory as a file that refuses to read more than it has, before memory for it is taken."""

    def __init__(self, data: bytes) -> None:
        self._file, self._size = io.BytesIO(data), len(data)

    def read(self, count: int = -1) -> bytes:
        if count > self._size - self._file.tell():
            raise EOFError
        return self._file.read(count)

    def readline(self) -> bytes:
        line = self._file.readline(1 << 16)
        if not line.endswith(b"\n"):
            raise EOFError
        return line


class _Kept:
    """The same for a source that is read once: what was read is kept, so that it can be read again as it was."""

    _AHEAD = 1 << 16

    def __init__(self, source: Source) -> None:
        self._source, self._known, self._at = source, bytearray(), 0

    def _have(self, end: int) -> None:
        if end > self._source.size:
            raise EOFError
        if end > len(self._known):
            begin = len(self._known)
            ahead = min(max(end, begin + self._AHEAD), self._source.size)
            self._known += self._source.read(begin, ahead - begin)

    def read(self, count: int) -> bytes:
        self._have(self._at + count)
        data = bytes(self._known[self._at : self._at + count])
        self._at += count
        return data

    def readline(self) -> bytes:
        self._have(min(self._at + self._AHEAD, self._source.size))
        end = self._known.find(b"\n", self._at, self._at + self._AHEAD) + 1
        if not end:
            raise EOFError
        return self.read(end - self._at)

    def seen(self) -> bytes:
        """All that was read so far, from the first byte on."""
        return bytes(self._known[: self._at])


def _survey_zip(source: Source) -> Survey:
    archive = read_archive(source)
    if "constants.pkl" in archive.entries:
        raise Refused("it is a TorchScript archive; load it with torch.jit.load")
    survey = Survey(archive=archive, description=archive.read("data.pkl"))
    order = archive.read("byteorder") if "byteorder" in archive.entries else b"little"
    if order not in (b"little", b"big"):
        raise Refused(f"its numbers are in the byte order {shown(order[:20].decode('latin-1'))!r}")
    survey.is_native = order == sys.byteorder.encode()
    survey.tree = interpret(_Bounded(survey.description), survey)
    for storage in survey.storages.values():
        entry = archive.entries.get(f"data/{storage.key}")
        if entry is None or entry.size < storage.num_bytes:
            raise Refused(f"tensor data {shown(storage.key)!r} is missing or too short")
    return survey


def _survey_legacy(source: Source) -> Survey:
    survey = Survey(is_zip=False)
    # One byte tells a pickle from anything else; the magic number is a pickle of its own.
    head = source.read(0, min(10, source.size))
    if head[8:10] == b'{"':
        raise Refused("it looks like a safetensors file; fairseq-checkpoint convert makes a checkpoint of it")
    if head[:1] != b"\x80":
        raise Refused("it is no checkpoint (neither a zip file nor a pickle)")
    kept = _Kept(source)
    if interpret(kept, Survey()) != _LEGACY_MAGIC or interpret(kept, Survey()) != _LEGACY_PROTOCOL:
        raise Refused("it is a pickle, but torch.save did not write it")
    interpret(kept, survey)
    survey.tree = interpret(kept, survey)
    keys = interpret(kept, Survey())
    if not isinstance(keys, list) or any(not isinstance(key, str) or key not in survey.storages for key in keys):
        raise Refused("its list of tensor data is damaged")
    survey.description = kept.seen()
    position = len(survey.description)
    if len(set(keys)) != len(keys):
        raise Refused("its list of tensor data is damaged")
    for key in keys:
        storage = survey.storages[key]
        if int.from_bytes(source.read(position, 8), "little") != storage.num_items:
            raise Refused(f"tensor data {shown(key)!r} has another size than was said")
        position += 8 + storage.num_bytes
        if position > source.size:
            raise Refused("it is truncated: tensor data is missing")
    if len(set(keys)) < len(survey.storages):
        raise Refused("tensor data is missing")
    return survey


def _parts(node: Any) -> Any:
    if isinstance(node, OpaqueGlobal):
        return [*node.args, *node.state, *node.keys(), *node.values()]
    if isinstance(node, dict):
        return [*node.keys(), *node.values()]
    return node if isinstance(node, (list, tuple, set, frozenset)) else None


def _refuse_endless(tree: Any) -> None:
    found = measure(tree, _parts)
    if found.depth > _MAX_DEPTH:
        raise Refused(f"its contents are nested {found.depth} levels deep (at most {_MAX_DEPTH})")
    if found.size > _MAX_REPEATED + 20 * found.distinct:
        raise Refused("its contents repeat themselves without end")


def survey_source(source: Source) -> Survey:
    """Read the description inside a checkpoint; see the module's text for what is refused.

    Args:
        source: in either of torch's layouts (zip, or the pickle sequence before 1.6).

    Raises:
        CorruptCheckpointError: it is no checkpoint, or damaged, or claims more data than it has.
    """
    try:
        if source.size == 0:
            raise Refused("it is empty")
        if source.size >= 262 and source.read(257, 5) == b"ustar":
            raise Refused(
                "it is a tar archive, a layout of torch before 0.1.10 or a packed model; unpack it, or load and "
                "save it again with an old torch"
            )
        is_zip = source.read(0, min(4, source.size)) == b"PK\x03\x04"
        survey = _survey_zip(source) if is_zip else _survey_legacy(source)
        _refuse_endless(survey.tree)
        return survey
    except Refused as refusal:
        raise CorruptCheckpointError(
            f"{source.path} cannot be loaded as a checkpoint: {refusal}"
        ) from refusal.__cause__


def survey_file(path: str | os.PathLike[str]) -> Survey:
    """``survey_source`` of a local file.

    Raises:
        FileNotFoundError: there is no such file.
        CorruptCheckpointError: as ``survey_source``; also a folder, a pipe or a device.
    """
    with Source(path) as source:
        return survey_source(source)


def walk(tree: Any) -> Iterator[tuple[str, Any]]:
    """``(dotted key, leaf)`` of nested dictionaries and lists; each container is entered once."""
    todo: list[tuple[str, Any]] = [("", tree)]
    seen: set[int] = set()
    while todo:
        prefix, node = todo.pop()
        if isinstance(node, (dict, list, tuple)) and node:
            if id(node) in seen:
                continue
            seen.add(id(node))
            items = list(node.items()) if isinstance(node, dict) else list(enumerate(node))
            todo.extend((f"{prefix}.{key}" if prefix else str(key), value) for key, value in reversed(items))
        else:
            yield prefix, node
