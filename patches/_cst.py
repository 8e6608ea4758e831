"""LibCST, imported the first time one of its names is used.

Rule modules hold the cards too, and ``fairseq-patch list`` and ``explain`` read cards on machines without LibCST.
"""

from __future__ import annotations

import dataclasses
import importlib
from typing import TYPE_CHECKING, Any, Callable

__all__ = ["MissingLibCST", "cst", "each_node"]


class MissingLibCST(ImportError):
    """LibCST is needed and not installed; the text says how to get it."""


class _Lazy:
    def __getattr__(self, name: str) -> Any:
        try:
            module = importlib.import_module("libcst")
        except ModuleNotFoundError as err:
            raise MissingLibCST(
                "rewriting source needs LibCST, which is not installed here: "
                "pip install 'fairseq[patches]' (or: pip install libcst)"
            ) from err
        value = getattr(module, name)
        setattr(self, name, value)
        return value


if TYPE_CHECKING:
    import libcst as cst
else:
    cst = _Lazy()


# Fields that hold layout only: no rule and no binding is in them, and they are two thirds of all nodes.
LAYOUT = {
    "lpar", "rpar", "lbracket", "rbracket", "lbrace", "rbrace", "comma", "semicolon", "leading_lines",
    "lines_after_decorators", "trailing_whitespace", "header", "footer", "equal", "dot", "colon", "indent", "relative",
    "newline", "operator",
}  # fmt: skip
# LibCST class -> its fields that may hold nodes; None for classes that are no nodes.
_fields: dict[type, tuple[str, ...] | None] = {}


def _fields_of(kind: type) -> tuple[str, ...] | None:
    if not issubclass(kind, cst.CSTNode):
        _fields[kind] = None
        return None
    names = (item.name for item in dataclasses.fields(kind))  # type: ignore[arg-type]
    _fields[kind] = tuple(name for name in names if name not in LAYOUT and not name.startswith("whitespace"))
    return _fields[kind]


def each_node(root: Any, enter: Callable[[Any], bool], leave: Callable[[Any], None]) -> None:
    """Walk a tree that is only read, without its layout; a fifth of the time of LibCST's own visit.

    Args:
        root: where to start.
        enter: called with each node before its children; they are left out when it returns False.
        leave: called with each node behind its children.
    """
    known = _fields

    def go(node: Any) -> None:
        if enter(node):
            for name in known[node.__class__] or ():
                value = getattr(node, name)
                kind = value.__class__
                if kind is tuple or kind is list:
                    for item in value:
                        if item.__class__ not in known:
                            _fields_of(item.__class__)
                        if known[item.__class__] is not None:
                            go(item)
                    continue
                if kind not in known:
                    _fields_of(kind)
                if known[kind] is not None:
                    go(value)
        leave(node)

    _fields_of(root.__class__)
    go(root)
