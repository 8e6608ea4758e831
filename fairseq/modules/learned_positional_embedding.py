"""Positions as learned vectors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fairseq.utils.tensors import make_positions

__all__ = ["LearnedPositionalEmbedding"]


class LearnedPositionalEmbedding(nn.Embedding):
    """An embedding of positions up to a fixed maximum; padding has a row of its own.

    Args:
        num_embeddings: rows of the table. With a padding index the first ``padding_idx + 1`` rows hold no position.
        embedding_dim: width.
        padding_idx: index of padding in the *tokens*; positions count from ``padding_idx + 1``.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None) -> None:
        super().__init__(num_embeddings, embedding_dim, padding_idx)
        self.onnx_trace = False
        self.max_positions = num_embeddings if padding_idx is None else num_embeddings - padding_idx - 1

    def forward(  # type: ignore[override]
        self,
        input: Tensor,
        incremental_state: dict[str, dict[str, Tensor | None]] | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """Return the position vectors of tokens.

        Args:
            input: tokens, ``(batch, seq_len)``; the whole prefix also when decoding step by step.
            incremental_state: with a state only the last position is returned, ``(1, 1, dim)`` for the whole batch.
            positions: row numbers to use instead, ``(batch, seq_len)``.

        Returns:
            ``(batch, seq_len, dim)``.
        """
        if positions is not None:
            if self.padding_idx is not None:
                raise AssertionError("positions are given: the embedding must be built without padding_idx")
        elif incremental_state is not None:
            # All hypotheses have the same length, and none has padding.
            last = int(self.padding_idx) + input.size(1)  # type: ignore[arg-type]
            positions = torch.full((1, 1), last, dtype=torch.long, device=input.device)
        else:
            positions = make_positions(input, self.padding_idx, onnx_trace=self.onnx_trace)  # type: ignore[arg-type]
        return F.embedding(
            positions,
            self.weight,
            padding_idx=self.padding_idx,
            sparse=self.sparse,
            scale_grad_by_freq=self.scale_grad_by_freq,
            max_norm=self.max_norm,
            norm_type=self.norm_type,
        )

    def prepare_for_onnx_export_(self, **kwargs: Any) -> None:
        """Take the ways through the code that ONNX can trace."""
        self.onnx_trace = True
