"""What the product-quantised layers share."""

from typing import Tuple

import torch
from torch import Tensor, nn

from fairseq.modules.quantization.pq.pq import decode

__all__ = ["Codebook"]


class Codebook(nn.Module):
    """Centroids ``(K, D)``, which train on, and assignments, which do not.

    The gradient of a centroid is the mean, not the sum, over the blocks that it stands for: otherwise popular centroids
    would move much faster than others (Stock et al. 2019, sec. 3.3).
    """

    def __init__(self, centroids: Tensor, assignments: Tensor) -> None:
        super().__init__()
        self.block_size = centroids.size(1)
        self.n_centroids = centroids.size(0)
        self.centroids = nn.Parameter(centroids, requires_grad=True)
        self.register_buffer("assignments", assignments)
        self.register_buffer("counts", torch.bincount(assignments, minlength=centroids.size(0)).type_as(centroids))
        self.centroids.register_hook(self._mean_gradient)

    def _mean_gradient(self, grad: Tensor) -> Tensor:
        counts: Tensor = self.counts  # type: ignore[assignment]
        return grad / counts.clamp(min=1).to(grad).unsqueeze(1)

    def _decode(self, shape: Tuple[int, ...]) -> Tensor:
        return decode(self.centroids, self.assignments, shape)  # type: ignore[arg-type]
