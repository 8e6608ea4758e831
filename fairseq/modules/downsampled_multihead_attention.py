"""Self-attention at several time scales (Fan et al. 2018, https://arxiv.org/abs/1805.04833, sec. 4.1).

Head ``i`` sees every ``(i + 1)``-th step of the past; queries, keys and values may come out of gated layers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fairseq.modules.fairseq_dropout import FairseqDropout
from fairseq.modules.scalar_bias import scalar_bias
from fairseq.modules.weight_norm import weight_norm

__all__ = ["Downsample", "DownsampledMultiHeadAttention", "GatedLinear", "Linear", "SingleHeadAttention"]


def Linear(in_features: int, out_features: int, dropout: float = 0.0, bias: bool = True) -> nn.Linear:
    """A weight-normalised projection, drawn so that its output keeps the variance of an input with dropout."""
    module = nn.Linear(in_features, out_features, bias=bias)
    module.weight.data.normal_(mean=0, std=math.sqrt((1 - dropout) / in_features))
    if bias:
        module.bias.data.zero_()
    return weight_norm(module)


def GatedLinear(in_features: int, out_features: int, dropout: float = 0.0, bias: bool = True) -> nn.Sequential:
    """Three projections with gated linear units between them."""
    # A gated unit halves its input.
    widths = [(in_features, 4 * out_features), (2 * out_features, 2 * out_features), (out_features, out_features)]
    first, second, last = (Linear(into, out, dropout, bias) for into, out in widths)
    return nn.Sequential(first, nn.GLU(), second, nn.GLU(), last)


class Downsample(nn.Module):
    """Keep every ``(index + 1)``-th step of ``(time, ...)``, beginning with the first."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index

    def forward(self, x: Tensor) -> Tensor:
        """Select."""
        return x[:: self.index + 1]


