"""Product-quantised linear maps."""

from typing import Optional

import torch.nn.functional as F
from torch import Tensor, nn

from fairseq.modules.quantization.pq.modules._codebook import Codebook

__all__ = ["PQLinear"]


class PQLinear(Codebook):
    """A linear map whose weight is decoded from centroids at each forward pass.

    Args:
        centroids: ``(K, D)``; assignments: ``(in_features / D * out_features,)``.
        bias: ``(out_features,)`` or ``None``.
    """

    def __init__(
        self, centroids: Tensor, assignments: Tensor, bias: Optional[Tensor], in_features: int, out_features: int
    ) -> None:
        super().__init__(centroids, assignments)
        self.in_features = in_features
        self.out_features = out_features
        self.bias: Optional[nn.Parameter] = nn.Parameter(bias) if bias is not None else None

    @property
    def weight(self) -> Tensor:
        """``(out_features, in_features)``."""
        return self._decode((self.out_features, self.in_features))

    def forward(self, x: Tensor) -> Tensor:
        """``(..., in_features)`` -> ``(..., out_features)``."""
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, n_centroids={self.n_centroids}, "
            f"block_size={self.block_size}, bias={self.bias is not None}"
        )
