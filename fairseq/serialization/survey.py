"""Look into a checkpoint file without running any of it.

What comes out is the list of names, the tree with tensors as ``TensorSpec``, and a refusal if the file cannot be what
it claims to be: no regular file, compressed entries (torch never compresses), data that is missing, contents that are
nested without end. How the pickle inside is interpreted is in ``inert``.
"""

from __future__ import annotations

import io
import os
import stat
import sys
import zipfile
from collections.abc import Iterator
from typing import IO, Any

from fairseq.serialization.errors import CorruptCheckpointError, shown
from fairseq.serialization.inert import Ghost, Refused, Survey, TensorSpec, interpret
from fairseq.serialization.trees import measure

__all__ = ["Ghost", "Survey", "TensorSpec", "survey_file", "walk"]

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_MAX_DEPTH = 200
_MAX_REPEATED = 2_000_000


class _Bounded:
    """A file that refuses to read more than it has, before memory for it is taken."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._size = file, size

    def read(self, count: int = -1) -> bytes:
        if count > self._size - self._file.tell():
            raise EOFError
        return self._file.read(count)

    def readline(self) -> bytes:
        line = self._file.readline(1 << 16)
        if not line.endswith(b"\n"):
            raise EOFError
        return line

    def tell(self) -> int:
        return self._file.tell()


def _survey_zip(path: str, file: IO[bytes], size: int) -> Survey:
    survey = Survey()
    try:
        archive = zipfile.ZipFile(file)
        entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise Refused("it is truncated or damaged: the table at the end of the zip file is missing") from error
    sizes: dict[str, int] = {}
    folded: set[str] = set()
    for entry in entries:
        # torch finds entries whatever their case, and by all of their name; so one name must mean one entry.
        if entry.filename != entry.orig_filename or not entry.filename.isascii() or entry.filename.lower() in folded:
            raise Refused(f"its entry {shown(entry.filename)!r} has an ambiguous name")
        folded.add(entry.filename.lower())
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise Refused(f"its entry {shown(entry.filename)!r} is compressed, which torch.save never does")
        sizes[entry.filename] = entry.file_size
    if sum(sizes.values()) > size:
        raise Refused("its entries claim more bytes than the file has")
    mains = [name for name in sizes if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(mains) != 1:
        raise Refused("it is a zip file, but torch.save did not write it (no data.pkl)")
    root = mains[0].rpartition("/")[0]
    if f"{root}/constants.pkl" in sizes:
        raise Refused("it is a TorchScript archive; load it with torch.jit.load")
    order = f"{root}/byteorder"
    try:
        data = archive.read(mains[0])
        survey.is_native = order not in sizes or archive.read(order).decode("latin-1") == sys.byteorder
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError, NotImplementedError) as error:
        raise Refused("it is truncated or damaged (checksum of its contents)") from error
    survey.tree = interpret(_Bounded(io.BytesIO(data), len(data)), survey)
    del data
    for storage in survey.storages.values():
        if sizes.get(f"{root}/data/{storage.key}", -1) < storage.num_bytes:
            raise Refused(f"tensor data {shown(storage.key)!r} is missing or too short")
    return survey


def _survey_legacy(file: IO[bytes], size: int) -> Survey:
    survey = Survey(is_zip=False)
    bounded = _Bounded(file, size)
    # One byte tells a pickle from anything else; the magic number is a pickle of its own.
    head = file.read(10)
    if head[8:10] == b'{"':
        raise Refused("it looks like a safetensors file; fairseq-checkpoint convert makes a checkpoint of it")
    if head[:1] != b"\x80":
        raise Refused("it is no checkpoint (neither a zip file nor a pickle)")
    file.seek(0)
    if interpret(bounded, Survey()) != _LEGACY_MAGIC or interpret(bounded, Survey()) != _LEGACY_PROTOCOL:
        raise Refused("it is a pickle, but torch.save did not write it")
    interpret(bounded, survey)
    survey.tree = interpret(bounded, survey)
    keys = interpret(bounded, Survey())
    if not isinstance(keys, list) or any(not isinstance(key, str) or key not in survey.storages for key in keys):
        raise Refused("its list of tensor data is damaged")
    position = file.tell()
    for key in keys:
        storage = survey.storages[key]
        file.seek(position)
        if int.from_bytes(file.read(8), "little") != storage.num_items:
            raise Refused(f"tensor data {shown(key)!r} has another size than was said")
        position += 8 + storage.num_bytes
        if position > size:
            raise Refused("it is truncated: tensor data is missing")
    if len(set(keys)) < len(survey.storages):
        raise Refused("tensor data is missing")
    return survey


def _refuse_other_than_files(path: str) -> None:
    """A pipe would be waited for without end, and a device has no size."""
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise CorruptCheckpointError(f"{path} cannot be loaded as a checkpoint: it is a folder; name a file in it")
    if not stat.S_ISREG(mode):
        raise CorruptCheckpointError(f"{path} cannot be loaded as a checkpoint: it is no regular file")


def _parts(node: Any) -> Any:
    if isinstance(node, Ghost):
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


def survey_file(path: str | os.PathLike[str]) -> Survey:
    """Read the description inside a checkpoint; see the module's text for what is refused.

    Args:
        path: a local file in either of torch's layouts (zip, or the pickle sequence before 1.6).

    Raises:
        FileNotFoundError: there is no such file.
        CorruptCheckpointError: it is no checkpoint, or damaged, or claims more data than it has.
    """
    path = os.fspath(path)
    _refuse_other_than_files(path)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            if size == 0:
                raise Refused("it is empty")
            head = file.read(4)
            file.seek(257)
            is_tar = file.read(5) == b"ustar"
            file.seek(0)
            if is_tar:
                raise Refused(
                    "it is a tar archive, a layout of torch before 0.1.10 or a packed model; unpack it, or load and "
                    "save it again with an old torch"
                )
            survey = _survey_zip(path, file, size) if head == b"PK\x03\x04" else _survey_legacy(file, size)
            _refuse_endless(survey.tree)
            return survey
        except Refused as refusal:
            raise CorruptCheckpointError(f"{path} cannot be loaded as a checkpoint: {refusal}") from refusal.__cause__


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
