"""Self-attention of speech encoders, with parameter names of ESPnet: absolute, relative and rotary positions.

``ESPNETMultiHeadedAttention``          Vaswani et al. 2017
``RelPositionMultiHeadedAttention``     Dai et al. 2019 (Transformer-XL), section 3.3
``RotaryPositionMultiHeadedAttention``  Su et al. 2021

Shapes in this file:  T = queries, S = keys, B = batch, C = width, H = heads, D = C / H
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from fairseq.modules.rotary_positional_embedding import RotaryPositionalEmbedding, apply_rotary_pos_emb

__all__ = [
    "ESPNETMultiHeadedAttention",
    "RelPositionMultiHeadedAttention",
    "RotaryPositionMultiHeadedAttention",
]


class ESPNETMultiHeadedAttention(nn.Module):
    """Scaled dot-product attention. The weights of the last call are kept in ``attn (B, H, T, S)``.

    Args:
        n_feat: C.
        n_head: H; must divide ``n_feat``.
        dropout: on attention weights.

    Raises:
        ValueError: ``n_head`` does not divide ``n_feat``.
    """

    def __init__(self, n_feat: int, n_head: int, dropout: float) -> None:
        super().__init__()
        if n_feat % n_head != 0:
            raise ValueError(f"{n_head} heads do not divide a width of {n_feat}")
        self.h, self.d_k = n_head, n_feat // n_head
        self.linear_q, self.linear_k, self.linear_v, self.linear_out = (nn.Linear(n_feat, n_feat) for _ in range(4))
        self.dropout = nn.Dropout(dropout)
        self.attn: Tensor | None = None

    def forward_qkv(self, query: Tensor, key: Tensor, value: Tensor, **kwargs: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Project ``(B, T, C)`` and split into heads: three of ``(B, H, T, D)``."""
        q, k, v = self.linear_q(query), self.linear_k(key), self.linear_v(value)
        return self._heads(q), self._heads(k), self._heads(v)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.h, self.d_k)).transpose(1, 2)

    def forward_attention(self, value: Tensor, scores: Tensor, mask: Tensor | None) -> Tensor:
        """Weigh the values.

        Args:
            value: ``(B, H, S, D)``.
            scores: ``(B, H, T, S)``.
            mask: ``(B, S)``, true where a key is hidden.

        Returns:
            ``(B, T, C)``, projected; the bias alone where every key is hidden.
        """
        if mask is None:
            self.attn = torch.softmax(scores, dim=-1)
        else:
            hidden = mask[:, None, None, :].to(torch.bool)
            weights = torch.softmax(scores.masked_fill(hidden, -math.inf), dim=-1)
            # A row without any key is NaN here.
            self.attn = weights.masked_fill(hidden, 0.0)
        mixed = self.dropout(self.attn) @ value
        return self.linear_out(mixed.transpose(1, 2).flatten(2))

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None, **kwargs: Any
    ) -> tuple[Tensor, None]:
        """Attend.

        Args:
            query: ``(T, B, C)``; ``key`` and ``value``: ``(S, B, C)``.
            key_padding_mask: ``(B, S)``, true at padding.

        Returns:
            ``(x, None)``, ``x`` being ``(T, B, C)``.
        """
        q, k, v = self.forward_qkv(query.transpose(0, 1), key.transpose(0, 1), value.transpose(0, 1))
        scores = q @ k.transpose(-2, -1) / math.sqrt(self.d_k)
        return self.forward_attention(v, scores, key_padding_mask).transpose(0, 1), None


