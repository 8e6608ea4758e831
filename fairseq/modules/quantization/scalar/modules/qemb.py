"""Embeddings with rounded weights."""

from typing import Any, Optional

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fairseq.modules.quantization.scalar.modules._noise import noisy

__all__ = ["IntEmbedding"]


class IntEmbedding(nn.Module):
    """``nn.Embedding`` whose weight is rounded: a share ``p`` of it in training, all of it in evaluation.

    Args:
        num_embeddings ... sparse: of ``nn.Embedding``; ``_weight`` to begin with.
        p, update_step, bits, method: see ``IntLinear``.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: Optional[int] = None,
        max_norm: Optional[float] = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Optional[Tensor] = None,
        p: float = 0,
        update_step: int = 1000,
        bits: int = 8,
        method: str = "histogram",
    ) -> None:
        super().__init__()
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise AssertionError(f"padding_idx {padding_idx} is outside of {num_embeddings} embeddings")
        self.padding_idx = padding_idx if padding_idx is None or padding_idx >= 0 else num_embeddings + padding_idx
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = sparse
        self.p, self.bits, self.method = p, bits, method
        self.update_step, self.counter = update_step, 0
        self.scale: Any = None
        self.zero_point: Any = None
        if _weight is None:
            self.weight = nn.Parameter(torch.empty(num_embeddings, embedding_dim))
            self.reset_parameters()
        else:
            if list(_weight.shape) != [num_embeddings, embedding_dim]:
                raise AssertionError(f"_weight is {tuple(_weight.shape)}, not {num_embeddings} x {embedding_dim}")
            self.weight = nn.Parameter(_weight)

    def reset_parameters(self) -> None:
        """Standard normal entries, zeros at the padding index."""
        nn.init.normal_(self.weight)
        if self.padding_idx is not None:
            with torch.no_grad():
                self.weight[self.padding_idx].fill_(0)

    def forward(self, input: Tensor) -> Tensor:
        """Indices of any shape -> ``(..., embedding_dim)``."""
        return F.embedding(
            input,
            noisy(self, self.weight, self.p if self.training else 1),
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.sparse,
        )

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        return (
            f"{self.num_embeddings}, {self.embedding_dim}, padding_idx={self.padding_idx}, quant_noise={self.p}, "
            f"bits={self.bits}, method={self.method}"
        )
