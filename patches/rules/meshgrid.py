"""torch.meshgrid without a word on the order of its axes."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..edit import argument, with_keyword
from ..model import Patch, Rule


class Meshgrid(Rule):
    """``torch.meshgrid(a, b)`` -> ``torch.meshgrid(a, b, indexing="ij")``."""

    patch = Patch(
        id="torch-meshgrid-indexing",
        title="torch.meshgrid without indexing",
        symptom="UserWarning: torch.meshgrid: in an upcoming release, it will be required to pass the indexing "
        "argument.",
        cause="PyTorch will change the default order of the axes to numpy's.",
        since={"torch": "1.10"},
        fairseq="0.12 and main (tacotron2_loss)",
        change='indexing="ij", today\'s order, is passed.',
        matches=[("torch.meshgrid", "indexing argument")],
        tokens=[b"meshgrid"],
        before="import torch\nx, y = torch.meshgrid(torch.arange(2), torch.arange(3))\n",
        after='import torch\nx, y = torch.meshgrid(torch.arange(2), torch.arange(3), indexing="ij")\n',
        untouched=[
            'import torch\nx, y = torch.meshgrid(torch.arange(2), torch.arange(3), indexing="xy")\n',
            "import numpy as np\nx, y = np.meshgrid([1], [2])\n",
        ],
    )

    def leave_Call(self, original: Any, updated: Any) -> Any:
        if self.ctx.origin(original.func, "torch.meshgrid") is None:
            return updated
        if argument(original, "indexing") is not None or any(arg.star == "**" for arg in original.args):
            return updated
        self.hit(original, 'indexing="ij" is passed')
        return with_keyword(updated, "indexing", cst.SimpleString('"ij"'))


RULE = Meshgrid
