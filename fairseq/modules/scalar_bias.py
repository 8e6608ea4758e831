"""A constant in front of a tensor, without gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["ScalarBias", "scalar_bias"]


class ScalarBias(torch.autograd.Function):
    """Lengthen a dimension by one entry at the beginning: where attention looks when there is nothing to see."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, dim: int, bias_init: float) -> Tensor:  # type: ignore[override]
        """Return ``input`` with a slice of ``bias_init`` before it in ``dim``."""
        shape = list(input.size())
        shape[dim] = 1
        ctx.dim = dim
        return torch.cat([input.new_full(shape, bias_init), input], dim=dim)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        """Drop the gradient of the constant."""
        return grad.narrow(ctx.dim, 1, grad.size(ctx.dim) - 1), None, None


def scalar_bias(input: Tensor, dim: int, bias_init: float = 0) -> Tensor:
    """Return ``input`` with a slice of ``bias_init`` before it in dimension ``dim``."""
    return ScalarBias.apply(input, dim, bias_init)
