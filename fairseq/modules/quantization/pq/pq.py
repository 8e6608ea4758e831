"""Product quantisation of one layer's weight."""

from typing import Tuple

import torch
from torch import Tensor

from fairseq.modules.quantization.pq.em import EM

__all__ = ["PQ"]


class PQ(EM):
    """Cut a weight into blocks and quantise these.

    Args:
        W: ``(out_features, in_features)``, or ``(out, in, height, width)`` of a convolution.
        block_size: along the input dimension; for convolutions of kernels larger than 1x1 the kernel's size.
        n_centroids ... verbose: see :class:`EM`.
    """

    def __init__(
        self,
        W: Tensor,
        block_size: int,
        n_centroids: int = 256,
        n_iter: int = 20,
        eps: float = 1e-6,
        max_tentatives: int = 30,
        verbose: bool = True,
    ) -> None:
        self.block_size = block_size
        blocks = self._reshape(W)
        super().__init__(blocks, n_centroids, n_iter, eps, max_tentatives, verbose)

    def _reshape(self, weight: Tensor) -> Tensor:
        """``(block_size, number of blocks)``."""
        if weight.dim() == 2:
            self.out_features, self.in_features = weight.size()
            if self.in_features % self.block_size != 0:
                raise AssertionError(
                    f"{self.in_features} input features cannot be cut into blocks of {self.block_size}"
                )
            parts = weight.reshape(self.out_features, -1, self.block_size)
            return parts.permute(2, 1, 0).flatten(1, 2)
        if weight.dim() == 4:
            self.out_channels, self.in_channels, self.k_h, self.k_w = weight.size()
            if (self.in_channels * self.k_h * self.k_w) % self.block_size != 0:
                raise AssertionError(
                    f"a kernel of {weight[0].numel()} weights cannot be cut into blocks of {self.block_size}"
                )
            parts = weight.reshape(self.out_channels, -1, self.block_size)
            return parts.permute(2, 1, 0).flatten(1, 2)
        raise NotImplementedError(f"product quantisation of a weight with {weight.dim()} dimensions")

    def encode(self) -> None:
        """Find centroids and assignments."""
        self.initialize_centroids()
        for i in range(self.n_iter):
            self.step(i)

    def decode(self) -> Tensor:
        """The quantised weight, in the shape of the original."""
        if hasattr(self, "k_h"):
            shape: Tuple[int, ...] = (self.out_channels, self.in_channels, self.k_h, self.k_w)
        else:
            shape = (self.out_features, self.in_features)
        return decode(self.centroids, self.assignments, shape)


def decode(centroids: Tensor, assignments: Tensor, shape: Tuple[int, ...]) -> Tensor:
    """A weight of the given shape from its centroids ``(K, D)`` and assignments ``(N,)``, block columns first."""
    blocks = centroids[assignments].reshape(-1, shape[0], centroids.size(1))
    return torch.permute(blocks, (1, 0, 2)).reshape(shape)
