"""Is this object exactly what its class in this package promises?

Plugins override methods, replace attributes of instances and classes, and hook into modules. Whoever wants to compute
what a module computes without calling it has to make sure that nobody did.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.nn.modules import module as torch_module

__all__ = ["is_unhooked", "keeps"]

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_GLOBAL_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks")


def keeps(owner: Any, base: type, names: Iterable[str]) -> bool:
    """Whether methods of ``owner`` are those that the class ``base`` was written with.

    Args:
        owner: an instance of ``base``, or of a class that may have changed it.
        names: methods that ``base`` defines or inherits.
    """
    if not isinstance(owner, base):
        return False
    own = vars(owner)
    return all(name not in own and _is_original(type(owner), base, name) for name in names)


def _is_original(cls: type, base: type, name: str) -> bool:
    function = getattr(cls, name, None)
    if function is not getattr(base, name, None):
        return False
    # The class that ``base`` has the method from; somebody may have put another function there.
    home = next((c for c in base.__mro__ if name in vars(c)), None)
    return (
        home is not None
        and getattr(function, "__module__", None) == home.__module__
        and getattr(function, "__qualname__", None) == f"{home.__qualname__}.{name}"
        and not hasattr(function, "__wrapped__")
    )


def is_unhooked(*modules: nn.Module | None) -> bool:
    """Whether calling modules runs their ``forward`` and nothing else."""
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
