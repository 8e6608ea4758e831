"""Batch normalisation computed in float32."""

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Fp32BatchNorm"]


class Fp32BatchNorm(nn.Module):
    """``nn.BatchNorm1d`` in float32 whatever the dtype around it.

    Args:
        sync: share statistics between the workers of a distributed run.
        args, kwargs: of ``nn.BatchNorm1d``.
    """

    def __init__(self, sync: bool = False, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self.sync = sync
        self.bn: nn.Module
        if sync and torch.distributed.is_available() and torch.distributed.is_initialized():
            self.bn = nn.SyncBatchNorm(*args, **kwargs)
        else:
            self.bn = nn.BatchNorm1d(*args, **kwargs)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``(batch, channels)`` or ``(batch, channels, frames)``; the result has the dtype of the input."""
        # The module may have been cast with the rest of the model.
        self.bn.float()
        output: Tensor = self.bn(input.float())
        return output.type_as(input)
