"""Division of integer tensors."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..edit import argument, with_keyword
from ..model import Example, Patch, Rule
from ._tensors import is_integer, is_real


class TensorDivision(Rule):
    """``torch.div(indices, n)`` gets the rounding it had."""

    patch = Patch(
        id="torch-integer-division",
        title="Division of integer tensors",
        symptom="RuntimeError: result type Float can't be cast to the desired output type Long (beam search of 0.9)",
        cause="Until PyTorch 1.4 dividing integer tensors gave integers; 1.5 refused it, and since 1.6 it "
        "gives floats.",
        since={"torch": "1.5"},
        fairseq="0.9 (search), forks of it",
        change='torch.div(..., out=x) gets rounding_mode="trunc" where x, or what is divided, is an integer tensor '
        "by what the file says (the index part of topk is one); so do divisions in place. Other divisions of such "
        "tensors are reported only: code written for PyTorch 1.6 and later wants the fraction. Divisions of plain "
        "numbers, and quotients that are cut to integers anyway, are not mentioned.",
        matches=[
            ("integer division of tensors using div or / is no longer supported",),
            ("result type float can't be cast to the desired output type long",),
            ("result type float can't be cast", "type long"),
            ("tensors used as indices must be long",),
            ("__floordiv__ is deprecated",),
            ("floor_divide is deprecated",),
        ],
        tokens=[b"torch.div", b"/", b".div", (b"torch import", b"div")],
        features=[
            ("torch", ".div"),
            "torch.div",
            "torch.*",
            ".div_",
            "division",
        ],
        before="""\
import torch


class Beam:
    def __init__(self):
        self.indices = torch.LongTensor([5, 7])
        self.beams = torch.LongTensor([0, 0])

    def grow(self, n):
        self.beams = self.pick(n)

    def step(self, vocab):
        torch.div(self.indices, vocab, out=self.beams)
        return self.beams
""",
        after="""\
import torch


class Beam:
    def __init__(self):
        self.indices = torch.LongTensor([5, 7])
        self.beams = torch.LongTensor([0, 0])

    def grow(self, n):
        self.beams = self.pick(n)

    def step(self, vocab):
        torch.div(self.indices, vocab, out=self.beams, rounding_mode="trunc")
        return self.beams
""",
        more=[
            Example(
                """\
import torch


def step(probs, scores, words, beams, size):
    torch.topk(probs.view(2, -1), k=4, out=(scores, words))
    torch.div(words, size, out=beams)
    words.fmod_(size)
""",
                """\
import torch


def step(probs, scores, words, beams, size):
    torch.topk(probs.view(2, -1), k=4, out=(scores, words))
    torch.div(words, size, out=beams, rounding_mode="trunc")
    words.fmod_(size)
