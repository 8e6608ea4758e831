"""Interpret a pickle without running any of it.

For ``InertUnpickler`` every name is an ``OpaqueGlobal``: a class that stores what it is given. Nothing is imported, no
tensor is made, no memory is taken that the file does not pay for. It refuses what no checkpoint needs and what would
cost more than it looks: tensors larger than their data, containers made of ranges, keys that all have one hash, opcodes
that torch never writes.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fairseq.serialization.errors import shown
from fairseq.serialization.keys import KeyGuard, Refused

if TYPE_CHECKING:
    from fairseq.serialization.archive import Archive

__all__ = ["OpaqueGlobal", "Refused", "Survey", "TensorSpec", "interpret"]

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


_MAX_NAME = 1000
# A view may repeat its data (``expand``), but not to something far larger than what a file of any size holds.
_MAX_EXPANDED_BYTES = 16 << 20
_SETS = ("builtins.set", "builtins.frozenset", "collections.Counter")
_HASHING = (*_SETS, "collections.OrderedDict", "collections.defaultdict")
_CONTAINERS = ("builtins.set", "builtins.frozenset", "collections.deque", "collections.Counter")


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
        tree: the pickled object; unknown objects are ``OpaqueGlobal``, tensors are ``TensorSpec``.
        is_zip: zip layout (torch >= 1.6), the one that can be memory-mapped.
        is_native: numbers are stored in this machine's byte order.
        description: the bytes that were interpreted, which are the ones to load: the pickle of a zip file, all pickles
            of the older layout.
        archive: the records of a zip file.
    """

    is_zip: bool = True
    is_native: bool = True
    names: set[str] = field(default_factory=set)
    called: set[str] = field(default_factory=set)
    tree: Any = None
    storages: dict[str, _Storage] = field(default_factory=dict)
    description: bytes = b""
    archive: Archive | None = None


class OpaqueGlobal(dict[Any, Any]):
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
        raise TypeError("a opaque is not saved")

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


class InertUnpickler(pickle._Unpickler):  # type: ignore[name-defined, misc]
    """Python's own unpickler (the slow one, whose memo is a dictionary) over opaque globals.

    The opcode table is cut to what ``torch.save`` writes, plus the ones old exploits use, so that those are reported
    by the name they mention instead of as an unknown byte.
    """

    def __init__(self, file: Any, survey: Survey) -> None:
        super().__init__(file, fix_imports=False, encoding="latin1")
        self.survey = survey
        self._opaque_globals: dict[str, type[OpaqueGlobal]] = {}
        self.keys = KeyGuard()

    def find_class(self, module: str, name: str) -> Any:
        module, name = _OLD_MODULES.get(module, module), _OLD_NAMES.get(name, name)
        path = f"{module}.{name}"
        if len(path) > _MAX_NAME:
            raise Refused(f"it mentions a name of {len(path)} letters")
        self.survey.names.add(path)
        if path not in self._opaque_globals:
            survey, keys = self.survey, self.keys

            def make(cls: type[OpaqueGlobal], *args: Any, **kwargs: Any) -> Any:
                survey.called.add(path)
                return _call(cls, path, args, keys)

            self._opaque_globals[path] = type("OpaqueGlobal", (OpaqueGlobal,), {"path": path, "__new__": make})
        return self._opaque_globals[path]

    def get_extension(self, code: int) -> Any:
        raise Refused(f"it uses pickle extension {code}, which torch never writes")

    def persistent_load(self, pid: Any) -> Any:
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise Refused("it refers to something that is not tensor data")
        kind, key, _, num_items = pid[1:5]
        kind = getattr(kind, "path", "").rpartition(".")[2]
        if kind not in _ITEM_SIZES or not isinstance(key, str) or not _whole(num_items):
            raise Refused("it describes tensor data of an unknown kind")
        known = self.survey.storages.setdefault(key, _Storage(key, kind, num_items))
        if known.num_items * _ITEM_SIZES[known.kind] < num_items * _ITEM_SIZES[kind]:
            raise Refused(f"it describes tensor data {key} twice, with different sizes")
        if len(pid) > 5 and pid[5] is not None:  # a view, in files older than torch 0.4
            _, offset, num_items = pid[5]
            if not _whole(offset) or not _whole(num_items) or offset + num_items > known.num_items:
                raise Refused("a view leaves its tensor data")
        return _Storage(key, kind, num_items)


