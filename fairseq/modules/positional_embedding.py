"""Learned or sinusoidal positions behind one name."""

from __future__ import annotations

from torch import nn

from fairseq.modules.learned_positional_embedding import LearnedPositionalEmbedding
from fairseq.modules.sinusoidal_positional_embedding import SinusoidalPositionalEmbedding

__all__ = ["PositionalEmbedding"]


def PositionalEmbedding(
    num_embeddings: int,
    embedding_dim: int,
    padding_idx: int | None,
    learned: bool = False,
    auto_expand: bool = True,
) -> LearnedPositionalEmbedding | SinusoidalPositionalEmbedding:
    """Build position vectors for up to ``num_embeddings`` positions.

    Args:
        num_embeddings: usable positions; rows for padding and the indices before it are added.
        embedding_dim: width.
        padding_idx: index of padding in the tokens.
        learned: learned vectors, drawn from ``N(0, 1/width)``; otherwise sines and cosines.
        auto_expand: whether a sinusoidal table keeps the size it had to grow to.
    """
    extra = 0 if padding_idx is None else padding_idx + 1
    if not learned:
        return SinusoidalPositionalEmbedding(
            embedding_dim, padding_idx, init_size=num_embeddings + extra, auto_expand=auto_expand
        )
    embedding = LearnedPositionalEmbedding(num_embeddings + extra, embedding_dim, padding_idx)
    nn.init.normal_(embedding.weight, mean=0, std=embedding_dim**-0.5)
    if padding_idx is not None:
        nn.init.constant_(embedding.weight[padding_idx], 0)
    return embedding
