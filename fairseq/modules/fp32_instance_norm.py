"""Instance normalisation computed in float32."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Fp32InstanceNorm"]


class Fp32InstanceNorm(nn.InstanceNorm1d):
    """``nn.InstanceNorm1d`` in float32 whatever the dtype around it.

    Args:
        transpose_last: (keyword) the input is ``(batch, frames, channels)``.
        args, kwargs: of ``nn.InstanceNorm1d``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.transpose_last = bool(kwargs.pop("transpose_last", False))
        super().__init__(*args, **kwargs)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``(batch, channels, frames)``; the result has the dtype of the input."""
        x = input.transpose(1, 2) if self.transpose_last else input
        output = F.instance_norm(
            x.float(),
            running_mean=self.running_mean,
            running_var=self.running_var,
            weight=self.weight.float() if self.weight is not None else None,
            bias=self.bias.float() if self.bias is not None else None,
            use_input_stats=self.training or not self.track_running_stats,
            momentum=self.momentum if self.momentum is not None else 0.0,
            eps=self.eps,
        )
        if self.transpose_last:
            output = output.transpose(1, 2)
        return output.type_as(input)