# Numbers in decimal text (INT, LONG, FLOAT) are left out: torch does not read them, and long ones take long to convert.
_ALLOWED_OPCODES = """
    PROTO STOP MARK POP DUP GLOBAL STACK_GLOBAL INST OBJ NEWOBJ REDUCE BUILD BINPERSID
    NONE NEWFALSE NEWTRUE BININT BININT1 BININT2 LONG1 BINFLOAT
    SHORT_BINSTRING BINUNICODE SHORT_BINUNICODE BINUNICODE8 SHORT_BINBYTES BINBYTES
    EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST APPEND APPENDS EMPTY_SET ADDITEMS
    EMPTY_DICT DICT SETITEM SETITEMS GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE FRAME
"""


def _after_checking_keys(opcode: bytes, keys: Callable[[list[Any]], list[Any]]) -> Callable[[Any], None]:
    load = pickle._Unpickler.dispatch[opcode[0]]  # type: ignore[attr-defined]

    def checked(self: Any) -> None:
        self.keys.check(keys(self.stack))
        load(self)

    return checked


def _load_build(self: Any) -> None:
    """BUILD: remember the state. Tensors are never given one: it could make them larger than their data."""
    state = self.stack.pop()
    target = self.stack[-1]
    if not isinstance(target, OpaqueGlobal) or target.path.partition(".")[0] == "torch":
        raise Refused("it sets attributes of something that has none in checkpoints")
    target.state.append(state)


InertUnpickler.dispatch = {
    getattr(pickle, name)[0]: pickle._Unpickler.dispatch[getattr(pickle, name)[0]]  # type: ignore[attr-defined]
    for name in _ALLOWED_OPCODES.split()
}
InertUnpickler.dispatch.update(
    {
        pickle.SETITEM[0]: _after_checking_keys(pickle.SETITEM, lambda stack: stack[-2:-1]),
        pickle.SETITEMS[0]: _after_checking_keys(pickle.SETITEMS, lambda stack: stack[::2]),
        pickle.DICT[0]: _after_checking_keys(pickle.DICT, lambda stack: stack[::2]),
        pickle.ADDITEMS[0]: _after_checking_keys(pickle.ADDITEMS, lambda stack: stack),
        pickle.BUILD[0]: _load_build,
    }
)


def _call(cls: type[OpaqueGlobal], path: str, args: tuple[Any, ...], keys: KeyGuard) -> Any:
    """A name of the file is called; describe the result, refuse what would take memory out of proportion."""
    module, _, name = path.rpartition(".")
    if module == "torch._utils" and name in _REBUILD:
        return _tensor(name, args)
    if module == "torch._utils" and name in _REBUILD_OTHER:
        if name.startswith("_rebuild_parameter") and args and isinstance(args[0], TensorSpec):
            return args[0]
    elif path == "torch._tensor._rebuild_from_type_v2":
        if len(args) != 4 or not isinstance(args[0], type) or not isinstance(args[2], tuple):
            raise Refused("a tensor subclass is described in an unknown way")
        if getattr(args[0], "path", "").rpartition(".")[0] != "torch._utils":
            raise Refused("a tensor subclass is rebuilt by something that is not torch's")
        return args[0](*args[2])
    elif module.partition(".")[0] == "torch" and path not in ("torch.Size", "torch.device"):
        if args or name in _ITEM_SIZES:
            raise Refused(f"it calls {shown(path)}, which checkpoints only mention")
    elif path == "_codecs.encode":
        if len(args) != 2 or args[1] not in _CODECS:
            raise Refused("it encodes text in an unusual way")
    elif path == "builtins.bytearray" and args and not isinstance(args[0], (str, bytes, OpaqueGlobal)):
        raise Refused("it asks for an empty buffer of its own choice of size")
    elif path in _CONTAINERS and args and not isinstance(args[0], (list, tuple, set, dict)):
        raise Refused(f"it makes a {name} of something that is no list")
    if any(isinstance(arg, OpaqueGlobal) and arg.path == "builtins.range" for arg in args):
        # A range of any length takes no space in a file, what is made of it does.
        raise Refused(f"it makes a {name} of a range")
    opaque = OpaqueGlobal.__new__(OpaqueGlobal, *args)
    opaque.__class__ = cls
    for items in args if path in _HASHING else ():
        keys.check(items if isinstance(items, (set, frozenset)) or path in _SETS else _first_of_pairs(items))
    if path == "collections.OrderedDict" and len(args) == 1 and isinstance(args[0], list):
        opaque.update(item for item in args[0] if isinstance(item, (list, tuple)) and len(item) == 2)
    return opaque


