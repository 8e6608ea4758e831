"""Module.register_backward_hook."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..model import Patch, Rule


class BackwardHook(Rule):
    """``register_backward_hook`` -> ``register_full_backward_hook``."""

    patch = Patch(
        id="torch-backward-hook",
        title="register_backward_hook",
        symptom="FutureWarning: Using a non-full backward hook when the forward contains multiple autograd "
        "Nodes is deprecated "
        "and will be removed in future versions",
        cause="The old hook saw the gradients of the last operation of a module only. Its successor takes the "
        "same function.",
        since={"torch": "1.8"},
        fairseq="all (nan_detector, linearized_convolution)",
        change="register_backward_hook becomes register_full_backward_hook.",
        matches=[("non-full backward hook",), ("register_backward_hook",)],
        tokens=[b"register_backward_hook"],
        before="handle = module.register_backward_hook(hook)\n",
        after="handle = module.register_full_backward_hook(hook)\n",
        untouched=["handle = module.register_forward_hook(hook)\ndef register_backward_hook(f):\n    pass\n"],
    )

    def leave_Call(self, original: Any, updated: Any) -> Any:
        func = original.func
        if not isinstance(func, cst.Attribute) or func.attr.value != "register_backward_hook":
            return updated
        self.hit(original, "register_backward_hook becomes register_full_backward_hook")
        return updated.with_changes(func=updated.func.with_changes(attr=cst.Name("register_full_backward_hook")))


RULE = BackwardHook
