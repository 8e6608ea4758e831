"""Look into a checkpoint without running any of it.

The pickle inside a file is interpreted by ``_InertUnpickler``, for which every name is a ``Ghost``: a class that stores
what it is given. Nothing is imported, no tensor is made, no memory is taken that the file does not pay for. What comes
out is the list of names, the tree with tensors as ``TensorSpec``, and a refusal if the file cannot be what it claims
to be: tensors larger than their data, compressed entries (torch never compresses), opcodes that torch never writes.
"""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from fairseq.serialization.errors import CorruptCheckpointError

__all__ = ["Ghost", "Survey", "TensorSpec", "survey_file"]

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001

_ITEM_SIZES = {
    "DoubleStorage": 8,
    "FloatStorage": 4,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "LongStorage": 8,
    "IntStorage": 4,
    "ShortStorage": 2,
    "CharStorage": 1,
    "ByteStorage": 1,
    "BoolStorage": 1,
    "UntypedStorage": 1,
    "ComplexDoubleStorage": 16,
    "ComplexFloatStorage": 8,
    "QInt8Storage": 1,
    "QUInt8Storage": 1,
    "QInt32Storage": 4,
    "QUInt4x2Storage": 1,
    "QUInt2x4Storage": 1,
}
_DTYPE_NAMES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
# Functions of torch._utils whose first arguments are (storage, offset, size, stride).
_REBUILD = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_qtensor")
_REBUILD_OTHER = ("_rebuild_parameter", "_rebuild_parameter_with_state", "_rebuild_sparse_tensor")
_CODECS = ("latin1", "latin-1", "utf-8", "ascii")

# Python 2 names that a protocol 2 pickle uses for today's modules.
_OLD_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg", "exceptions": "builtins"}
_OLD_NAMES = {"unicode": "str", "long": "int", "xrange": "range"}


class _Refused(Exception):
    """Why a file is turned down; becomes a CorruptCheckpointError with the file's name."""


@dataclass
class _Storage:
    key: str
    kind: str
    num_items: int

    @property
    def num_bytes(self) -> int:
        return self.num_items * _ITEM_SIZES[self.kind]


@dataclass(frozen=True)
class TensorSpec:
    """A tensor that was described but not made."""

    dtype: str
    shape: tuple[int, ...]
    storage: str

    @property
    def num_elements(self) -> int:
        count = 1
        for size in self.shape:
            count *= size
        return count


@dataclass
class Survey:
    """What a file holds.

    Attributes:
        names: every class and function it mentions, as ``package.module.Name``.
        called: those of them that would be called or constructed.
        tree: the pickled object; unknown objects are ``Ghost``, tensors are ``TensorSpec``.
        is_zip: zip layout (torch >= 1.6), the one that can be memory-mapped.
    """

    is_zip: bool = True
    names: set[str] = field(default_factory=set)
    called: set[str] = field(default_factory=set)
    tree: Any = None
    storages: dict[str, _Storage] = field(default_factory=dict)


class Ghost(dict[Any, Any]):
    """An object of some class, not made: constructor arguments in ``args``, attributes in ``state``, its items."""

    path = ""
    args: tuple[Any, ...]
    state: list[Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls)
        self.args, self.state = args, []
        return self

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        self.state.append(state)

    def __reduce__(self) -> Any:
        raise TypeError("a ghost is not saved")

    __hash__ = object.__hash__  # type: ignore[assignment]

    def extend(self, items: Any) -> None:
        """Lists and sets are filled this way; what went in is of no interest."""
        self.state.append(items)

    append = add = extend

    @property
    def attributes(self) -> dict[str, Any]:
        """Restored attributes, with the slots of classes that have them."""
        found: dict[str, Any] = {}
        for state in self.state:
            for part in state if isinstance(state, tuple) else (state,):
                if isinstance(part, dict):
                    found.update(part)
        return found


def _whole(value: Any) -> bool:
    return type(value) is int and value >= 0


