"""Positions as sines and cosines (Vaswani et al. 2017, sec. 3.5)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fairseq.utils.tensors import make_positions

__all__ = ["SinusoidalPositionalEmbedding"]


class SinusoidalPositionalEmbedding(nn.Module):
    """Fixed position vectors of any length; the table grows when a longer input comes.

    Args:
        embedding_dim: width; an odd one ends in a column of zeros.
        padding_idx: index of padding in the tokens; its vector is zero and positions count from ``padding_idx + 1``.
        init_size: rows computed at once.
        auto_expand: keep a table that had to grow; otherwise it is computed again for each longer input.

    The table is not part of checkpoints, and what old ones hold of it is dropped.
    """

    if TYPE_CHECKING:  # TorchScript would read the annotation at run time
        weights: Tensor

    def __init__(
        self, embedding_dim: int, padding_idx: int | None, init_size: int = 1024, auto_expand: bool = True
    ) -> None:
        super().__init__()
        self.embedding_dim = embedding_dim
        self.padding_idx = padding_idx if padding_idx is not None else 0
        self.auto_expand = auto_expand
        self.onnx_trace = False
        self.max_positions = int(1e5)
        table = SinusoidalPositionalEmbedding.get_embedding(init_size, embedding_dim, padding_idx)
        self.register_buffer("weights", table, persistent=False)

    def prepare_for_onnx_export_(self) -> None:
        """Take the ways through the code that ONNX can trace."""
        self.onnx_trace = True

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        for name in ("weights", "_float_tensor"):
            state_dict.pop(prefix + name, None)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    @staticmethod
    def get_embedding(num_embeddings: int, embedding_dim: int, padding_idx: int | None = None) -> Tensor:
        """Compute the table, ``(num_embeddings, embedding_dim)``, float32.

        Row ``p`` is ``[sin(p f_0), sin(p f_1), ..., cos(p f_0), ...]`` with frequencies from 1 down to 1/10000 in
        geometric steps. Sines and cosines are in two blocks, not interleaved as in the paper.
        """
        half = embedding_dim // 2
        step = math.log(10000) / max(half - 1, 1)
        frequencies = torch.exp(torch.arange(half, dtype=torch.float) * -step)
        angles = torch.arange(num_embeddings, dtype=torch.float).unsqueeze(1) * frequencies.unsqueeze(0)
        table = torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)
        if embedding_dim % 2 == 1:
            table = torch.cat([table, torch.zeros(num_embeddings, 1)], dim=1)
        if padding_idx is not None:
            table[padding_idx, :] = 0
        return table

    def _table(self, rows: int) -> Tensor:
        """Return a table of at least ``rows`` rows on the module's device and in its dtype."""
        weights = self.weights
        if rows <= weights.size(0):
            return weights
        # Some slack, so that decoding step by step does not come here at every step.
        size = max(rows, 2 * weights.size(0)) if self.auto_expand else rows
        if torch.jit.is_scripting():
            weights = self.get_embedding(size, self.embedding_dim, self.padding_idx).to(weights)
        else:
            # A table made under torch.inference_mode() could never take part in training.
            with torch.inference_mode(False):
                weights = self.get_embedding(size, self.embedding_dim, self.padding_idx).to(weights)
        if self.auto_expand:
            self.weights = weights
        return weights

    def forward(
        self,
        input: Tensor,
        incremental_state: Any | None = None,
        timestep: Tensor | None = None,
        positions: Any | None = None,
    ) -> Tensor:
        """Return the position vectors of tokens.

        Args:
            input: tokens, ``(batch, seq_len)``; the whole prefix also when decoding step by step.
            incremental_state: with a state only the vector of the last position is returned, ``(batch, 1, dim)``.
            timestep: number of tokens before the last one, if it is not ``seq_len - 1``.
            positions: accepted for old callers and not used; positions follow from the padding.

        Returns:
            ``(batch, seq_len, dim)``, without gradient.
        """
        batch, seq_len = input.size(0), input.size(1)
        weights = self._table(self.padding_idx + 1 + seq_len)
        if incremental_state is not None:
            if timestep is not None:
                row = weights.index_select(0, self.padding_idx + 1 + timestep.view(-1)[:1])
            else:
                row = weights[self.padding_idx + seq_len].unsqueeze(0)
            return row.unsqueeze(0).expand(batch, 1, self.embedding_dim)
        rows = make_positions(input, self.padding_idx, onnx_trace=self.onnx_trace)
        return weights.index_select(0, rows.view(-1)).view(batch, seq_len, self.embedding_dim).detach()
