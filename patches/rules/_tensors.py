"""What a file itself says about the type of a tensor. No guessing: an expression without evidence has none."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..bindings import dotted

__all__ = ["is_bool", "is_byte", "is_integer"]

COMPARING = {"eq", "ne", "lt", "le", "gt", "ge", "isnan", "isinf", "bool", "logical_not", "logical_and", "logical_or"}
# Methods that keep the type of what they are called on.
KEEPING = {
    "t",
    "to",
    "cuda",
    "cpu",
    "clone",
    "contiguous",
    "detach",
    "expand",
    "expand_as",
    "flatten",
    "flip",
    "permute",
    "repeat",
    "reshape",
    "squeeze",
    "transpose",
    "unsqueeze",
    "view",
    "view_as",
}
INTEGER_TYPES = {"long", "int", "short", "int64", "int32", "int16"}
INTEGER_MAKERS = {"LongTensor", "IntTensor", "ShortTensor", "argmax", "argmin", "argsort", "multinomial"}
FLOAT_MAKERS = {"FloatTensor", "HalfTensor", "DoubleTensor", "float", "half", "double", "softmax", "type_as"}
BYTE_MAKERS = {"ByteTensor"}


def _keyword_dtype(call: Any) -> str:
    for arg in call.args:
        if arg.keyword is not None and arg.keyword.value == "dtype":
            return (dotted(arg.value) or "").rpartition(".")[2]
    return ""


def _method(node: Any) -> str:
    if isinstance(node, cst.Call):
        name = node.func.attr if isinstance(node.func, cst.Attribute) else node.func
        return name.value if isinstance(name, cst.Name) else ""
    return ""


def _judge(ctx: Any, node: Any, methods: set[str], dtypes: set[str], depth: int = 0) -> bool:
    if depth > 6:
        return False
    if isinstance(node, cst.Call):
        method = _method(node)
        if method in methods:
            return True
        if _keyword_dtype(node):
            return _keyword_dtype(node) in dtypes
        if method in KEEPING and isinstance(node.func, cst.Attribute):
            if method == "to" and any(arg.keyword is None for arg in node.args):
                types = {(dotted(arg.value) or "").rpartition(".")[2] for arg in node.args}
                if types & {"float", "float32", "half", "float16", "double", "float64"}:
                    return False
            return _judge(ctx, node.func.value, methods, dtypes, depth + 1)
        return False
    if isinstance(node, cst.Subscript):
        return _judge(ctx, node.value, methods, dtypes, depth + 1)
    values = _values(ctx, node)
    verdicts = [_judge(ctx, value, methods, dtypes, depth + 1) for value in values]
    if isinstance(node, cst.Attribute):
        # An attribute is set in many places, of which some tell nothing; none may say the contrary.
        return any(verdicts) and not any(_method(value) in FLOAT_MAKERS for value in values)
    return bool(verdicts) and all(verdicts)


def _values(ctx: Any, node: Any) -> list[Any]:
    """Everything that is assigned to a name, or anywhere in the file to ``self.name`` (None left out)."""
    if isinstance(node, cst.Name):
        return list(ctx.scope.assigned(node.value))
    if isinstance(node, cst.Attribute) and isinstance(node.value, cst.Name) and node.value.value == "self":
        found: list[Any] = []

        class Assigned(cst.CSTVisitor):
            def visit_Assign(self, inner: Any) -> None:
                if any(item.target.deep_equals(node) for item in inner.targets):
                    found.append(inner.value)

        ctx.module.visit(Assigned())
        return [value for value in found if not (isinstance(value, cst.Name) and value.value == "None")]
    return []


def is_integer(ctx: Any, node: Any) -> bool:
    """Surely a tensor of integers."""
    return _judge(ctx, node, INTEGER_TYPES | INTEGER_MAKERS, INTEGER_TYPES)


def is_byte(ctx: Any, node: Any) -> bool:
    """Surely a tensor of unsigned bytes."""
    return _judge(ctx, node, BYTE_MAKERS | {"byte"}, {"uint8"})


def is_bool(ctx: Any, node: Any) -> bool:
    """Surely a tensor of truth values."""
    if isinstance(node, cst.UnaryOperation) and isinstance(node.operator, cst.BitInvert):
        return is_bool(ctx, node.expression)
    if isinstance(node, cst.BinaryOperation) and isinstance(node.operator, (cst.BitAnd, cst.BitOr, cst.BitXor)):
        return is_bool(ctx, node.left) and is_bool(ctx, node.right)
    return _judge(ctx, node, COMPARING, {"bool"})