""",
            ),
            Example(
                "from torch import topk\nvalues, where = topk(x, 2)\nwhere.div_(5)\nrow = where[:, :1]\nrow /= 5\n",
                "from torch import topk\nvalues, where = topk(x, 2)\n"
                'where.div_(5, rounding_mode="trunc")\nrow = where[:, :1]\nrow.div_(5, rounding_mode="trunc")\n',
            ),
        ],
        untouched=[
            "import torch\nn = int('4')\nx = n / 2\ny = int(torch.LongTensor([4]) / 2)\nn /= 3\n",
            "import torch\ndef f(x, a, b):\n    torch.topk(x, 2, out=(a, b))\n    torch.div(a, 2, out=a)\n"
            "def g(b, c):\n    torch.div(b, 2, out=c)\n",
            "import torch\ndef f(x, a, b):\n    torch.topk(x, 2, out=(a, b))\n    c = torch.FloatTensor(2)\n"
            "    torch.div(b, 2, out=c)\n",
            "import torch\nx = torch.div(torch.ones(2), 2)\ny = torch.ones(2) / 2\nz = torch.LongTensor([1]) / 2.0\n",
            "import torch\nx = torch.LongTensor([4]) // 2\ny = torch.LongTensor([4]).float() / 2\n",
            "def f(a, b):\n    return a / b, a.argmax(-1) / 2\n",
        ],
    )

    def leave_Call(self, original: Any, updated: Any) -> Any:
        if argument(original, "rounding_mode") is not None:
            return updated
        func = original.func
        if isinstance(func, cst.Attribute) and func.attr.value == "div_":
            if is_integer(self.ctx, func.value):
                self.hit(original, 'div_ gets rounding_mode="trunc"')
                return with_keyword(updated, "rounding_mode", cst.SimpleString('"trunc"'))
            return updated
        origins = self.ctx.origins(func) or self.ctx.star_origins(func)
        if origins != {"torch.div"} and not self._is_method(func):
            return updated
        first = argument(original, "input", 0) if origins else None
        if origins and first is None:
            return updated
        return self._divide(original, updated, first.value if first is not None else func.value)

    def _is_method(self, func: Any) -> bool:
        return isinstance(func, cst.Attribute) and func.attr.value == "div" and not self.ctx.origins(func)

    def _divide(self, original: Any, updated: Any, dividend: Any) -> Any:
        out = argument(original, "out")
        whole = is_integer(self.ctx, dividend)
        if out is not None and (is_integer(self.ctx, out.value) or (whole and not is_real(self.ctx, out.value))):
            self.hit(original, 'torch.div gets rounding_mode="trunc"')
            return with_keyword(updated, "rounding_mode", cst.SimpleString('"trunc"'))
        if whole and out is None and not self._is_cut():
            self.by_hand(original, 'if this quotient should be an integer, add rounding_mode="trunc"')
        return updated

    def _is_cut(self) -> bool:
        """Whether the quotient is made an integer anyway: ``int(n / k)``, ``(n / k).long()``."""
        parents = self.ctx.ancestors
        if parents and isinstance(parents[-1], cst.Attribute):
            return parents[-1].attr.value in ("long", "int", "short", "floor", "floor_", "trunc", "trunc_", "ceil")
        if len(parents) < 2 or not isinstance(parents[-1], cst.Arg) or not isinstance(parents[-2], cst.Call):
            return False
        func = parents[-2].func
        is_builtin = isinstance(func, cst.Name) and func.value in ("int", "round") and not self.ctx.origins(func)
        return is_builtin or bool(
            self.ctx.origins(func)
            & {"math.floor", "math.ceil", "math.trunc", "torch.floor", "torch.trunc", "torch.ceil"}
        )

    def _real(self, node: Any) -> bool:
        """A divisor that makes the quotient a float, as ever."""
        if isinstance(node, cst.Float):
            return True
        if isinstance(node, cst.Call):
            name = node.func.attr if isinstance(node.func, cst.Attribute) else node.func
            return isinstance(name, cst.Name) and name.value in (
                "float",
                "double",
                "half",
                "type_as",
                "sqrt",
                "FloatTensor",
            )
        return False

    def leave_BinaryOperation(self, original: Any, updated: Any) -> Any:
        if not isinstance(original.operator, cst.Divide) or self._real(original.right) or self._is_cut():
            return updated
        if is_integer(self.ctx, original.left):
            self.by_hand(original, 'if this quotient should be an integer, use torch.div with rounding_mode="trunc"')
        return updated

    def leave_AugAssign(self, original: Any, updated: Any) -> Any:
        if not isinstance(original.operator, cst.DivideAssign) or not is_integer(self.ctx, original.target):
            return updated
        # Dividing integers in place has raised since PyTorch 1.5, so this line can only have meant whole numbers.
        self.hit(original, '/= becomes div_ with rounding_mode="trunc"')
        call = cst.Call(func=cst.Attribute(updated.target, cst.Name("div_")), args=[cst.Arg(updated.value)])
        return cst.Expr(with_keyword(call, "rounding_mode", cst.SimpleString('"trunc"')), semicolon=updated.semicolon)


RULE = TensorDivision
