"""Inert objects that take the place of classes a checkpoint mentions.

An unpickler calls what a file names. These stand-ins carry the old name, accept only plain data, and do nothing but
keep it; ``finish`` then turns the loaded tree into ordinary dictionaries, lists, strings and NumPy values. So a file
written with NumPy 1.x, OmegaConf 2.0 or a plugin's enum loads without any of the three being asked to run code.
"""

from __future__ import annotations

import argparse
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = [
    "DTYPE_CODE",
    "OpaqueObject",
    "Malformed",
    "PendingArray",
    "PendingDtype",
    "opaque_object",
    "finish",
    "inert_functions",
    "marker",
]

DTYPE_CODE = re.compile(r"[<>|=]?(?:[biufc]\d{1,2}|[SU]\d{1,6}|\?)")
_PLAIN = (str, int, float, bool, bytes, type(None))


class Malformed(ValueError):
    """A file gives a stand-in what no writer of checkpoints would. Torch does not reword errors of this class."""


def _refuse(what: str) -> Malformed:
    return Malformed(f"malformed checkpoint: {what}")


def named(obj: Any, path: str) -> Any:
    """Give a class or function the name under which files mention it; torch compares names."""
    obj.__module__, _, name = path.rpartition(".")
    obj.__name__ = obj.__qualname__ = name
    return obj


class OpaqueObject:
    """An object of a class that is not needed: remembers how it was made and what was set on it.

    Attributes:
        args: positional arguments its constructor was given.
        state: attributes that were restored.
    """

    args: tuple[Any, ...]
    state: dict[str, Any]

    def __new__(cls, *args: Any, **_: Any) -> OpaqueObject:
        self = super().__new__(cls)
        self.args, self.state = args, {}
        return self

    def __init__(self, *args: Any, **_: Any) -> None:
        """Arguments were kept by ``__new__``: pickles may skip the constructor."""

    def __setstate__(self, state: Any) -> None:
        # Objects with slots are saved as (attributes, slots).
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self.state.update(part)


def opaque_object(path: str) -> type[OpaqueObject]:
    """A fresh ``OpaqueObject`` class that answers to ``path``."""
    return named(type("OpaqueObject", (OpaqueObject,), {"path": path}), path)


def marker(path: str) -> type[OpaqueObject]:
    """Like ``opaque_object``, for names that files mention as values (element types) and that must not be called."""

    def refuse(cls: type, *args: Any, **kwargs: Any) -> Any:
        raise _refuse(f"{path} is called, but only mentioned in files that fairseq writes")

    return named(type("Marker", (OpaqueObject,), {"path": path, "__new__": refuse}), path)


# ------------------------------------------------------------------------------------------------------------- NumPy
class PendingDtype(OpaqueObject):
    """``numpy.dtype`` of plain numbers or text; anything with objects or fields is refused."""

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or any(part is not None for part in state[2:5]):
            raise _refuse("a NumPy dtype with fields")
        self.state["order"] = state[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        code = self.args[0] if self.args else None
        if isinstance(code, bytes):
            code = code.decode("ascii", "replace")
        if not isinstance(code, str) or not DTYPE_CODE.fullmatch(code):
            raise _refuse(f"NumPy dtype {code!r}")
        dtype = np.dtype(code)
        order = self.state.get("order", "=")
        if isinstance(order, bytes):
            order = order.decode("ascii", "replace")
        return dtype.newbyteorder(order) if order in ("<", ">") else dtype


def _as_bytes(data: Any) -> bytes:
    if isinstance(data, str):
        return data.encode("latin-1")
    if not isinstance(data, bytes):
        raise _refuse(f"NumPy data of type {type(data).__name__}")
    return data


def _scalar(dtype: Any, data: Any = b"") -> Any:
    if not isinstance(dtype, PendingDtype):
        raise _refuse("a NumPy scalar without a dtype")
    kind, raw = dtype.dtype, _as_bytes(data)
    if kind.itemsize != len(raw):
        raise _refuse(f"a NumPy scalar of {kind.itemsize} bytes with {len(raw)} bytes of data")
    return np.frombuffer(raw, dtype=kind, count=1)[0]


class PendingArray(OpaqueObject):
    """``numpy.ndarray`` between its creation and the arrival of its data."""

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[2], PendingDtype):
            raise _refuse("a NumPy array with an unknown state")
        _, shape, dtype, is_fortran, data = state
        values = np.frombuffer(_as_bytes(data), dtype=dtype.dtype).copy()
        if not isinstance(shape, tuple) or not all(isinstance(n, int) and n >= 0 for n in shape):
            raise _refuse("a NumPy array with an unknown shape")
        self.state["value"] = values.reshape(shape, order="F" if is_fortran else "C")


