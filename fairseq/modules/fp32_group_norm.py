"""Group normalisation computed in float32."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Fp32GroupNorm"]


class Fp32GroupNorm(nn.GroupNorm):
    """``nn.GroupNorm`` in float32 whatever the dtype around it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``(batch, channels, ...)``; the result has the dtype of the input."""
        output = F.group_norm(
            input.float(), self.num_groups, self.weight.float() if self.weight is not None else None,
            self.bias.float() if self.bias is not None else None, self.eps,
        )  # fmt: skip
        return output.type_as(input)
