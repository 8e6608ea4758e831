"""torch.optim.optimizer.required."""

from __future__ import annotations

from ..model import Patch
from ._calls import Rename


class OptimizerRequired(Rename):
    """The marker for options without a default -> one of the helper module."""

    names = {"torch.optim.optimizer.required": "@helper:required", "torch.optim.required": "@helper:required"}
    patch = Patch(
        id="torch-optimizer-required",
        title="The marker `required` of torch.optim.optimizer",
        symptom="ImportError: cannot import name 'required' from 'torch.optim.optimizer'",
        cause="The marker was never public, and PyTorch may drop it.",
        since={"torch": "2.0"},
        fairseq="all (nag)",
        change="The marker comes from the helper module.",
        matches=[("cannot import name 'required' from 'torch.optim",)],
        tokens=[b"required"],
        features=["torch.optim.optimizer.required", ("torch", ".required")],
        before="from torch.optim.optimizer import Optimizer, required\n\n\ndef f(lr=required):\n"
        "    return lr is required\n",
        after="from torch.optim.optimizer import Optimizer\nfrom _modern import required\n\n\n"
        "def f(lr=required):\n    return lr is required\n",
        untouched=["from torch.optim.optimizer import Optimizer\nrequired = object()\nx = required\n"],
    )


RULE = OptimizerRequired