def _reconstruct(kind: Any, shape: Any, typecode: Any) -> PendingArray:
    del kind, typecode
    if shape != (0,):
        raise _refuse("a NumPy array that is not empty at first")
    return PendingArray()


# ---------------------------------------------------------------------------------------------------------- builtins
def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1", "utf-8", "ascii") or not isinstance(text, str):
        raise _refuse(f"text encoded as {encoding!r}")
    return text.encode(encoding)


def _getattr(owner: Any, name: Any) -> Any:
    # Python 3.11.0-3.11.3 pickled enum members as getattr(EnumClass, "NAME").
    if not (isinstance(owner, type) and issubclass(owner, OpaqueObject) and isinstance(name, str)):
        raise _refuse("getattr on something that is no enum")
    return owner(name)


def _path(*parts: Any) -> Any:
    from pathlib import Path

    if not all(isinstance(part, str) for part in parts):
        raise _refuse("a path that is not made of text")
    # A PosixPath cannot be made on Windows and the other way round; the local kind can always be.
    return Path(*parts)


def _empty_dict(factory: Any = None, *pairs: Any) -> dict[Any, Any]:
    del factory  # what to do for missing keys is code; a plain dict has the data
    return dict(*pairs)


def _plain_list(items: Any = (), maxlen: Any = None) -> list[Any]:
    del maxlen
    return list(items)


def _counter(items: Any = ()) -> dict[Any, Any]:
    if not isinstance(items, dict):
        raise _refuse("a counter that is not made of a dictionary")
    return dict(items)


def inert_functions() -> dict[str, Callable[..., Any]]:
    """Name -> harmless function, for everything that real files call; fresh copies that may be renamed."""
    table: dict[str, Callable[..., Any]] = {
        "_codecs.encode": _encode,
        "builtins.getattr": _getattr,
        "collections.defaultdict": _empty_dict,
        "collections.deque": _plain_list,
        "collections.Counter": _counter,
    }
    for package in ("numpy.core", "numpy._core"):
        table[f"{package}.multiarray.scalar"] = _scalar
        table[f"{package}.multiarray._reconstruct"] = _reconstruct
    for module in ("pathlib", "pathlib._local"):
        for kind in ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath"):
            table[f"{module}.{kind}"] = _path
    return {path: _renamed(function, path) for path, function in table.items()}


def _renamed(function: Callable[..., Any], path: str) -> Callable[..., Any]:
    def stand_in(*args: Any) -> Any:
        return function(*args)

    return named(stand_in, path)


# ---------------------------------------------------------------------------------------------------------- finishing
def _open_opaque(item: OpaqueObject) -> Any:
    """The ordinary value a placeholder stands for."""
    path: str = getattr(type(item), "path", "")
    if isinstance(item, PendingArray):
        return item.state.get("value", np.zeros(0))
    if isinstance(item, PendingDtype):
        return item.dtype
    if path.startswith("omegaconf."):
        if "_content" in item.state:
            return item.state["_content"]
        return item.state.get("_val")
    if not item.state and len(item.args) == 1 and isinstance(item.args[0], _PLAIN):
        return item.args[0]  # a member of an enum: saved as its class and its value
    if path.endswith("Config"):
        return dict(item.state)
    return argparse.Namespace(**{str(key): value for key, value in item.state.items()})


def finish(root: Any) -> Any:
    """Replace every stand-in inside a loaded tree by the ordinary value it stands for.

    Dictionaries, lists and namespaces are changed in place, tuples are rebuilt; shared and cyclic references stay as
    they are. Tensors and other leaves are not looked into.
    """
    opened: dict[int, Any] = {}
    keep: list[Any] = []  # ids are only unique while the objects live

    def convert(value: Any) -> Any:
        seen = value
        while isinstance(value, OpaqueObject):
            if id(value) not in opened:
                opened[id(value)] = _open_opaque(value)
                keep.append(value)
            value = opened[id(value)]
            if value is seen:
                raise _refuse("an object that contains only itself")
        if isinstance(value, type) and issubclass(value, OpaqueObject):
            return getattr(value, "path", None)
        if isinstance(value, tuple) and not hasattr(value, "_fields") and type(value) is tuple:
            return tuple(convert(part) for part in value)
        return value

    root = convert(root)
    todo, done = [root], set()
    while todo:
        node = todo.pop()
        if isinstance(node, tuple) and type(node) is tuple:
            todo.extend(node)
            continue
        if id(node) in done:
            continue
        done.add(id(node))
        if isinstance(node, argparse.Namespace):
            node = vars(node)
        if isinstance(node, (dict, OrderedDict)):
            for key in list(node):
                node[key] = convert(node[key])
                todo.append(node[key])
        elif isinstance(node, list):
            node[:] = [convert(item) for item in node]
            todo.extend(node)
    return root
