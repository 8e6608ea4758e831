"""Python literals with ``+`` and ``*``, read without executing anything.

Options such as ``"[(512, 3)] * 20"`` describe repeated layers. ``ast.literal_eval`` refuses the repetition, and
``eval`` would run whatever a config file or a checkpoint holds; this reader knows numbers, strings, containers and the
two operators, and bounds the size of what it builds.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

__all__ = ["parse_literal"]

MAX_TEXT = 100_000
MAX_ITEMS = 100_000
MAX_NUMBER = 10**18

_Number = (int, float)
_Sequence = (list, tuple)


def parse_literal(text: str) -> Any:
    """The value of a literal expression.

    Accepts numbers, strings, booleans, ``None``, lists, tuples, sets, dicts, signs, sums of numbers or sequences, and
    products of numbers or of a sequence and a count.

    Args:
        text: at most 100,000 characters; surrounding white space is ignored.

    Raises:
        ValueError: not such an expression, or a result of more than 100,000 items. The text is quoted in the message.
    """
    if len(text) > MAX_TEXT:
        raise ValueError(f"literal of {len(text)} characters is too long (at most {MAX_TEXT}): {text[:40]!r}...")
    try:
        tree = ast.parse(text.strip(), mode="eval")
        return _value(tree.body)
    except _Refused as refused:
        raise ValueError(f"cannot read {_short(text)}: {refused}") from None
    except (SyntaxError, RecursionError, MemoryError, TypeError, ValueError) as error:
        # ast.parse reports null bytes as ValueError and deep nesting as RecursionError or MemoryError.
        reason = getattr(error, "msg", None) or str(error) or "nested too deeply"
        raise ValueError(f"cannot read {_short(text)} as a Python literal: {reason}") from None


class _Refused(Exception):
    """Why an expression is not accepted."""


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant):
        if node.value is Ellipsis:
            raise _Refused("'...' is not a value")
        return node.value
    if isinstance(node, ast.List):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_value(item) for item in node.elts)
    if isinstance(node, ast.Set):
        return {_value(item) for item in node.elts}
    if isinstance(node, ast.Dict):
        if any(key is None for key in node.keys):
            raise _Refused("'**' is not allowed in a dict")
        return {_value(key): _value(value) for key, value in zip(node.keys, node.values) if key is not None}
    if isinstance(node, ast.UnaryOp) and type(node.op) in _SIGNS:
        operand = _value(node.operand)
        if not _is_number(operand):
            raise _Refused("a sign stands before numbers only")
        return _SIGNS[type(node.op)](operand)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _add(_value(node.left), _value(node.right))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return _multiply(_value(node.left), _value(node.right))
    raise _Refused(f"only literals, '+' and '*' are allowed, not {ast.unparse(node)[:40]!r}")


_SIGNS: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}


def _is_number(value: Any) -> bool:
    return isinstance(value, _Number) and not isinstance(value, bool)


def _add(left: Any, right: Any) -> Any:
    if _is_number(left) and _is_number(right):
        return _bounded(left + right)
    if isinstance(left, _Sequence) and type(left) is type(right):
        _check_size(len(left) + len(right))
        return left + right  # type: ignore[operator]
    raise _Refused("'+' joins two numbers, two lists or two tuples")


def _multiply(left: Any, right: Any) -> Any:
    if _is_number(left) and _is_number(right):
        return _bounded(left * right)
    if _is_number(left):
        left, right = right, left
    if isinstance(left, _Sequence) and isinstance(right, int) and not isinstance(right, bool):
        _check_size(_count(left) * max(right, 0))
        return left * right
    raise _Refused("'*' takes two numbers, or a list or tuple and a count")


def _count(value: Any) -> int:
    """How many values a sequence holds, nested ones included: repetition multiplies what will be walked later."""
    return sum(1 + _count(item) if isinstance(item, _Sequence) else 1 for item in value)


def _check_size(items: int) -> None:
    if items > MAX_ITEMS:
        raise _Refused(f"{items} items are too many (at most {MAX_ITEMS})")


def _bounded(number: Any) -> Any:
    if isinstance(number, int) and abs(number) > MAX_NUMBER:
        raise _Refused(f"a number beyond {MAX_NUMBER:g} is too large")
    return number
