"""Would calling a module run its ``forward`` and nothing else?

Whoever joins the work of several modules into one operation, or works in the memory of an output, has to ask first:
somebody may look at what goes in or comes out, change it, or prepare weights just before (pruning, weight norm).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules import module as torch_module

__all__ = ["is_unhooked"]

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_GLOBAL_HOOKS = tuple(f"_global{name}" for name in _HOOKS)


def is_unhooked(*modules: nn.Module | None) -> bool:
    """Whether calling modules runs the ``forward`` of their classes and nothing else."""
    if torch.compiler.is_compiling():  # the compiler guards the rest, and cannot follow it
        return all(m is None or not (m._forward_hooks or m._forward_pre_hooks) for m in modules)
    if any(getattr(torch_module, name, None) for name in _GLOBAL_HOOKS):
        return False
    for module in modules:
        if module is None:
            continue
        own = vars(module)
        if "forward" in own or any(own.get(name) for name in _HOOKS):
            return False
        if type(module).__call__ is not nn.Module.__call__:
            return False
    return True