class _InertUnpickler(pickle._Unpickler):  # type: ignore[name-defined, misc]
    """Python's own unpickler (the slow one, whose memo is a dictionary) over ghosts.

    The opcode table is cut to what ``torch.save`` writes, plus the ones old exploits use, so that those are reported
    by the name they mention instead of as an unknown byte.
    """

    def __init__(self, file: Any, survey: Survey) -> None:
        super().__init__(file, fix_imports=False, encoding="latin1")
        self.survey = survey
        self._ghosts: dict[str, type[Ghost]] = {}

    def find_class(self, module: str, name: str) -> Any:
        module, name = _OLD_MODULES.get(module, module), _OLD_NAMES.get(name, name)
        path = f"{module}.{name}"
        self.survey.names.add(path)
        if path not in self._ghosts:
            survey = self.survey

            def make(cls: type[Ghost], *args: Any, **kwargs: Any) -> Any:
                survey.called.add(path)
                return _call(cls, path, args)

            self._ghosts[path] = type(name, (Ghost,), {"path": path, "__new__": make})
        return self._ghosts[path]

    def get_extension(self, code: int) -> Any:
        raise _Refused(f"it uses pickle extension {code}, which torch never writes")

    def persistent_load(self, pid: Any) -> Any:
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise _Refused("it refers to something that is not tensor data")
        kind, key, _, num_items = pid[1:5]
        kind = getattr(kind, "path", "").rpartition(".")[2]
        if kind not in _ITEM_SIZES or not isinstance(key, str) or not _whole(num_items):
            raise _Refused("it describes tensor data of an unknown kind")
        known = self.survey.storages.setdefault(key, _Storage(key, kind, num_items))
        if known.num_items * _ITEM_SIZES[known.kind] < num_items * _ITEM_SIZES[kind]:
            raise _Refused(f"it describes tensor data {key} twice, with different sizes")
        if len(pid) > 5 and pid[5] is not None:  # a view, in files older than torch 0.4
            _, offset, num_items = pid[5]
            if not _whole(offset) or not _whole(num_items) or offset + num_items > known.num_items:
                raise _Refused("a view leaves its tensor data")
        return _Storage(key, kind, num_items)


_ALLOWED_OPCODES = """
    PROTO STOP MARK POP DUP GLOBAL STACK_GLOBAL INST OBJ NEWOBJ REDUCE BUILD BINPERSID
    NONE NEWFALSE NEWTRUE INT BININT BININT1 BININT2 LONG LONG1 FLOAT BINFLOAT
    STRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 SHORT_BINBYTES BINBYTES
    EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST APPEND APPENDS EMPTY_SET ADDITEMS
    EMPTY_DICT DICT SETITEM SETITEMS GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE FRAME
"""
_InertUnpickler.dispatch = {
    getattr(pickle, name)[0]: pickle._Unpickler.dispatch[getattr(pickle, name)[0]]  # type: ignore[attr-defined]
    for name in _ALLOWED_OPCODES.split()
}


def _call(cls: type[Ghost], path: str, args: tuple[Any, ...]) -> Any:
    """A name of the file is called; describe the result, refuse what would take memory out of proportion."""
    module, _, name = path.rpartition(".")
    if module == "torch._utils" and name in _REBUILD:
        return _tensor(name, args)
    if module == "torch._utils" and name in _REBUILD_OTHER:
        if name.startswith("_rebuild_parameter") and args and isinstance(args[0], TensorSpec):
            return args[0]
    elif path == "torch._tensor._rebuild_from_type_v2":
        if len(args) != 4 or not isinstance(args[0], type) or not isinstance(args[2], tuple):
            raise _Refused("a tensor subclass is described in an unknown way")
        if getattr(args[0], "path", "").rpartition(".")[0] != "torch._utils":
            raise _Refused("a tensor subclass is rebuilt by something that is not torch's")
        return args[0](*args[2])
    elif module.partition(".")[0] == "torch" and path not in ("torch.Size", "torch.device"):
        if args or name in _ITEM_SIZES:
            raise _Refused(f"it calls {path}, which checkpoints only mention")
    elif path == "_codecs.encode":
        if len(args) != 2 or args[1] not in _CODECS:
            raise _Refused("it encodes text in an unusual way")
    elif path == "builtins.bytearray" and args and not isinstance(args[0], (str, bytes, Ghost)):
        raise _Refused("it asks for an empty buffer of its own choice of size")
    ghost = Ghost.__new__(Ghost, *args)
    ghost.__class__ = cls
    if path == "collections.OrderedDict" and len(args) == 1 and isinstance(args[0], list):
        ghost.update(item for item in args[0] if isinstance(item, (list, tuple)) and len(item) == 2)
    return ghost


