"""Linear maps for decoding: several over the same input in one product, weights laid out for few rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fairseq.sequence_generator.int8 import Int8Linear
from fairseq.utils.overrides import is_unhooked

__all__ = ["LinearMap", "fingerprint", "is_linear", "linear_map"]

# (rows, in) -> (rows, out)
LinearMap = Callable[[Tensor], Tensor]


def is_linear(*modules: Any) -> bool:
    """Whether modules are plain linear maps without hooks."""
    return all(type(module) in (nn.Linear, Int8Linear) for module in modules) and is_unhooked(*modules)


def linear_map(modules: Sequence[nn.Module], copies: bool) -> LinearMap:
    """One map whose output is the outputs of ``modules`` side by side.

    Args:
        modules: linear maps over the same input, all in floats or all in 8-bit integers.
        copies: whether weights may be copied to where a product is fastest; then later changes to the modules' weights
            do not reach the map.
    """
    if all(type(module) is Int8Linear for module in modules):
        return modules[0] if len(modules) == 1 else Int8Linear.side_by_side(modules)  # type: ignore[arg-type]
    plain: Any = modules
    if not copies or not all(type(module) is nn.Linear for module in modules):
        return plain[0] if len(plain) == 1 else _apart(plain)
    weight = _joined([module.weight.detach() for module in plain])
    bias: Tensor | None = None
    if any(module.bias is not None for module in plain):
        bias = _joined([_bias_or_zeros(module) for module in plain])
    if weight.device.type != "cpu" or weight.dtype is not torch.float32:
        return lambda x: F.linear(x, weight, bias)
    # The matrix library copies a weight into its own layout for each product, faster from rows of inputs.
    turned = weight.t().contiguous()
    if bias is None:
        return lambda x: torch.mm(x, turned)
    return lambda x: torch.addmm(bias, x, turned)


def _apart(modules: Sequence[nn.Module]) -> LinearMap:
    return lambda x: torch.cat([module(x) for module in modules], dim=1)


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _bias_or_zeros(module: nn.Linear) -> Tensor:
    if module.bias is None:
        return module.weight.new_zeros(module.out_features)
    return module.bias.detach()


def fingerprint(module: nn.Module) -> tuple[Any, ...] | None:
    """Changes when a parameter is replaced or written to; ``None`` when changes could not be noticed.

    Writing through ``parameter.data`` is not noticed: optimizers do that, so this is for models that are done training.
    """
    parameters = list(module.parameters())
    if any(parameter.is_inference() for parameter in parameters):
        return None
    return tuple((id(parameter), parameter.data_ptr(), parameter._version) for parameter in parameters)
