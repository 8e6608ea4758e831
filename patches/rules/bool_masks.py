"""Masks made of bytes, and arithmetic on masks made of truth values."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..edit import argument
from ..model import Example, Patch, Rule
from ._tensors import COMPARING, is_bool, is_byte

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
        change="Masks that are bytes by what the file says become .bool(), and 1 - mask of truth values becomes ~mask. "
        "Where a mask is wanted (masked_fill and its kin, where, an index of a known byte mask), 1 - mask becomes "
        "~mask.bool().",
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
        features=[".byte", ".uint8", ".ByteTensor", "torch.uint8", "torch.ByteTensor"]
        + [("one-minus", "." + name) for name in (*MASKED, *COMPARING, "where")]
        + [("one-minus", "torch.where")],
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
                "import torch\n\n\ndef f(x, m, lengths):\n    pad = lengths.byte()\n    a = x.masked_fill(1 - pad, 0)\n"
                "    b = torch.where(1 - pad, x, a)\n    c = x[1 - pad], x[pad, :]\n    d = x.where(pad, b)\n"
                "    return x.masked_select(1 - (m & pad)), 1 - pad\n",
                "import torch\n\n\ndef f(x, m, lengths):\n    pad = lengths.byte()\n"
                "    a = x.masked_fill(~pad.bool(), 0)\n"
                "    b = torch.where(~pad.bool(), x, a)\n    c = x[~pad.bool()], x[pad.bool(), :]\n"
                "    d = x.where(pad.bool(), b)\n    return x.masked_select(~(m & pad).bool()), 1 - pad\n",
            ),
            Example(
                "def f(x, t):\n    return x.masked_select(t.ne(0).byte())\n",
                "def f(x, t):\n    return x.masked_select(t.ne(0).bool())\n",
            ),
        ],
        untouched=[
            "import torch\nx = torch.ones(2)\ny = x.masked_fill(x.eq(1), 0)\nz = 1 - x\nw = x.byte()\n",
            "def f(x, mask):\n    return x.masked_fill(mask, 0), 1 - mask\n",
            "import torch\nx = torch.ones(2)\ny = 1 - x.eq(1).float()\n",
        ],
    )

    def _as_bool(self, original: Any, updated: Any) -> Any:
        """``updated`` as truth values: ``x.byte()`` -> ``x.bool()``, ``1 - x`` -> ``~x.bool()``."""
        if _is_one_minus(original):
            right = self._as_bool(original.right, updated.right)
            return cst.UnaryOperation(cst.BitInvert(), right, lpar=updated.lpar, rpar=updated.rpar)
        if (
            isinstance(original, cst.Call)
            and isinstance(original.func, cst.Attribute)
            and original.func.attr.value == "byte"
        ):
            return updated.with_changes(func=updated.func.with_changes(attr=cst.Name("bool")))
        if isinstance(updated, (cst.BinaryOperation, cst.UnaryOperation, cst.Comparison)) and not updated.lpar:
            updated = updated.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
        return cst.Call(func=cst.Attribute(value=updated, attr=cst.Name("bool")))

    def _mask(self, call: Any) -> int | None:
        """Place of the argument that must be a mask of truth values; None for other calls."""
        func = call.func
        origins = self.ctx.origins(func) or self.ctx.star_origins(func)
        name = func.attr.value if isinstance(func, cst.Attribute) else func.value if isinstance(func, cst.Name) else ""
        if origins == {"torch." + name}:
            wanted = {"where": ("condition", 0)}.get(name) or (("mask", 1) if name in MASKED else None)
        elif isinstance(func, cst.Attribute) and not origins:
            wanted = {"where": ("condition", 0)}.get(name) or (("mask", 0) if name in MASKED else None)
        else:
            wanted = None
        found = argument(call, *wanted) if wanted is not None else None
        return list(call.args).index(found) if found is not None else None

    def leave_Call(self, original: Any, updated: Any) -> Any:
        index = self._mask(original)
        if index is None:
            return updated
        mask = original.args[index].value
        # One minus a mask of truth values is the concern of leave_BinaryOperation; of anything else it never was
        # a mask of truth values, so it cannot have been right. A pandas frame also has a method where.
        is_torch = not isinstance(original.func, cst.Attribute) or original.func.attr.value != "where"
        is_torch = is_torch or bool(self.ctx.origins(original.func))
        inverted = _is_one_minus(mask) and is_torch and not is_bool(self.ctx, mask.right)
        if not inverted and not is_byte(self.ctx, mask):
            return updated
        self.hit(original, "1 - mask becomes ~mask.bool()" if inverted else "the mask becomes bool")
        args = list(updated.args)
        args[index] = args[index].with_changes(value=self._as_bool(mask, args[index].value))
        return updated.with_changes(args=args)

    def leave_Index(self, original: Any, updated: Any) -> Any:
        value = original.value
        if not is_byte(self.ctx, value):
            return updated
        self.hit(value, "1 - mask becomes ~mask.bool()" if _is_one_minus(value) else "the mask becomes bool")
        return updated.with_changes(value=self._as_bool(value, updated.value))

    def leave_BinaryOperation(self, original: Any, updated: Any) -> Any:
        if not _is_one_minus(original) or not is_bool(self.ctx, original.right):
            return updated
        self.hit(original, "1 - mask becomes ~mask")
        right = updated.right
        if isinstance(right, (cst.BinaryOperation, cst.Comparison)) and not right.lpar:
            right = right.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
        return cst.UnaryOperation(operator=cst.BitInvert(), expression=right, lpar=updated.lpar, rpar=updated.rpar)


def _is_one_minus(node: Any) -> bool:
    return (
        isinstance(node, cst.BinaryOperation)
        and isinstance(node.operator, cst.Subtract)
        and isinstance(node.left, cst.Integer)
        and node.left.value == "1"
    )


RULE = BoolMasks
