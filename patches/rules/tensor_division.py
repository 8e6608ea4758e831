"""Division of integer tensors."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..edit import argument, with_keyword
from ..model import Patch, Rule
from ._tensors import is_integer


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
        change='torch.div(..., out=x) gets rounding_mode="trunc" where x is an integer tensor by what the file '
        "says. Other "
        "divisions of such tensors are reported only: code written for PyTorch 1.6 and later wants the fraction.",
        matches=[
            ("integer division of tensors using div or / is no longer supported",),
            ("result type float can't be cast to the desired output type long",),
            ("result type float can't be cast", "type long"),
            ("tensors used as indices must be long",),
            ("__floordiv__ is deprecated",),
            ("floor_divide is deprecated",),
        ],
        tokens=[b"torch.div", b"/"],
        features=[("torch", ".div"), "torch.div", ".long", ".LongTensor", ".argmax"],
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
        untouched=[
            "import torch\nx = torch.div(torch.ones(2), 2)\ny = torch.ones(2) / 2\nz = torch.LongTensor([1]) / 2.0\n",
            "import torch\nx = torch.LongTensor([4]) // 2\ny = torch.LongTensor([4]).float() / 2\n",
            "def f(a, b):\n    return a / b, a.argmax(-1) / 2\n",
        ],
    )

    def leave_Call(self, original: Any, updated: Any) -> Any:
        if not self.ctx.origin(original.func, "torch.div") or argument(original, "rounding_mode") is not None:
            return updated
        out = argument(original, "out")
        if out is not None and is_integer(self.ctx, out.value):
            self.hit(original, 'torch.div gets rounding_mode="trunc"')
            return with_keyword(updated, "rounding_mode", cst.SimpleString('"trunc"'))
        if out is not None or (original.args and is_integer(self.ctx, original.args[0].value)):
            self.by_hand(original, 'if this quotient should be an integer, add rounding_mode="trunc"')
        return updated

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
        if not isinstance(original.operator, cst.Divide):
            return updated
        if not is_integer(self.ctx, original.left) or self._real(original.right):
            return updated
        self.by_hand(original, 'if this quotient should be an integer, use torch.div with rounding_mode="trunc"')
        return updated


RULE = TensorDivision