def _first_of_pairs(items: Any) -> list[Any]:
    if isinstance(items, dict):
        return list(items)
    pairs = items if isinstance(items, (list, tuple)) else ()
    return [pair[0] for pair in pairs if isinstance(pair, (list, tuple)) and len(pair) == 2]


def _tensor(function: str, args: tuple[Any, ...]) -> TensorSpec:
    if len(args) < 4 or not isinstance(args[0], _Storage):
        raise Refused("a tensor is described without its data")
    storage, offset, size, stride = args[:4]
    size = tuple(size.args[0]) if isinstance(size, OpaqueGlobal) and size.args else size
    if not isinstance(size, tuple) or not isinstance(stride, tuple) or len(size) != len(stride) or len(size) > 64:
        raise Refused("a tensor has an unknown shape")
    if not _whole(offset) or not all(map(_whole, size)) or not all(map(_whole, stride)):
        raise Refused("a tensor has a negative size")
    dtype = _DTYPE_NAMES.get(storage.kind, storage.kind)
    item_size = 1
    if storage.kind == "UntypedStorage" and len(args) > 6:  # v3: the dtype travels separately
        dtype = getattr(args[6], "path", "torch.uint8").rpartition(".")[2]
        digits = "".join(c for c in dtype.partition("_")[0] if c.isdigit())[-2:]
        item_size = max(1, int(digits or 8) // 8)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride)) if all(size) else -1
    if (last + 1) * item_size > storage.num_items:
        raise Refused(f"a tensor of shape {list(size)} does not fit in its {storage.num_items} numbers of data")
    spec = TensorSpec(dtype, size, storage.key)
    width = item_size if storage.kind == "UntypedStorage" else _ITEM_SIZES[storage.kind]
    if spec.num_elements * width > max(_MAX_EXPANDED_BYTES, 16 * storage.num_bytes):
        raise Refused(f"a tensor of shape {list(size)} repeats {storage.num_items} numbers")
    return spec


def interpret(file: Any, survey: Survey) -> Any:
    """The object described by a pickle, as opaque globals; names and tensor data are noted in ``survey``.

    Raises:
        Refused: it is damaged, or asks for what no checkpoint needs.
    """
    unpickler = InertUnpickler(file, survey)
    try:
        return unpickler.load()
    except Refused:
        raise
    except KeyError as error:
        code = error.args[0] if error.args else None
        if type(code) is int and code not in InertUnpickler.dispatch:
            raise Refused(f"byte {code:#x} is no instruction that torch writes") from None
        raise Refused("its description of the contents is damaged") from error
    except (EOFError, pickle.UnpicklingError, MemoryError) as error:
        raise Refused("it ends too early or is damaged") from error
    except Exception as error:
        # Any nonsense can follow from damaged bytes: all of it means the same to the reader.
        raise Refused(f"its description of the contents is damaged ({type(error).__name__})") from error
