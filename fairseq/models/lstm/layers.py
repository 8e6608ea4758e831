"""Parts of the LSTM family. All weights are drawn from ``U(-0.1, 0.1)``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = [
    "DEFAULT_MAX_SOURCE_POSITIONS",
    "DEFAULT_MAX_TARGET_POSITIONS",
    "LSTM",
    "AttentionLayer",
    "Embedding",
    "LSTMCell",
    "Linear",
]

DEFAULT_MAX_SOURCE_POSITIONS = 1e5
DEFAULT_MAX_TARGET_POSITIONS = 1e5
_RANGE = 0.1


def Embedding(num_embeddings: int, embedding_dim: int, padding_idx: int | None) -> nn.Embedding:
    """Word vectors; that of padding is zero."""
    embedding = nn.Embedding(num_embeddings, embedding_dim, padding_idx=padding_idx)
    nn.init.uniform_(embedding.weight, -_RANGE, _RANGE)
    if padding_idx is not None:
        nn.init.constant_(embedding.weight[padding_idx], 0)
    return embedding


def _draw_weights(module: nn.Module) -> None:
    for name, parameter in module.named_parameters():
        if "weight" in name or "bias" in name:
            parameter.data.uniform_(-_RANGE, _RANGE)


def LSTM(input_size: int, hidden_size: int, **kwargs: Any) -> nn.LSTM:
    """A stack of LSTM layers."""
    module = nn.LSTM(input_size, hidden_size, **kwargs)
    _draw_weights(module)
    return module


def LSTMCell(input_size: int, hidden_size: int, **kwargs: Any) -> nn.LSTMCell:
    """One LSTM step."""
    module = nn.LSTMCell(input_size, hidden_size, **kwargs)
    _draw_weights(module)
    return module


def Linear(in_features: int, out_features: int, bias: bool = True, dropout: float = 0.0) -> nn.Linear:
    """A projection. ``dropout`` is accepted for callers that pass it and has no effect on these weights."""
    module = nn.Linear(in_features, out_features, bias=bias)
    module.weight.data.uniform_(-_RANGE, _RANGE)
    if bias:
        module.bias.data.uniform_(-_RANGE, _RANGE)
    return module


class AttentionLayer(nn.Module):
    """Attention with a bilinear score ("general"), followed by a tanh layer over context and state.

    Args:
        input_embed_dim: width of the decoder's state.
        source_embed_dim: width of the encoder's output.
        output_embed_dim: width of the result.
        bias: whether the projections have biases.
    """

    def __init__(self, input_embed_dim: int, source_embed_dim: int, output_embed_dim: int, bias: bool = False) -> None:
        super().__init__()
        self.input_proj = Linear(input_embed_dim, source_embed_dim, bias=bias)
        self.output_proj = Linear(input_embed_dim + source_embed_dim, output_embed_dim, bias=bias)

    def forward(self, input: Tensor, source_hids: Tensor, encoder_padding_mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Attend once.

        Args:
            input: state, ``(batch, input_embed_dim)``.
            source_hids: encoder output, ``(src_len, batch, source_embed_dim)``.
            encoder_padding_mask: ``(src_len, batch)``, true at padding.

        Returns:
            ``((batch, output_embed_dim), weights (src_len, batch))``.
        """
        source = source_hids.transpose(0, 1)
        scores = torch.bmm(source, self.input_proj(input).unsqueeze(2)).squeeze(2)
        if encoder_padding_mask is not None:
            # In float32, where minus infinity is safe.
            scores = scores.float().masked_fill(encoder_padding_mask.t(), float("-inf")).type_as(scores)
        weights = F.softmax(scores, dim=1)
        context = torch.bmm(weights.unsqueeze(1), source).squeeze(1)
        output = torch.tanh(self.output_proj(torch.cat([context, input], dim=1)))
        return output, weights.t()
