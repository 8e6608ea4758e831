"""Linear maps with rounded weights."""

from typing import Any, Optional

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fairseq.modules.quantization.scalar.modules._noise import noisy

__all__ = ["IntLinear"]


class IntLinear(nn.Module):
    """``nn.Linear`` whose weight is rounded: a share ``p`` of it in training, all of it in evaluation.

    Args:
        in_features, out_features, bias: of ``nn.Linear``.
        p: share that is rounded in training.
        update_step: forward passes between two searches for scale and zero point.
        bits: of the integers.
        method: see ``emulate_int``.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        p: float = 0,
        update_step: int = 3000,
        bits: int = 8,
        method: str = "histogram",
    ) -> None:
        super().__init__()
        self.in_features = int(in_features)
        self.out_features = int(out_features)
        self.weight = nn.Parameter(torch.empty(self.out_features, self.in_features))
        self.chosen_bias = bias
        self.bias: Optional[nn.Parameter] = nn.Parameter(torch.empty(self.out_features)) if bias else None
        self.p = p
        self.bits = bits
        self.method = method
        self.update_step = update_step
        self.counter = 0
        self.scale: Any = None
        self.zero_point: Any = None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Xavier-uniform weights, no initial bias."""
        nn.init.xavier_uniform_(self.weight)
        if self.bias is not None:
            nn.init.constant_(self.bias, 0.0)

    def forward(self, input: Tensor) -> Tensor:
        """``(..., in_features)`` -> ``(..., out_features)``."""
        return F.linear(input, noisy(self, self.weight, self.p if self.training else 1), self.bias)

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}, "
            f"quant_noise={self.p}, bits={self.bits}, method={self.method}"
        )