def _tensor(function: str, args: tuple[Any, ...]) -> TensorSpec:
    if len(args) < 4 or not isinstance(args[0], _Storage):
        raise _Refused("a tensor is described without its data")
    storage, offset, size, stride = args[:4]
    size = tuple(size.args[0]) if isinstance(size, Ghost) and size.args else size
    if not isinstance(size, tuple) or not isinstance(stride, tuple) or len(size) != len(stride) or len(size) > 64:
        raise _Refused("a tensor has an unknown shape")
    if not _whole(offset) or not all(map(_whole, size)) or not all(map(_whole, stride)):
        raise _Refused("a tensor has a negative size")
    dtype = _DTYPE_NAMES.get(storage.kind, storage.kind)
    item_size = 1
    if storage.kind == "UntypedStorage" and len(args) > 6:  # v3: the dtype travels separately
        dtype = getattr(args[6], "path", "torch.uint8").rpartition(".")[2]
        digits = "".join(c for c in dtype.partition("_")[0] if c.isdigit())[-2:]
        item_size = max(1, int(digits or 8) // 8)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride)) if all(size) else -1
    if (last + 1) * item_size > storage.num_items:
        raise _Refused(f"a tensor of shape {list(size)} does not fit in its {storage.num_items} numbers of data")
    return TensorSpec(dtype, size, storage.key)


# --------------------------------------------------------------------------------------------------------------- files
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


def _unpickle(file: Any, survey: Survey) -> Any:
    try:
        return _InertUnpickler(file, survey).load()
    except _Refused:
        raise
    except KeyError as error:
        code = error.args[0] if error.args else None
        if type(code) is int and code not in _InertUnpickler.dispatch:
            raise _Refused(f"byte {code:#x} is no instruction that torch writes") from None
        raise _Refused("its description of the contents is damaged") from error
    except (EOFError, pickle.UnpicklingError, MemoryError) as error:
        raise _Refused("it ends too early or is damaged") from error
    except Exception as error:
        # Any nonsense can follow from damaged bytes: all of it means the same to the reader.
        raise _Refused(f"its description of the contents is damaged ({type(error).__name__})") from error


def _survey_zip(path: str, file: IO[bytes], size: int) -> Survey:
    survey = Survey()
    try:
        archive = zipfile.ZipFile(file)
        entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise _Refused("it is truncated or damaged: the table at the end of the zip file is missing") from error
    sizes: dict[str, int] = {}
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise _Refused(f"its entry {entry.filename!r} is compressed, which torch.save never does")
        if entry.filename in sizes:
            raise _Refused(f"its entry {entry.filename!r} exists twice")
        sizes[entry.filename] = entry.file_size
    if sum(sizes.values()) > size:
        raise _Refused("its entries claim more bytes than the file has")
    mains = [name for name in sizes if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(mains) != 1:
        raise _Refused("it is a zip file, but torch.save did not write it (no data.pkl)")
    root = mains[0].rpartition("/")[0]
    if f"{root}/constants.pkl" in sizes:
        raise _Refused("it is a TorchScript archive; load it with torch.jit.load")
    try:
        data = archive.read(mains[0])
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError, NotImplementedError) as error:
        raise _Refused("it is truncated or damaged (checksum of its contents)") from error
    survey.tree = _unpickle(io.BytesIO(data), survey)
    for storage in survey.storages.values():
        if sizes.get(f"{root}/data/{storage.key}", -1) < storage.num_bytes:
            raise _Refused(f"tensor data {storage.key} is missing or too short")
    return survey


def _survey_legacy(file: IO[bytes], size: int) -> Survey:
    survey = Survey(is_zip=False)
    bounded = _Bounded(file, size)
    # One byte tells a pickle from anything else; the magic number is a pickle of its own.
    if file.read(1) != b"\x80":
        raise _Refused("it is no checkpoint (neither a zip file nor a pickle)")
    file.seek(0)
    if _unpickle(bounded, Survey()) != _LEGACY_MAGIC or _unpickle(bounded, Survey()) != _LEGACY_PROTOCOL:
        raise _Refused("it is a pickle, but torch.save did not write it")
    _unpickle(bounded, survey)
    survey.tree = _unpickle(bounded, survey)
    keys = _unpickle(bounded, Survey())
    if not isinstance(keys, list) or any(key not in survey.storages for key in keys):
        raise _Refused("its list of tensor data is damaged")
    position = file.tell()
    for key in keys:
        storage = survey.storages[key]
        file.seek(position)
        if int.from_bytes(file.read(8), "little") != storage.num_items:
            raise _Refused(f"tensor data {key} has another size than was said")
        position += 8 + storage.num_bytes
        if position > size:
            raise _Refused("it is truncated: tensor data is missing")
    if len(set(keys)) < len(survey.storages):
        raise _Refused("tensor data is missing")
    return survey


def survey_file(path: str | os.PathLike[str]) -> Survey:
    """Read the description inside a checkpoint; see the module's text for what is refused.

    Args:
        path: a local file in either of torch's layouts (zip, or the pickle sequence before 1.6).

    Raises:
        FileNotFoundError: there is no such file.
        CorruptCheckpointError: it is no checkpoint, or damaged, or claims more data than it has.
    """
    path = os.fspath(path)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            if size == 0:
                raise _Refused("it is empty")
            head = file.read(4)
            file.seek(257)
            is_tar = file.read(5) == b"ustar"
            file.seek(0)
            if is_tar:
                raise _Refused(
                    "it is a tar archive, a layout of torch before 0.1.10 or a packed model; unpack it, or load and "
                    "save it again with an old torch"
                )
            if head == b"PK\x03\x04":
                return _survey_zip(path, file, size)
            return _survey_legacy(file, size)
        except _Refused as refusal:
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