class SingleHeadAttention(nn.Module):
    """One head over downsampled keys, or all heads over all keys.

    Args:
        out_channels: width of the result (of all heads together).
        embed_dim: width of queries, keys and values.
        head_dim: width of a head.
        head_index: which head this is, from 0; it keeps every ``(head_index + 1)``-th key.
        dropout: on the attention weights.
        bias: whether the projections have biases.
        project_input: project queries, keys and values.
        gated: with gated layers.
        downsample: be one head; otherwise ``num_heads`` of them.
        num_heads: number of heads.
    """

    def __init__(
        self,
        out_channels: int,
        embed_dim: int,
        head_dim: int,
        head_index: int,
        dropout: float = 0.0,
        bias: bool = True,
        project_input: bool = True,
        gated: bool = False,
        downsample: bool = False,
        num_heads: int = 1,
    ) -> None:
        super().__init__()
        self.embed_dim, self.head_dim = embed_dim, head_dim
        self.num_heads, self.head_index = num_heads, head_index
        self.gated, self.downsample, self.project_input = gated, downsample, project_input
        self.dropout_module = FairseqDropout(dropout, module_name=type(self).__name__)
        width = head_dim if downsample else head_dim * num_heads
        project = GatedLinear if gated else Linear
        select: list[nn.Module] = [Downsample(head_index)] if downsample else []
        key_layers = [*select, project(embed_dim, width, bias=bias)]
        self.in_proj_q = project(embed_dim, width, bias=bias)
        value_layers = [*select, project(embed_dim, width, bias=bias)]
        self.in_proj_k = nn.Sequential(*key_layers)
        self.in_proj_v = nn.Sequential(*value_layers)
        self.out_proj = Linear(width, head_dim if downsample else out_channels, bias=bias)
        self.scaling = head_dim**-0.5

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask_future_timesteps: bool = False,
        key_padding_mask: Tensor | None = None,
        use_scalar_bias: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Attend.

        Args:
            query: ``(tgt_len, batch, embed_dim)``.
            key: ``(src_len, batch, embed_dim)``.
            value: as ``key``.
            mask_future_timesteps: let step t see the steps before t, and not t itself; then the first step needs
                ``use_scalar_bias``.
            key_padding_mask: ``(batch, src_len)``, true at padding.
            use_scalar_bias: add an entry with score 0 and value 0 before the keys.

        Returns:
            ``((tgt_len, batch, out), weights (batch, tgt_len, keys))``, the weights averaged over heads.
        """
        if mask_future_timesteps and query.size() != key.size():
            raise AssertionError("mask_future_timesteps only applies to self-attention: query and key differ in shape")
        tgt_len, batch = query.size(0), query.size(1)
        heads = 1 if self.downsample else self.num_heads
        step = self.head_index + 1 if self.downsample else 1
        if self.project_input:
            query, key, value = self.in_proj_q(query), self.in_proj_k(key), self.in_proj_v(value)
        query = self._split(query * self.scaling, batch * heads)
        key, value = self._split(key, batch * heads), self._split(value, batch * heads)
        scores = torch.bmm(query, key.transpose(1, 2))
        if mask_future_timesteps:
            hidden = torch.ones(tgt_len, tgt_len, dtype=torch.bool, device=scores.device).triu()[:, ::step]
            scores = scores.masked_fill(hidden, -math.inf)
        if key_padding_mask is not None:
            is_pad = key_padding_mask[:, ::step].repeat_interleave(heads, dim=0).unsqueeze(1)
            scores = scores.masked_fill(is_pad, -math.inf)
        if use_scalar_bias:
            scores, value = scalar_bias(scores, 2), scalar_bias(value, 1)
        weights = self.dropout_module(F.softmax(scores, dim=-1))
        context = torch.bmm(weights, value).transpose(0, 1).reshape(tgt_len, batch, -1)
        return self.out_proj(context), weights.view(batch, heads, tgt_len, -1).mean(dim=1)

    def _split(self, x: Tensor, rows: int) -> Tensor:
        """``(time, batch, heads * head_dim)`` to ``(batch * heads, time, head_dim)``."""
        return x.reshape(x.size(0), rows, -1).transpose(0, 1)


class DownsampledMultiHeadAttention(nn.ModuleList):
    """Several heads, each at its own time scale if ``downsample``.

    Args:
        out_channels: width of the result.
        embed_dim: width of queries, keys and values.
        num_heads: number of heads.
        dropout: on the attention weights.
        bias: whether the projections have biases.
        project_input: project queries, keys and values.
        gated: with gated layers.
        downsample: give head ``i`` every ``(i + 1)``-th key.
    """

    def __init__(
        self,
        out_channels: int,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        project_input: bool = True,
        gated: bool = False,
        downsample: bool = False,
    ) -> None:
        head_dim = embed_dim // num_heads
        if head_dim * num_heads != embed_dim:
            raise AssertionError(f"embed_dim must be divisible by num_heads: {embed_dim} by {num_heads}")

        def head(index: int) -> SingleHeadAttention:
            return SingleHeadAttention(
                out_channels,
                embed_dim,
                head_dim,
                index,
                dropout,
                bias,
                project_input,
                gated,
                downsample,
                num_heads,
            )

        super().__init__([head(index) for index in range(num_heads)] if downsample else None)
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.head_dim = head_dim
        self.downsample = downsample
        self.gated = gated
        self.project_input = project_input
        if downsample:
            self.out_proj = Linear(embed_dim, out_channels, bias=bias)
        else:
            self.attention_module = head(1)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask_future_timesteps: bool = False,
        key_padding_mask: Tensor | None = None,
        use_scalar_bias: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Attend; arguments as for :class:`SingleHeadAttention`.

        Returns:
            ``((tgt_len, batch, out_channels), weights)``; with ``downsample`` the weights are those of the first head.
        """
        arguments = (query, key, value, mask_future_timesteps, key_padding_mask, use_scalar_bias)
        if not self.downsample:
            return self.attention_module(*arguments)
        outputs, weights = zip(*(self[index](*arguments) for index in range(self.num_heads)))
        return self.out_proj(torch.cat(outputs, dim=2)), weights[0]
