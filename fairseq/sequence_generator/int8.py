"""Linear layers with 8-bit weights, for inference on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Int8Linear", "quantize_linear"]


class Int8Linear(nn.Module):
    """A linear layer whose weight is 8-bit integers with one scale per output; inputs are scaled as they come.

    Args:
        linear: the layer to stand in for; its weight is not kept.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach().float()
        scales = weight.abs().amax(dim=1).clamp(min=1e-8) / 127
        zeros = torch.zeros(self.out_features, dtype=torch.long)
        quantized = torch.quantize_per_channel(weight, scales.double(), zeros, 0, torch.qint8)
        bias = linear.bias.detach().float() if linear.bias is not None else None
        self._packed: Any = torch.ops.quantized.linear_prepack(quantized, bias)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., in_features)`` -> ``(..., out_features)``, float32."""
        # Inputs use 7 bits: sums of products of 8-bit numbers overflow on processors without the newest instructions.
        return torch.ops.quantized.linear_dynamic(x, self._packed, reduce_range=True)

    def extra_repr(self) -> str:
        """Sizes, for printing a model."""
        return f"in_features={self.in_features}, out_features={self.out_features}"


def quantize_linear(model: nn.Module) -> int:
    """Replace every linear layer below ``model``, in place; returns how many there were."""
    count = 0
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            # Subclasses may compute something else.
            if type(child) is nn.Linear:
                setattr(parent, name, Int8Linear(child))
                count += 1
    return count
