"""Product-quantised embeddings."""

from typing import Optional

import torch.nn.functional as F
from torch import Tensor

from fairseq.modules.quantization.pq.modules._codebook import Codebook

__all__ = ["PQEmbedding"]


class PQEmbedding(Codebook):
    """An embedding whose rows are put together from centroids.

    Args:
        centroids: ``(K, D)``; assignments: ``(embedding_dim / D * num_embeddings,)``.
        num_embeddings ... sparse: of ``nn.Embedding``; ``_weight`` is not used.
    """

    def __init__(
        self,
        centroids: Tensor,
        assignments: Tensor,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: Optional[int] = None,
        max_norm: Optional[float] = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Optional[Tensor] = None,
    ) -> None:
        super().__init__(centroids, assignments)
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = padding_idx
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = sparse

    @property
    def weight(self) -> Tensor:
        """``(num_embeddings, embedding_dim)``."""
        return self._decode((self.num_embeddings, self.embedding_dim))

    def forward(self, input: Tensor) -> Tensor:
        """Indices of any shape -> ``(..., embedding_dim)``."""
        return F.embedding(
            input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse
        )

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        return (
            f"{self.num_embeddings}, {self.embedding_dim}, padding_idx={self.padding_idx}, "
            f"n_centroids={self.n_centroids}, block_size={self.block_size}"
        )
