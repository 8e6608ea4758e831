"""torch.cuda.amp, deprecated for torch.amp."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..edit import expression, with_keyword
from ..model import Example, Patch
from ._calls import Rename


class CudaAmp(Rename):
    """``torch.cuda.amp.autocast()`` -> ``torch.amp.autocast("cuda")``."""

    names = {
        "torch.cuda.amp.autocast": "torch.amp:autocast",
        "torch.cuda.amp.autocast_mode.autocast": "torch.amp:autocast",
        "torch.cuda.amp.GradScaler": "torch.amp:GradScaler",
        "torch.cuda.amp.grad_scaler.GradScaler": "torch.amp:GradScaler",
    }
    patch = Patch(
        id="torch-cuda-amp",
        title="torch.cuda.amp.autocast and GradScaler",
        symptom="FutureWarning: `torch.cuda.amp.autocast(args...)` is deprecated. Please use "
        "`torch.amp.autocast('cuda', args...)` instead.",
        cause="PyTorch 2.4 deprecated the classes that are tied to one device; they now live in torch.amp.",
        since={"torch": "2.4"},
        fairseq="0.12 and main (amp_optimizer, fairseq_task)",
        change='Calls become torch.amp.autocast("cuda", ...) and torch.amp.GradScaler("cuda", ...).',
        matches=[
            ("torch.cuda.amp.autocast(args...)", "is deprecated"),
            ("torch.cuda.amp.GradScaler(args...)", "is deprecated"),
            ("module 'torch.cuda' has no attribute 'amp'",),
            ("no module named 'torch.cuda.amp",),
        ],
        tokens=[b"cuda.amp", (b"torch.cuda import", b"amp")],
        before="""\
import torch

scaler = torch.cuda.amp.GradScaler(init_scale=2.0, enabled=False)
with torch.cuda.amp.autocast(enabled=False):
    pass
""",
        after="""\
import torch

scaler = torch.amp.GradScaler("cuda", init_scale=2.0, enabled=False)
with torch.amp.autocast("cuda", enabled=False):
    pass
""",
        more=[
            Example(
                "from torch.cuda.amp import autocast\n\nwith autocast(False):\n    pass\n",
                'from torch.amp import autocast\n\nwith autocast("cuda", enabled=False):\n    pass\n',
            )
        ],
        untouched=[
            'import torch\nwith torch.amp.autocast("cuda", enabled=False):\n    pass\n',
            "import torch\ncast = torch.cuda.amp.custom_fwd\n",
        ],
    )
    # Parameters by position, as the old classes had them.
    ORDER = {
        "autocast": ("enabled", "dtype", "cache_enabled"),
        "GradScaler": ("init_scale", "growth_factor", "backoff_factor", "growth_interval", "enabled"),
    }

    def leave_Name(self, original: Any, updated: Any) -> Any:
        return updated

    def _replace(self, original: Any, updated: Any, name: str | None = None) -> Any:
        parent = self.ctx.ancestors[-1] if self.ctx.ancestors else None
        if isinstance(parent, cst.Call) and parent.func is original:
            return updated
        if self.meant(original) is not None:
            self.by_hand(original, 'is handed on without a call: use torch.amp and pass "cuda" where it is called')
        return updated

    def leave_Call(self, original: Any, updated: Any) -> Any:
        name = self.meant(original.func)
        if name is None:
            return updated
        kind = name.rpartition(".")[2]
        self.hit(original, f'{name} becomes torch.amp.{kind}("cuda", ...)')
        order = self.ORDER[kind]
        args = [
            arg
            if arg.keyword is not None or arg.star or index >= len(order)
            else arg.with_changes(
                keyword=cst.Name(order[index]),
                equal=cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace("")),
            )
            for index, arg in enumerate(updated.args)
        ]
        local = self._local(original.func, kind)
        return with_keyword(updated.with_changes(args=args, func=local), "", expression('"cuda"'), first=True)

    def _local(self, func: Any, kind: str) -> Any:
        if isinstance(func, cst.Name):
            self.ctx.wanted[("torch.amp", kind)] = func.value
            return cst.Name(func.value)
        return expression(f"{self.ctx.use('torch')}.amp.{kind}")


RULE = CudaAmp