class RelPositionMultiHeadedAttention(ESPNETMultiHeadedAttention):
    """Attention whose scores also depend on the distance between query and key.

    ``((q + u) k + shift((q + v) p)) / sqrt(D)`` with learned ``u`` and ``v`` and projected distance codes ``p``.

    Args:
        n_feat, n_head, dropout: as in the base class.
        zero_triu: let the distance term be 0 where the key is ahead of the query.
    """

    def __init__(self, n_feat: int, n_head: int, dropout: float, zero_triu: bool = False) -> None:
        super().__init__(n_feat, n_head, dropout)
        self.zero_triu = zero_triu
        self.linear_pos = nn.Linear(n_feat, n_feat, bias=False)
        self.pos_bias_u = nn.Parameter(torch.zeros(self.h, self.d_k))
        self.pos_bias_v = nn.Parameter(torch.zeros(self.h, self.d_k))
        nn.init.xavier_uniform_(self.pos_bias_u)
        nn.init.xavier_uniform_(self.pos_bias_v)

    def rel_shift(self, x: Tensor) -> Tensor:
        """From one column per distance to one per key.

        Args:
            x: ``(B, H, T, 2T - 1)``, distances ``T - 1`` to ``-(T - 1)``.

        Returns:
            ``(B, H, T, T)``: query i and key j hold the column of distance ``i - j``.
        """
        batch, heads, length, columns = x.shape
        # Row i begins at column T - 1 - i. In the flat row-major data, that is one step less per row.
        flat = x.flatten(2)[..., length - 1 :]
        flat = flat[..., : length * (columns - 1)] if length > 1 else x.flatten(2)
        x = flat.reshape(batch, heads, length, max(columns - 1, 1))[..., : columns // 2 + 1]
        return x.tril(x.size(3) - x.size(2)) if self.zero_triu else x

    def forward(  # type: ignore[override]
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        pos_emb: Tensor,
        key_padding_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, None]:
        """Attend.

        Args:
            query, key, value: ``(T, B, C)``.
            pos_emb: codes of the distances, ``(2T - 1, 1 or B, C)``, or batch first.
            key_padding_mask: ``(B, T)``, true at padding.

        Returns:
            ``(x, None)``, ``x`` being ``(T, B, C)``.
        """
        q, k, v = self.forward_qkv(query.transpose(0, 1), key.transpose(0, 1), value.transpose(0, 1))
        if pos_emb.size(0) == 2 * key.size(0) - 1:
            pos_emb = pos_emb.transpose(0, 1)
        p = self._heads(self.linear_pos(pos_emb))
        by_content = (q + self.pos_bias_u[:, None]) @ k.transpose(-2, -1)
        by_distance = self.rel_shift((q + self.pos_bias_v[:, None]) @ p.transpose(-2, -1))
        scores = (by_content + by_distance) / math.sqrt(self.d_k)
        return self.forward_attention(v, scores, key_padding_mask).transpose(0, 1), None


class RotaryPositionMultiHeadedAttention(ESPNETMultiHeadedAttention):
    """Attention with rotary positions.

    Queries and keys are turned before they are projected, head by head; published models were trained this way.

    Args:
        n_feat, n_head, dropout: as in the base class.
        precision: ``"fp16"`` or a dtype; kept for interface compatibility, the angles are computed in float32.
        rotary_emd_base: the longest wavelength is about ``2 pi`` times this.
    """

    def __init__(
        self, n_feat: int, n_head: int, dropout: float, precision: Any, rotary_emd_base: float = 10000
    ) -> None:
        super().__init__(n_feat, n_head, dropout)
        self.rotary_ndims = self.d_k
        dtype = torch.half if precision == "fp16" else precision
        self.rotary_emb = RotaryPositionalEmbedding(self.rotary_ndims, base=rotary_emd_base, precision=dtype)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None, **kwargs: Any
    ) -> tuple[Tensor, None]:
        """As in the base class; ``query`` and ``key`` are of equal length."""
        cos, sin = self.rotary_emb(value, seq_len=value.size(0))
        q, k = query.unflatten(2, (self.h, self.d_k)), key.unflatten(2, (self.h, self.d_k))
        q, k = apply_rotary_pos_emb(q, k, cos, sin, offset=0)
        return super().forward(q.flatten(2), k.flatten(2), value, key_padding_mask)
