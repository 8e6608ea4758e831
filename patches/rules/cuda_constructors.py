"""torch.cuda.FloatTensor(...) and its kind."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..bindings import dotted
from ..edit import expression, with_keyword
from ..model import Example, Patch, Rule

DTYPES = {
    "FloatTensor": "float32",
    "DoubleTensor": "float64",
    "HalfTensor": "float16",
    "BFloat16Tensor": "bfloat16",
    "LongTensor": "int64",
    "IntTensor": "int32",
    "ShortTensor": "int16",
    "CharTensor": "int8",
    "ByteTensor": "uint8",
    "BoolTensor": "bool",
}


class CudaConstructors(Rule):
    """``torch.cuda.LongTensor([1])`` -> ``torch.tensor([1], dtype=..., device=...)``."""

    patch = Patch(
        id="torch-cuda-tensor-types",
        title="torch.cuda.FloatTensor, ByteTensor and the like",
        symptom="TypeError: type torch.cuda.DoubleTensor not available. Torch not compiled with CUDA enabled.",
        cause="These constructors exist for one device only and are deprecated, so that runs of several "
        "processes on CPUs fail.",
        since={"torch": "2.0"},
        fairseq="all (all_gather_list, the buffer for gradient norms)",
        change='Calls become torch.tensor or torch.empty with a dtype and the device that is there ("cuda" or "cpu").',
        matches=[
            ("type torch.cuda.", "not available"),
            ("the torch.cuda.*dtensor constructors are no longer recommended",),
            ("torch.cuda.", "tensor constructors are no longer recommended"),
        ],
        tokens=[b"torch.cuda"],
        features=["." + name for name in DTYPES],
        before="import torch\n\nbuffer = torch.cuda.ByteTensor(16)\nvalues = torch.cuda.LongTensor([1, 2])\n",
        after="import torch\nfrom _modern import device\n\n"
        "buffer = torch.empty(16, dtype=torch.uint8, device=device())\n"
        "values = torch.tensor([1, 2], dtype=torch.int64, device=device())\n",
        more=[
            Example(
                "import torch\nx = torch.cuda.FloatTensor(2, 3)\n",
                "import torch\nfrom _modern import device\n"
                "x = torch.empty(2, 3, dtype=torch.float32, device=device())\n",
            )
        ],
        untouched=["import torch\nx = torch.LongTensor([1])\ny = isinstance(x, torch.cuda.LongTensor)\n"],
    )

    def leave_Call(self, original: Any, updated: Any) -> Any:
        name = self.ctx.origin(original.func, *(f"torch.cuda.{name}" for name in DTYPES))
        if name is None or any(arg.star or arg.keyword for arg in original.args):
            return updated
        values = [arg.value for arg in original.args]
        if values and all(self._is_size(value) for value in values):
            maker = "empty"
        elif len(values) == 1 and isinstance(values[0], (cst.List, cst.Tuple, cst.ListComp)):
            maker = "tensor"
        elif not values:
            maker = "empty"
        else:
            self.by_hand(original, "may get a size or values: use torch.empty or torch.tensor with dtype and device")
            return updated
        self.hit(original, f"{name} becomes torch.{maker} with a dtype and a device")
        torch = self.ctx.use("torch")
        new = updated.with_changes(func=expression(f"{torch}.{maker}"))
        if not values:
            new = new.with_changes(args=[cst.Arg(cst.Integer("0"))])
        new = with_keyword(new, "dtype", expression(f"{torch}.{DTYPES[name.rpartition('.')[2]]}"))
        return with_keyword(new, "device", expression(f"{self.ctx.use_helper('device')}()"))

    def _is_size(self, node: Any) -> bool:
        if isinstance(node, cst.Integer):
            return True
        last = (dotted(node) or "").rpartition(".")[2]
        if "size" in last or last.startswith("num"):
            return True
        if isinstance(node, cst.BinaryOperation):
            return self._is_size(node.left) or self._is_size(node.right)
        if isinstance(node, cst.Call) and isinstance(node.func, cst.Name):
            return node.func.value in ("len", "int")
        if isinstance(node, cst.Name):
            values = self.ctx.scope.assigned(node.value)
            return bool(values) and all(not isinstance(value, cst.Name) and self._is_size(value) for value in values)
        return False


RULE = CudaConstructors
