"""Parts of the family: those of ``fconv`` without weight normalisation (the attention has it)."""

from __future__ import annotations

from typing import Any

from torch import nn

from fairseq.models.fconv.layers import draw_convolution, draw_linear
from fairseq.modules.conv_tbc import ConvTBC as TimeFirstConvolution
from fairseq.modules.learned_positional_embedding import LearnedPositionalEmbedding
from fairseq.modules.linearized_convolution import LinearizedConvolution

__all__ = ["ConvTBC", "Embedding", "Linear", "LinearizedConv1d", "PositionalEmbedding"]


def Embedding(num_embeddings: int, embedding_dim: int, padding_idx: int) -> nn.Embedding:
    """Word vectors from ``N(0, 0.1)``, that of padding too; it never changes."""
    module = nn.Embedding(num_embeddings, embedding_dim, padding_idx=padding_idx)
    nn.init.normal_(module.weight, std=0.1)
    return module


def PositionalEmbedding(num_embeddings: int, embedding_dim: int, padding_idx: int) -> LearnedPositionalEmbedding:
    """Learned positions from ``N(0, 0.1)``, that of padding too; ``num_embeddings`` rows in all."""
    module = LearnedPositionalEmbedding(num_embeddings, embedding_dim, padding_idx)
    nn.init.normal_(module.weight, std=0.1)
    return module


def Linear(in_features: int, out_features: int, dropout: float = 0.0) -> nn.Linear:
    """A projection of an input with ``dropout``."""
    return draw_linear(nn.Linear(in_features, out_features), dropout)


def LinearizedConv1d(
    in_channels: int, out_channels: int, kernel_size: int, dropout: float = 0.0, **kwargs: Any
) -> LinearizedConvolution:
    """A causal convolution of an input with ``dropout``."""
    return draw_convolution(LinearizedConvolution(in_channels, out_channels, kernel_size, **kwargs), dropout)


def ConvTBC(
    in_channels: int, out_channels: int, kernel_size: int, dropout: float = 0.0, **kwargs: Any
) -> TimeFirstConvolution:
    """A convolution of an input with ``dropout``."""
    return draw_convolution(TimeFirstConvolution(in_channels, out_channels, kernel_size, **kwargs), dropout)
