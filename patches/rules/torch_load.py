"""torch.load without a word on what a file may contain."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..bindings import dotted
from ..edit import argument, expression, with_keyword
from ..model import Example, Patch, Rule


class TorchLoad(Rule):
    """Every use of ``torch.load`` goes to the helper's ``safe_load``."""

    patch = Patch(
        id="torch-load",
        title="Checkpoints read with a list of allowed classes",
        symptom="_pickle.UnpicklingError: Weights only load failed. ... Unsupported global: GLOBAL argparse.Namespace "
        "was not an allowed global by default",
        cause="Since PyTorch 2.6 torch.load makes only tensors and plain containers unless told otherwise; fairseq "
        "checkpoints also hold an argparse.Namespace or a configuration.",
        since={"torch": "2.6"},
        fairseq="all",
        change="torch.load becomes safe_load, a helper put into the tree: it makes exactly the classes that fairseq "
        "checkpoints hold, turns unknown enum members into their value and unknown fairseq classes into plain "
        "attribute bags, and refuses the rest. With --allow-unsafe-load, weights_only=False is added instead.",
        matches=[
            ("weights only load failed",),
            ("unsupported global", "was not an allowed global by default"),
            ("weightsunpickler error",),
            ("can't get attribute 'Choices'", "fairseq.dataclass.constants"),
            ("can't get attribute", "on <module 'fairseq"),
            ("no module named 'numpy._core'",),
            ("cannot instantiate 'PosixPath' on your system",),
            ("cannot instantiate 'WindowsPath' on your system",),
            ("cannot instantiate 'PosixPath'",),
            ("you are using torch.load with weights_only=False",),
            ("no module named 'fairseq.meters'",),
        ],
        features=["torch.load", "torch.serialization.load", "torch.serialization", "torch.*"],
        tokens=[
            b"torch.load",
            b"torch.serialization",
            (b"torch import", b"load"),
            (b"torch", b" as ", b".load"),
        ],
        before="""\
import torch


def read(path):
    return torch.load(path, map_location="cpu")
""",
        after="""\
import torch
from _modern import safe_load


def read(path):
    return safe_load(path, map_location="cpu")
""",
        more=[
            Example(
                "from torch import load as tload\nstates = list(map(tload, ['a.pt']))\n",
                "from torch import load as tload\nfrom _modern import safe_load\n"
                "states = list(map(safe_load, ['a.pt']))\n",
            )
        ],
        untouched=[
            "import torch\nx = torch.load('a.pt', weights_only=True)\n",
            "import torch\nx = torch.load('a.pt', weights_only=False)\n",
            "import torch, json, pickle\n"
            "x = json.load(open('a')), pickle.load(open('b', 'rb')), torch.hub.load('r', 'm')\n",
            "import torch\nclass torch2:\n    load = None\ny = torch2.load\n",
            "def f(torch):\n    return torch.load('a.pt')\n",
        ],
    )

    def __init__(self, ctx: Any) -> None:
        super().__init__(ctx)
        self.kept: set[Any] = set()

    def _is_load(self, node: Any) -> bool:
        origins = self.ctx.origins(node)
        return bool(origins) and origins <= {"torch.load", "torch.serialization.load"}

    def visit_AssignTarget(self, original: Any) -> None:
        self.kept.add(original.target)
        if (dotted(original.target) or "").endswith(".load") and self._is_load(original.target):
            self.by_hand(original, "torch.load is replaced here: make the replacement read safely, or drop it")

    def visit_Call(self, original: Any) -> None:
        func = original.func
        if self._is_load(func):
            if argument(original, "weights_only") is not None:
                self.kept.add(func)
            elif argument(original, "pickle_module", 2) is not None:
                self.kept.add(func)
                self.by_hand(original, "reads with its own pickle_module: decide whether these files are trusted")
        elif self.ctx.may_be_star(func, "torch") and func.value == "load":
            self.by_hand(original, "load may be torch.load (from torch import *): import it by name and run again")

    def leave_Call(self, original: Any, updated: Any) -> Any:
        if not self.ctx.options.allow_unsafe_load or original.func in self.kept or not self._is_load(original.func):
            return updated
        self.hit(original, "weights_only=False is added: loading may run code from the file")
        return with_keyword(updated, "weights_only", cst.Name("False"))

    def _replace(self, original: Any, updated: Any) -> Any:
        if self.ctx.options.allow_unsafe_load or original in self.kept or not self._is_load(original):
            return updated
        self.hit(original, "torch.load becomes safe_load")
        return expression(self.ctx.use_helper("safe_load"), like=updated)

    def leave_Attribute(self, original: Any, updated: Any) -> Any:
        return self._replace(original, updated) if original.attr.value == "load" else updated

    def leave_Name(self, original: Any, updated: Any) -> Any:
        parent = self.ctx.ancestors[-1] if self.ctx.ancestors else None
        if isinstance(parent, (cst.Attribute, cst.ImportAlias, cst.AsName, cst.Param)):
            return updated
        if isinstance(parent, cst.Arg) and parent.keyword is original:
            return updated
        return self._replace(original, updated)


RULE = TorchLoad
