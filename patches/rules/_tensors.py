"""What a file itself says about the type of a tensor. No guessing: an expression without evidence has none."""

from __future__ import annotations

from typing import Any

from .._cst import cst, each_node
from ..bindings import dotted

__all__ = ["COMPARING", "is_bool", "is_byte", "is_integer", "is_real"]

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
REAL_TYPES = {"float", "float16", "float32", "float64", "half", "double", "bfloat16"}
BYTE_MAKERS = {"ByteTensor"}
# What gives (values, indices).
PAIRS = {"topk", "sort", "kthvalue", "max", "min", "median", "nanmedian", "mode", "cummax", "cummin"}


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


def _may_give_tensor(ctx: Any, call: Any) -> bool:
    """Not Python's ``int(x)`` or ``bool(x)``, and not a function of numpy, math or operator."""
    origins = ctx.origins(call.func)
    if isinstance(call.func, cst.Name):
        return bool(origins) and all(origin.startswith("torch.") for origin in origins)
    return all(origin.startswith("torch.") for origin in origins)


def _gives_pair(ctx: Any, node: Any) -> bool:
    return isinstance(node, cst.Call) and _method(node) in PAIRS and _may_give_tensor(ctx, node)


def _key(ctx: Any, node: Any, scope: Any) -> tuple[int, str]:
    """What tells one variable from another of the same spelling; ``self.x`` is one in the whole file."""
    head = node
    while isinstance(head, (cst.Attribute, cst.Subscript)):
        head = head.value
    holder = scope.holder(head.value) if isinstance(head, cst.Name) and head.value != "self" else None
    return id(holder), ctx.module.code_for_node(node.with_changes(lpar=(), rpar=()) if hasattr(node, "lpar") else node)


def _index_buffers(ctx: Any) -> set[tuple[int, str]]:
    """Variables that some ``topk(..., out=(scores, index))`` of the file writes its indices to."""
    known: set[tuple[int, str]] | None = getattr(ctx, "index_buffers", None)
    if known is not None:
        return known
    found: set[tuple[int, str]] = set()
    stack = [ctx.top]

    def enter(node: Any) -> bool:
        if type(node) in making and node is not ctx.module:
            stack.append(ctx.scopes[node])
        if isinstance(node, cst.Call) and _method(node) in PAIRS:
            for arg in node.args:
                if arg.keyword is not None and arg.keyword.value == "out":
                    note(arg.value, stack[-1])
        return True

    def leave(node: Any) -> None:
        if type(node) in making and node is not ctx.module:
            stack.pop()

    def note(out: Any, scope: Any) -> None:
        outs = scope.assigned(out.value) if isinstance(out, cst.Name) else [out]
        for pair in outs:
            if not isinstance(pair, (cst.Tuple, cst.List)) or len(pair.elements) != 2:
                continue
            index = pair.elements[1].value
            found.add(_key(ctx, index, scope))
            if isinstance(index, cst.Subscript) and any(isinstance(e.slice, cst.Slice) for e in index.slice):
                found.add(_key(ctx, index.value, scope))

    making = {type(node) for node in ctx.scopes}
    each_node(ctx.module, enter, leave)
    ctx.index_buffers = found
    return found


def _is_index_part(ctx: Any, node: Any) -> bool:
    """``topk(...)[1]``, ``topk(...).indices``, or a variable that topk's ``out`` names as such."""
    if isinstance(node, cst.Subscript):
        element = node.slice[0].slice if len(node.slice) == 1 else None
        is_second = (
            isinstance(element, cst.Index) and isinstance(element.value, cst.Integer) and element.value.value == "1"
        )
        if is_second and _all_pairs(ctx, node.value):
            return True
    elif isinstance(node, cst.Attribute):
        if node.attr.value == "indices" and _all_pairs(ctx, node.value):
            return True
    elif not isinstance(node, cst.Name):
        return False
    return _key(ctx, node, ctx.scope) in _index_buffers(ctx)


def _all_pairs(ctx: Any, node: Any) -> bool:
    if isinstance(node, cst.Call):
        return _gives_pair(ctx, node)
    values = _values(ctx, node) if isinstance(node, (cst.Name, cst.Attribute)) else []
    return bool(values) and all(_gives_pair(ctx, value) for value in values)


