"""Attention with the fixed sparse pattern (Child et al. 2019, https://arxiv.org/abs/1904.10509, section 4.2).

Positions are cut into blocks of ``stride``; of each block the last ``expressivity`` positions, and the one behind them,
sum it up for everyone else. A query sees its own block and the summaries of the others.

Shapes in this file:  T = queries, S = keys, B = batch, H = heads, C = embedding
"""

import functools
from typing import Dict, Optional, Set, Tuple

import torch
from torch import Tensor

from fairseq.modules.attention_masks import additive
from fairseq.modules.multihead_attention import MultiheadAttention

__all__ = ["SparseMultiheadAttention"]


class SparseMultiheadAttention(MultiheadAttention):
    """Self-attention in which most pairs of positions are hidden from each other.

    Args:
        embed_dim ... encoder_decoder_attention: as for :class:`MultiheadAttention`.
        stride: positions per block.
        expressivity: positions of a block that others see, besides the first of the next block.
        is_bidirectional: see blocks behind, too; otherwise no later position is seen at all.

    Raises:
        AssertionError: ``expressivity`` is not below ``stride``.
    """

    def __init__(
        self, embed_dim: int, num_heads: int, kdim: Optional[int] = None, vdim: Optional[int] = None,
        dropout: float = 0.0, bias: bool = True, add_bias_kv: bool = False, add_zero_attn: bool = False,
        self_attention: bool = False, encoder_decoder_attention: bool = False, stride: int = 32,
        expressivity: int = 8, is_bidirectional: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(
            embed_dim, num_heads, kdim=kdim, vdim=vdim, dropout=dropout, bias=bias, add_bias_kv=add_bias_kv,
            add_zero_attn=add_zero_attn, self_attention=self_attention,
            encoder_decoder_attention=encoder_decoder_attention,
        )  # fmt: skip
        if not 0 <= expressivity < stride:
            raise AssertionError(f"expressivity is below stride, and not negative: got {expressivity} of {stride}")
        self.stride = stride
        self.expressivity = expressivity
        self.is_bidirectional = is_bidirectional
        # Our own pattern is merged into the mask of the fused kernels; one that a subclass makes is not known to us.
        self._has_own_mask = type(self).apply_sparse_mask is not SparseMultiheadAttention.apply_sparse_mask

    def forward(  # type: ignore[override]
        self, query: Tensor, key: Optional[Tensor], value: Optional[Tensor],
        key_padding_mask: Optional[Tensor] = None,
        incremental_state: Optional[Dict[str, Dict[str, Optional[Tensor]]]] = None, need_weights: bool = True,
        static_kv: bool = False, attn_mask: Optional[Tensor] = None, before_softmax: bool = False,
        need_head_weights: bool = False,
    ) -> Tuple[Tensor, Optional[Tensor]]:  # fmt: skip
        """As :meth:`MultiheadAttention.forward`; ``attn_mask`` hides more than the pattern does."""
        if not self._has_own_mask:
            new_keys = query if key is None or self.self_attention else key
            src_len = new_keys.size(0)
            if incremental_state is not None:
                cached = self._get_input_buffer(incremental_state).get("prev_key")
                src_len += 0 if cached is None else cached.size(2)
            hidden = self._hidden(query.size(0), src_len, query.device)
            # Not -inf: where all that the pattern shows is padding, something must be left to attend to.
            pattern = torch.zeros_like(hidden, dtype=query.dtype).masked_fill(hidden, torch.finfo(query.dtype).min / 2)
            attn_mask = pattern if attn_mask is None else pattern + additive(attn_mask, query)
        return super().forward(
            query, key, value, key_padding_mask, incremental_state, need_weights, static_kv, attn_mask,
            before_softmax, need_head_weights,
        )  # fmt: skip

    # ---------------------------------------------------------------------------------------------- the pattern
    def _hidden(self, tgt_len: int, src_len: int, device: torch.device) -> Tensor:
        """``(T, S)``, true where the key is hidden; queries are the last ``tgt_len`` of ``src_len`` positions."""
        visible = _visible(src_len, src_len, self.stride, self.expressivity, self.is_bidirectional)
        return ~visible[src_len - tgt_len :].to(device)

    def apply_sparse_mask(self, attn_weights: Tensor, tgt_len: int, src_len: int, bsz: int) -> Tensor:
        """Add the pattern to scores ``(B * H, T, S)`` in place; see :meth:`buffered_sparse_mask`."""
        attn_weights += self.buffered_sparse_mask(attn_weights, tgt_len, src_len).unsqueeze(0)
        return attn_weights

    def buffered_sparse_mask(self, tensor: Tensor, tgt_len: int, src_len: int) -> Tensor:
        """The pattern as an additive mask, ``(T, S)``, 0 or ``-inf``, with the dtype and device of ``tensor``.

        Queries are the first ``tgt_len`` positions; keys behind those are hidden.
        """
        visible = _visible(tgt_len, src_len, self.stride, self.expressivity, self.is_bidirectional)
        mask = torch.zeros((tgt_len, src_len), dtype=tensor.dtype, device=tensor.device)
        return mask.masked_fill_(~visible.to(tensor.device), float("-inf"))

    def compute_checkpoint(self, word_index: int) -> int:
        """Where the summary of a position's block begins."""
        return int(_block_start(torch.tensor(word_index), self.stride)) + self.stride - self.expressivity

    def compute_subset_summaries(self, absolute_max: int) -> Set[int]:
        """The positions below ``absolute_max`` that sum up a block."""
        keys = torch.arange(absolute_max)
        return set(keys[_is_summary(keys, self.stride, self.expressivity)].tolist())

    def compute_fixed_attention_subset(self, word_index: int, tgt_len: int) -> Set[int]:
        """The positions of a query's own block; seen one way, the summaries before it as well."""
        if not self.is_bidirectional:
            row = _visible(word_index + 1, max(tgt_len, word_index + 1), self.stride, self.expressivity, False)[-1]
            return set(torch.nonzero(row).flatten().tolist())
        start = int(_block_start(torch.tensor(word_index), self.stride))
        return set(range(start, min(start + self.stride + 1, tgt_len)))


def _block_start(positions: Tensor, stride: int) -> Tensor:
    """First position of the block of each; a block's end is the first position of the next and belongs to both."""
    return (positions - 1).clamp(min=0) // stride * stride


def _is_summary(keys: Tensor, stride: int, expressivity: int) -> Tensor:
    return (keys > 0) & (-keys % stride <= expressivity)


@functools.lru_cache(maxsize=16)
def _visible(tgt_len: int, src_len: int, stride: int, expressivity: int, is_bidirectional: bool) -> Tensor:
    """``(T, S)`` on the CPU, true where the query sees the key; do not change it in place."""
    keys = torch.arange(src_len)
    queries = torch.arange(tgt_len).unsqueeze(1)
    start = _block_start(queries, stride)
    visible = (keys >= start) & (keys <= start + stride) | _is_summary(keys, stride, expressivity)
    return visible & (keys < tgt_len if is_bidirectional else keys <= queries)
