"""Weight normalisation (Salimans & Kingma 2016, https://arxiv.org/abs/1602.07868) with upstream's parameter names.

A weight is expressed as ``g * v / |v|``; the parameters are ``weight_g`` and ``weight_v``, the names that checkpoints
hold. (torch's own function of that layout is deprecated, and its successor names the parameters differently.)
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

__all__ = ["WeightNorm", "is_weight_normalized", "remove_weight_norm", "weight_norm"]

M = TypeVar("M", bound=nn.Module)


class WeightNorm:
    """The pair of hooks behind :func:`weight_norm`: compute the weight before forward, cut its graph afterwards."""

    def __init__(self, name: str, dim: int) -> None:
        self.name = name
        self.dim = dim

    def compute_weight(self, module: nn.Module) -> Tensor:
        """Return ``g * v / |v|``; the norm is over all dimensions but ``dim``."""
        return torch._weight_norm(getattr(module, self.name + "_v"), getattr(module, self.name + "_g"), self.dim)

    def __call__(self, module: nn.Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module))

    def after_forward(self, module: nn.Module, inputs: Any, output: Any) -> None:
        """Leave a plain value behind: a tensor inside a graph would forbid copying the module."""
        setattr(module, self.name, getattr(module, self.name).detach())

    def remove(self, module: nn.Module) -> None:
        """Put an ordinary parameter in place of the two."""
        weight = self.compute_weight(module).detach()
        delattr(module, self.name)
        del module._parameters[self.name + "_g"]
        del module._parameters[self.name + "_v"]
        setattr(module, self.name, nn.Parameter(weight))


def weight_norm(module: M, name: str = "weight", dim: int = 0) -> M:
    """Express a parameter by its length and its direction.

    Args:
        module: changed in place and returned; its parameter ``name`` gives way to ``name_g`` and ``name_v``.
        name: name of the parameter.
        dim: the dimension that keeps a length of its own per index.

    Raises:
        RuntimeError: the parameter is normalised already.
    """
    if _hook_key(module, name) is not None:
        raise RuntimeError(f"{type(module).__name__}.{name} has weight normalisation already")
    hook = WeightNorm(name, dim)
    weight = getattr(module, name)
    del module._parameters[name]
    module.register_parameter(name + "_g", nn.Parameter(torch.norm_except_dim(weight, 2, dim).detach()))
    module.register_parameter(name + "_v", nn.Parameter(weight.detach()))
    setattr(module, name, hook.compute_weight(module).detach())
    module.register_forward_pre_hook(hook)
    module.register_forward_hook(hook.after_forward)
    return module


def remove_weight_norm(module: M, name: str = "weight") -> M:
    """Undo :func:`weight_norm`; the weight keeps its value.

    Raises:
        ValueError: the parameter is not normalised.
    """
    key = _hook_key(module, name)
    if key is None:
        raise ValueError(f"weight_norm of '{name}' not found in {type(module).__name__}")
    hook = module._forward_pre_hooks.pop(key)
    for after_key, after in list(module._forward_hooks.items()):
        if getattr(after, "__self__", None) is hook:
            del module._forward_hooks[after_key]
    hook.remove(module)  # type: ignore[attr-defined]
    return module


def is_weight_normalized(module: nn.Module, name: str = "weight") -> bool:
    """Whether :func:`weight_norm` was applied to this parameter."""
    return _hook_key(module, name) is not None


def _hook_key(module: nn.Module, name: str) -> int | None:
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, WeightNorm) and hook.name == name:
            return key
    return None
