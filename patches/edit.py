"""Small changes to LibCST calls that keep their layout."""

from __future__ import annotations

from typing import Any

from ._cst import cst

__all__ = ["argument", "drop_argument", "expression", "literal", "replace_argument", "with_keyword", "without_argument"]


def expression(text: str, like: Any = None) -> Any:
    """Parse ``text``; with the parentheses of the node it replaces, if any."""
    node = cst.parse_expression(text)
    if like is not None and getattr(like, "lpar", None):
        node = node.with_changes(lpar=like.lpar, rpar=like.rpar)
    return node


def argument(call: Any, name: str, position: int | None = None) -> Any:
    """The argument passed by keyword ``name`` or at ``position`` (no star before it), else None."""
    for index, arg in enumerate(call.args):
        if arg.star:
            return None
        if arg.keyword is not None and arg.keyword.value == name:
            return arg
        if arg.keyword is None and index == position:
            return arg
    return None


def replace_argument(call: Any, index: int, value: Any) -> Any:
    """``call`` with another value at one place."""
    args = list(call.args)
    args[index] = args[index].with_changes(value=value)
    return call.with_changes(args=args)


def drop_argument(call: Any, name: str) -> Any:
    """``call`` without the keyword argument ``name``."""
    return without_argument(
        call, next((i for i, arg in enumerate(call.args) if arg.keyword and arg.keyword.value == name), -1)
    )


def without_argument(call: Any, index: int) -> Any:
    """``call`` without the argument at ``index``; unchanged when that is negative."""
    args = [arg for place, arg in enumerate(call.args) if place != index]
    if args and len(args) < len(call.args):
        # The end of the list looks as it did.
        args[-1] = args[-1].with_changes(
            comma=call.args[-1].comma, whitespace_after_arg=call.args[-1].whitespace_after_arg
        )
    return call.with_changes(args=args)


def with_keyword(call: Any, name: str, value: Any, first: bool = False) -> Any:
    """``call`` with one more argument: by keyword at the end, or positional in front when ``first``."""
    keyword = None if first else cst.Name(name)
    equal = cst.AssignEqual(whitespace_before=cst.SimpleWhitespace(""), whitespace_after=cst.SimpleWhitespace(""))
    new = cst.Arg(value=value, keyword=keyword) if first else cst.Arg(value=value, keyword=keyword, equal=equal)
    args = list(call.args)
    space = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    if not args:
        return call.with_changes(args=[new])
    between = args[0].comma if len(args) > 1 else space
    if first:
        return call.with_changes(args=[new.with_changes(comma=between), *args])
    last = args[-1]
    ended = isinstance(last.comma, cst.Comma)
    new = new.with_changes(comma=last.comma, whitespace_after_arg=last.whitespace_after_arg)
    if ended and len(args) == 1:
        # One argument on its own line with a comma behind: the new one gets a line like it.
        between = last.comma.with_changes(whitespace_after=call.whitespace_before_args)
    args[-1] = last.with_changes(comma=between, whitespace_after_arg=cst.SimpleWhitespace(""))
    return call.with_changes(args=[*args, new])


def literal(node: Any) -> Any:
    """Value of a plain (or implicitly joined) string; None for anything else."""
    if isinstance(node, (cst.SimpleString, cst.ConcatenatedString)):
        value = node.evaluated_value
        return value if isinstance(value, str) else None
    return None
