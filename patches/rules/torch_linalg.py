"""Linear algebra that moved to torch.linalg."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..edit import argument, expression
from ..model import Example, Patch, Rule


class TorchLinalg(Rule):
    """torch.qr, lstsq, solve, symeig and others that are gone."""

    patch = Patch(
        id="torch-linalg",
        title="torch.qr, symeig, lstsq, solve, eig, matrix_rank",
        symptom="RuntimeError: This function was deprecated since version 1.9 and is now removed. "
        "`torch.symeig` is deprecated "
        "in favor of `torch.linalg.eigh`",
        cause="PyTorch removed these functions between 1.13 and 2.0; torch.linalg has them, some with another order of "
        "arguments.",
        since={"torch": "1.13"},
        fairseq="plugins",
        change="qr, matrix_rank and cholesky are renamed; solve and lstsq get their arguments in the new order "
        "(and results are "
        "put in the old order where they are unpacked); symeig becomes linalg.eigh. eig is reported: its "
        "result changed.",
        matches=[
            ("this function was deprecated since version 1.9 and is now removed",),
            ("torch.symeig", "is deprecated"),
            ("torch.qr is deprecated",),
            ("torch.lstsq", "deprecated"),
            ("torch.solve", "deprecated"),
            ("torch.eig", "deprecated"),
            ("module 'torch' has no attribute 'symeig'",),
            ("module 'torch' has no attribute 'lstsq'",),
            ("module 'torch' has no attribute 'solve'",),
            ("module 'torch' has no attribute 'eig'",),
            ("module 'torch' has no attribute 'matrix_rank'",),
        ],
        tokens=[b"torch"],
        features=[
            ("torch", f".{name}") for name in ("qr", "symeig", "lstsq", "solve", "eig", "matrix_rank", "cholesky")
        ],
        before="""\
import torch

a, b = torch.eye(3), torch.ones(3, 1)
q, r = torch.qr(a)
x, lu = torch.solve(b, a)
e, v = torch.symeig(a, eigenvectors=True)
n = torch.matrix_rank(a)
""",
        after="""\
import torch

a, b = torch.eye(3), torch.ones(3, 1)
q, r = torch.linalg.qr(a)
x, lu = torch.linalg.solve(a, b), None
e, v = torch.linalg.eigh(a)
n = torch.linalg.matrix_rank(a)
""",
        more=[
            Example(
                "import torch\nq, r = torch.qr(torch.eye(2), some=False)\n"
                "x = torch.lstsq(torch.ones(2, 1), torch.eye(2))[0]\n",
                'import torch\nq, r = torch.linalg.qr(torch.eye(2), mode="complete")\n'
                "x = torch.linalg.lstsq(torch.eye(2), torch.ones(2, 1))[0]\n",
            )
        ],
        untouched=[
            "import torch\nq, r = torch.linalg.qr(torch.eye(2))\nx = torch.linalg.solve(torch.eye(2), torch.ones(2))\n"
        ],
    )
    SIMPLE = {"torch.matrix_rank": "matrix_rank", "torch.cholesky": "cholesky"}

    def _name(self, node: Any) -> str | None:
        if not isinstance(node, cst.Call):
            return None
        gone = ("torch.qr", "torch.symeig", "torch.lstsq", "torch.solve", "torch.eig", *self.SIMPLE)
        return self.ctx.origin(node.func, *gone)

    def _function(self, updated: Any, name: str) -> Any:
        return expression(f"{self.ctx.use('torch')}.linalg.{name}")

    def leave_Call(self, original: Any, updated: Any) -> Any:
        name = self._name(original)
        if name is None:
            return updated
        if name == "torch.eig":
            self.by_hand(original, "torch.linalg.eig returns complex numbers: rewrite what uses the result")
            return updated
        if name in self.SIMPLE:
            if name == "torch.cholesky" and len(original.args) != 1:
                self.by_hand(original, "torch.linalg.cholesky has no `upper` like this one: transpose the result")
                return updated
            self.hit(original, f"{name} becomes torch.linalg.{self.SIMPLE[name]}")
            return updated.with_changes(func=self._function(updated, self.SIMPLE[name]))
        if name == "torch.qr":
            return self._qr(original, updated)
        if name == "torch.symeig":
            return self._symeig(original, updated)
        return self._swapped(original, updated, name)

    def _qr(self, original: Any, updated: Any) -> Any:
        some = argument(original, "some", 1)
        if some is not None and not (isinstance(some.value, cst.Name) and some.value.value in ("True", "False")):
            self.by_hand(original, 'use torch.linalg.qr with mode="reduced" or "complete"')
            return updated
        self.hit(original, "torch.qr becomes torch.linalg.qr")
        args = list(updated.args)
        if some is not None:
            index = original.args.index(some)
            mode = '"reduced"' if some.value.value == "True" else '"complete"'
            equal = cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))
            args[index] = args[index].with_changes(keyword=cst.Name("mode"), equal=equal, value=expression(mode))
        return updated.with_changes(func=self._function(updated, "qr"), args=args)

    def _symeig(self, original: Any, updated: Any) -> Any:
        vectors = argument(original, "eigenvectors", 1)
        if vectors is None or not isinstance(vectors.value, cst.Name) or len(original.args) != 2:
            self.by_hand(original, "use torch.linalg.eigvalsh (values) or torch.linalg.eigh (both)")
            return updated
        self.hit(original, "torch.symeig becomes torch.linalg.eigh")
        first = updated.args[0].with_changes(comma=updated.args[1].comma)
        return updated.with_changes(func=self._function(updated, "eigh"), args=[first])

    def _swapped(self, original: Any, updated: Any, name: str) -> Any:
        parent = self.ctx.ancestors[-1]
        short = name.rpartition(".")[2]
        subscript = isinstance(parent, cst.Subscript) and parent.value is original
        unpacked = isinstance(parent, cst.Assign) and isinstance(parent.targets[0].target, cst.Tuple)
        plain = len(original.args) == 2 and not any(arg.keyword or arg.star for arg in original.args)
        if (
            not plain
            or not (subscript or unpacked)
            or (short == "solve" and subscript)
            or (short == "lstsq" and unpacked)
        ):
            self.by_hand(original, f"use torch.linalg.{short}(A, B); the order of its arguments and its result differ")
            return updated
        self.hit(original, f"{name}(B, A) becomes torch.linalg.{short}(A, B)")
        one, two = updated.args
        args = [one.with_changes(value=two.value), two.with_changes(value=one.value)]
        call = updated.with_changes(func=self._function(updated, short), args=args)
        if short == "lstsq":
            return call
        return cst.Tuple(elements=[cst.Element(call), cst.Element(cst.Name("None"))], lpar=(), rpar=())


RULE = TorchLinalg