def _judge(ctx: Any, node: Any, methods: set[str], dtypes: set[str], depth: int = 0) -> bool:
    if depth > 6:
        return False
    if isinstance(node, cst.Call):
        if not _may_give_tensor(ctx, node):
            return False
        method = _method(node)
        if method in methods:
            return True
        if _keyword_dtype(node):
            return _keyword_dtype(node) in dtypes
        if method in KEEPING and isinstance(node.func, cst.Attribute):
            if method == "to" and any(arg.keyword is None for arg in node.args):
                types = {(dotted(arg.value) or "").rpartition(".")[2] for arg in node.args}
                if types & dtypes:
                    return True
                if types & REAL_TYPES:
                    return False
            return _judge(ctx, node.func.value, methods, dtypes, depth + 1)
        return False
    if isinstance(node, cst.Subscript):
        return _judge(ctx, node.value, methods, dtypes, depth + 1)
    values = _values(ctx, node)
    if values and dtypes == {"uint8"} and any(isinstance(value, cst.BinaryOperation) for value in values):
        return all(is_byte(ctx, value) for value in values)
    verdicts = [_judge(ctx, value, methods, dtypes, depth + 1) for value in values]
    if isinstance(node, cst.Attribute):
        # An attribute is set in many places, of which some tell nothing; none may say the contrary.
        return any(verdicts) and not any(_method(value) in FLOAT_MAKERS for value in values)
    return bool(verdicts) and all(verdicts)


def _own_attributes(ctx: Any) -> list[tuple[str, Any]]:
    """``(x, value)`` of each ``self.x = value`` in the file."""
    known: list[tuple[str, Any]] | None = getattr(ctx, "own_attributes", None)
    if known is not None:
        return known
    found: list[tuple[str, Any]] = []

    def enter(node: Any) -> bool:
        for item in node.targets if isinstance(node, cst.Assign) else ():
            target = item.target
            if (
                isinstance(target, cst.Attribute)
                and isinstance(target.value, cst.Name)
                and target.value.value == "self"
            ):
                found.append((target.attr.value, node.value))
        return True

    each_node(ctx.module, enter, lambda _: None)
    ctx.own_attributes = found
    return found


def _values(ctx: Any, node: Any) -> list[Any]:
    """Everything that is assigned to a name, or anywhere in the file to ``self.name`` (None left out)."""
    if isinstance(node, cst.Name):
        return list(ctx.scope.assigned(node.value))
    if isinstance(node, cst.Attribute) and isinstance(node.value, cst.Name) and node.value.value == "self":
        found = [value for name, value in _own_attributes(ctx) if name == node.attr.value]
        return [value for value in found if not (isinstance(value, cst.Name) and value.value == "None")]
    return []


def is_integer(ctx: Any, node: Any, depth: int = 0) -> bool:
    """Surely a tensor of integers."""
    if _is_index_part(ctx, node):
        return True
    if _judge(ctx, node, INTEGER_TYPES | INTEGER_MAKERS, INTEGER_TYPES):
        return True
    if depth > 3:
        return False
    # What only passes on an index: a view of it, or another name for it.
    if isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute) and _method(node) in KEEPING - {"to"}:
        return is_integer(ctx, node.func.value, depth + 1)
    if isinstance(node, cst.Subscript):
        return not _gives_pair(ctx, node.value) and is_integer(ctx, node.value, depth + 1)
    values = _values(ctx, node)
    return bool(values) and all(is_integer(ctx, value, depth + 1) for value in values)


def is_real(ctx: Any, node: Any) -> bool:
    """Surely a tensor of floating-point numbers."""
    return _judge(ctx, node, FLOAT_MAKERS - {"type_as"}, REAL_TYPES)


def is_byte(ctx: Any, node: Any) -> bool:
    """Surely a tensor of unsigned bytes."""
    if isinstance(node, cst.BinaryOperation):
        sides = [node.left, node.right]
        if isinstance(node.operator, cst.Subtract) and isinstance(node.left, cst.Integer):
            sides = [node.right]
        elif not isinstance(node.operator, (cst.BitAnd, cst.BitOr, cst.BitXor, cst.Multiply)):
            return False
        return all(is_byte(ctx, side) for side in sides)
    return _judge(ctx, node, BYTE_MAKERS | {"byte"}, {"uint8"})


def is_bool(ctx: Any, node: Any) -> bool:
    """Surely a tensor of truth values."""
    if isinstance(node, cst.UnaryOperation) and isinstance(node.operator, cst.BitInvert):
        return is_bool(ctx, node.expression)
    if isinstance(node, cst.BinaryOperation) and isinstance(node.operator, (cst.BitAnd, cst.BitOr, cst.BitXor)):
        return is_bool(ctx, node.left) and is_bool(ctx, node.right)
    return _judge(ctx, node, COMPARING, {"bool"})
