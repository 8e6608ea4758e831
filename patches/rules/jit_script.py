"""torch.jit.script at import."""

from __future__ import annotations

from typing import Any

from ..model import Patch, Rule


class JitScript(Rule):
    """``@torch.jit.script`` above a function goes away."""

    patch = Patch(
        id="torch-jit-script",
        title="Functions compiled by torch.jit.script at import",
        symptom="FutureWarning: `torch.jit.script` is not supported in Python 3.14+ and may break",
        cause="TorchScript is no longer developed and does not support Python 3.14.",
        since={"python": "3.14"},
        fairseq="0.10 to main (model_utils)",
        change="The decorator is dropped from plain functions; they run as Python, and are still compiled when "
        "a scripted "
        "model calls them.",
        matches=[("torch.jit.script", "is not supported in python 3.14"), ("torch.jit.script", "is deprecated")],
        tokens=[b"jit"],
        features=[".script", "torch.jit.script"],
        before="import torch\n\n\n@torch.jit.script\ndef double(x):\n    return x + x\n",
        after="import torch\n\n\ndef double(x):\n    return x + x\n",
        untouched=[
            "import torch\n\n\n@torch.jit.export\ndef double(x):\n    return x + x\n\n\ns = torch.jit.script(double)\n"
        ],
    )

    def leave_FunctionDef(self, original: Any, updated: Any) -> Any:
        kept = [item for item in original.decorators if not self.ctx.origin(item.decorator, "torch.jit.script")]
        if len(kept) == len(original.decorators):
            return updated
        self.hit(original, "@torch.jit.script is dropped")
        decorators = [
            new
            for old, new in zip(original.decorators, updated.decorators)
            if not self.ctx.origin(old.decorator, "torch.jit.script")
        ]
        changes: dict[str, Any] = {"decorators": decorators}
        if not decorators:
            changes["leading_lines"] = updated.leading_lines or original.decorators[0].leading_lines
            changes["lines_after_decorators"] = ()
        return updated.with_changes(**changes)


RULE = JitScript
