"""A bare percent sign in an argparse help text."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..edit import argument, literal
from ..model import Example, Patch, Rule


class ArgparsePercent(Rule):
    """Doubles the percent signs that start no ``%(name)s``."""

    patch = Patch(
        id="argparse-percent",
        title="Bare percent signs in help texts",
        symptom="ValueError: badly formed help string",
        cause="argparse formats help texts with %, and Python 3.14 checks them as soon as an option is added.",
        since={"python": "3.14"},
        fairseq="plugins and examples",
        change="A % that starts no %(name)s is doubled.",
        matches=[
            ("badly formed help string",),
            ("unsupported format character", "argparse"),
            ("argparse", "unsupported format character"),
            ("argparse.py", "not enough arguments for format string"),
            ("argparse.py", "typeerror: %"),
        ],
        tokens=[b"%"],
        features=[("percent-help", ".add_argument")],
        before="import argparse\np = argparse.ArgumentParser()\n"
        'p.add_argument("--x", default=1, help="keep 50% of %(default)s")\n',
        after="import argparse\np = argparse.ArgumentParser()\n"
        'p.add_argument("--x", default=1, help="keep 50%% of %(default)s")\n',
        more=[
            Example(
                "parser.add_argument('--y', help='100%' ' (or 5% %s)')\n",
                "parser.add_argument('--y', help='100%%' ' (or 5%% %%s)')\n",
            )
        ],
        untouched=[
            "parser.add_argument('--x', help='50%% of %(default)s, %(prog)s')\n",
            "parser.add_argument('--x', help='%d of' % 3)\nx = dict(help='5%')\n",
        ],
    )

    def leave_Call(self, original: Any, updated: Any) -> Any:
        if not isinstance(original.func, cst.Attribute) or original.func.attr.value != "add_argument":
            return updated
        arg = argument(original, "help")
        if arg is None or literal(arg.value) is None or not _bare(literal(arg.value)):
            return updated
        self.hit(original, "percent signs of the help text are doubled")
        args = [
            item.with_changes(value=item.value.visit(_Double()))
            if item.keyword is not None and item.keyword.value == "help"
            else item
            for item in updated.args
        ]
        return updated.with_changes(args=args)


def _pieces(text: str) -> list[tuple[str, bool]]:
    """``text`` cut before and behind percent signs; True marks a bare one."""
    pieces, index = [], 0
    while index < len(text):
        if text[index] != "%":
            pieces.append((text[index], False))
            index += 1
            continue
        if text[index + 1 : index + 2] == "%":
            pieces.append(("%%", False))
            index += 2
            continue
        pieces.append(("%", text[index + 1 : index + 2] != "("))
        index += 1
    return pieces


def _bare(text: str) -> bool:
    return any(bare for _, bare in _pieces(text))


def _double_text(text: str) -> str:
    return "".join("%%" if bare else piece for piece, bare in _pieces(text))


def _Double() -> Any:
    class Double(cst.CSTTransformer):
        def leave_SimpleString(self, original: Any, updated: Any) -> Any:
            return updated.with_changes(value=_double_text(updated.value))

    return Double()


RULE = ArgparsePercent
