"""Masks made of bytes, and arithmetic on masks made of truth values."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..model import Example, Patch, Rule
from ._tensors import is_bool, is_byte

MASKED = {"masked_fill", "masked_fill_", "masked_select", "masked_scatter", "masked_scatter_"}


class BoolMasks(Rule):
    """``.byte()`` masks -> ``.bool()``; ``1 - mask`` -> ``~mask``."""

    patch = Patch(
        id="torch-bool-masks",
        title="Byte masks and 1 - mask",
        symptom="RuntimeError: masked_fill_ only supports boolean masks, but got mask with dtype unsigned char",
        cause="Comparisons give bool tensors since PyTorch 1.2. Masked operations take nothing else now, and 1 "
        "- mask of a bool "
        "tensor is refused.",
        since={"torch": "1.2"},
        fairseq="0.6 to 0.9, forks of them",
        change="Masks that are bytes by what the file says become .bool(), and 1 - mask of truth values becomes ~mask.",
        matches=[
            ("only supports boolean masks",),
            ("masked_fill_ only supports boolean masks",),
            ("expected boolean tensor",),
            ("expected booltensor",),
            ("subtraction, the - operator, with a bool tensor is not supported",),
            (
                "subtraction, the",
                "operator, with a bool tensor is not supported",
            ),
            ("indexing with dtype torch.uint8 is now deprecated",),
        ],
        tokens=[b"masked", b"byte", b"1 -", b"1-", b"uint8", b"Byte"],
        features=[
            ".masked_fill",
            ".masked_fill_",
            ".masked_select",
            ".masked_scatter",
            ".masked_scatter_",
            ".byte",
            ".eq",
            ".ne",
        ],
        before="""\
import torch

x = torch.tensor([1.0, 2.0])
pad = x.eq(1)
mask = pad.byte()
y = x.masked_fill(mask, 0)
z = x.masked_fill_((1 - pad), 0)
w = x[x.eq(2).byte()]
""",
        after="""\
import torch

x = torch.tensor([1.0, 2.0])
pad = x.eq(1)
mask = pad.byte()
y = x.masked_fill(mask.bool(), 0)
z = x.masked_fill_((~pad), 0)
w = x[x.eq(2).bool()]
""",
        more=[
            Example(
                "def f(x, t):\n    return x.masked_select(t.ne(0).byte())\n",
                "def f(x, t):\n    return x.masked_select(t.ne(0).bool())\n",
            )
        ],
        untouched=[
            "import torch\nx = torch.ones(2)\ny = x.masked_fill(x.eq(1), 0)\nz = 1 - x\nw = x.byte()\n",
            "def f(x, mask):\n    return x.masked_fill(mask, 0), 1 - mask\n",
            "import torch\nx = torch.ones(2)\ny = 1 - x.eq(1).float()\n",
        ],
    )

    def _as_bool(self, original: Any, updated: Any) -> Any:
        if (
            isinstance(original, cst.Call)
            and isinstance(original.func, cst.Attribute)
            and original.func.attr.value == "byte"
        ):
            return updated.with_changes(func=updated.func.with_changes(attr=cst.Name("bool")))
        return cst.Call(func=cst.Attribute(value=updated, attr=cst.Name("bool")))

    def leave_Call(self, original: Any, updated: Any) -> Any:
        func = original.func
        if not isinstance(func, cst.Attribute) or func.attr.value not in MASKED or not original.args:
            return updated
        index = next(
            (i for i, arg in enumerate(original.args) if arg.keyword is not None and arg.keyword.value == "mask"), 0
        )
        mask = original.args[index].value
        if not is_byte(self.ctx, mask):
            return updated
        self.hit(original, "the mask becomes bool")
        args = list(updated.args)
        args[index] = args[index].with_changes(value=self._as_bool(mask, args[index].value))
        return updated.with_changes(args=args)

    def leave_Index(self, original: Any, updated: Any) -> Any:
        value = original.value
        is_cast = (
            isinstance(value, cst.Call) and isinstance(value.func, cst.Attribute) and value.func.attr.value == "byte"
        )
        if not is_cast or value.args:
            return updated
        self.hit(value, "the mask becomes bool")
        return updated.with_changes(value=self._as_bool(value, updated.value))

    def leave_BinaryOperation(self, original: Any, updated: Any) -> Any:
        if not isinstance(original.operator, cst.Subtract) or not isinstance(original.left, cst.Integer):
            return updated
        if original.left.value != "1" or not is_bool(self.ctx, original.right):
            return updated
        self.hit(original, "1 - mask becomes ~mask")
        right = updated.right
        if isinstance(right, (cst.BinaryOperation, cst.Comparison)) and not right.lpar:
            right = right.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
        return cst.UnaryOperation(operator=cst.BitInvert(), expression=right, lpar=updated.lpar, rpar=updated.rpar)


RULE = BoolMasks
