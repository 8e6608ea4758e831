"""Identity whose gradient is scaled."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["GradMultiply"]


class GradMultiply(torch.autograd.Function):
    """``GradMultiply.apply(x, scale)`` is ``x``; what flows back to ``x`` is multiplied by ``scale``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:  # type: ignore[override]
        """Return a copy, so that the result may be changed in place."""
        ctx.scale = scale
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        """Scale."""
        return grad * ctx.scale, None
