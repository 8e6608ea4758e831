"""Parts of the convolutional families. Weights are drawn so that each layer keeps the variance of its input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

from torch import nn

from fairseq import utils
from fairseq.modules.conv_tbc import ConvTBC as TimeFirstConvolution
from fairseq.modules.learned_positional_embedding import LearnedPositionalEmbedding
from fairseq.modules.linearized_convolution import LinearizedConvolution
from fairseq.modules.weight_norm import weight_norm

__all__ = [
    "ConvTBC",
    "Embedding",
    "Linear",
    "LinearizedConv1d",
    "PositionalEmbedding",
    "attention_per_layer",
    "draw_convolution",
    "draw_linear",
    "extend_conv_spec",
    "read_layers",
]

Convolution = TypeVar("Convolution", bound=TimeFirstConvolution)


def extend_conv_spec(convolutions: Sequence[tuple[int, ...]]) -> tuple[tuple[int, int, int], ...]:
    """Complete layer specifications to ``(channels, kernel width, how many layers back the residual begins)``.

    Raises:
        Exception: a specification without 2 or 3 numbers.
    """
    complete = []
    for spec in convolutions:
        if len(spec) not in (2, 3):
            raise Exception(f"invalid number of parameters in convolution spec {spec}. expected 2 or 3")
        complete.append((spec[0], spec[1], spec[2] if len(spec) == 3 else 1))
    return tuple(complete)


def read_layers(option: str, text: Any) -> Sequence[tuple[int, ...]]:
    """Read the value of ``--encoder-layers`` or ``--decoder-layers``.

    Raises:
        ValueError: it is no list of tuples of numbers.
    """
    try:
        layers = utils.parse_literal(text) if isinstance(text, str) else text
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None
    is_list = isinstance(layers, (list, tuple)) and len(layers) > 0
    if not is_list or not all(isinstance(layer, (list, tuple)) for layer in layers):
        raise ValueError(f"{option} {text!r}: expected a list like '[(512, 3)] * 20'")
    return [tuple(layer) for layer in layers]


def attention_per_layer(attention: Any, num_layers: int) -> list[bool]:
    """Spread one boolean over all layers, or check a list of them.

    Raises:
        ValueError: a list of another length, or of something else.
    """
    if isinstance(attention, bool):
        return [attention] * num_layers
    if isinstance(attention, (list, tuple)) and len(attention) == num_layers:
        return [bool(item) for item in attention]
    raise ValueError(
        "'attention' is expected to be a list of booleans of length equal to the number of layers: "
        f"{attention!r} for {num_layers} layers"
    )


def Embedding(num_embeddings: int, embedding_dim: int, padding_idx: int) -> nn.Embedding:
    """Word vectors from ``N(0, 0.1)``; that of padding is zero."""
    module = nn.Embedding(num_embeddings, embedding_dim, padding_idx=padding_idx)
    nn.init.normal_(module.weight, 0, 0.1)
    nn.init.constant_(module.weight[padding_idx], 0)
    return module


def PositionalEmbedding(num_embeddings: int, embedding_dim: int, padding_idx: int) -> LearnedPositionalEmbedding:
    """Learned positions from ``N(0, 0.1)``; the table has ``num_embeddings`` rows, those of padding included."""
    module = LearnedPositionalEmbedding(num_embeddings, embedding_dim, padding_idx)
    nn.init.normal_(module.weight, 0, 0.1)
    nn.init.constant_(module.weight[padding_idx], 0)
    return module


def draw_linear(module: nn.Linear, dropout: float = 0.0) -> nn.Linear:
    """Initialise a projection of an input with ``dropout``."""
    nn.init.normal_(module.weight, mean=0, std=math.sqrt((1 - dropout) / module.in_features))
    nn.init.constant_(module.bias, 0)
    return module


def draw_convolution(module: Convolution, dropout: float = 0.0) -> Convolution:
    """Initialise a convolution of an input with ``dropout``, before a gated linear unit."""
    # The unit passes a quarter of the variance.
    fan_in = module.kernel_size[0] * module.in_channels
    nn.init.normal_(module.weight, mean=0, std=math.sqrt(4 * (1 - dropout) / fan_in))
    nn.init.constant_(module.bias, 0)
    return module


def Linear(in_features: int, out_features: int, dropout: float = 0.0) -> nn.Linear:
    """A weight-normalised projection of an input with ``dropout``."""
    return weight_norm(draw_linear(nn.Linear(in_features, out_features), dropout))


def LinearizedConv1d(
    in_channels: int, out_channels: int, kernel_size: int, dropout: float = 0.0, **kwargs: Any
) -> LinearizedConvolution:
    """A weight-normalised causal convolution of an input with ``dropout``."""
    module = LinearizedConvolution(in_channels, out_channels, kernel_size, **kwargs)
    return weight_norm(draw_convolution(module, dropout), dim=2)


def ConvTBC(
    in_channels: int, out_channels: int, kernel_size: int, dropout: float = 0.0, **kwargs: Any
) -> TimeFirstConvolution:
    """A weight-normalised convolution of an input with ``dropout``."""
    module = TimeFirstConvolution(in_channels, out_channels, kernel_size, **kwargs)
    return weight_norm(draw_convolution(module, dropout), dim=2)
