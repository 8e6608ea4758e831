"""Word vectors in text files: a header ``COUNT DIM``, then ``TOKEN v1 v2 ...`` per line."""

from __future__ import annotations

import contextlib
import contextvars
import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from fairseq.file_io import open_text
from fairseq.utils.source_names import naming_source

__all__ = ["do_weights_follow", "load_embedding", "parse_embedding", "print_embed_overlap", "weights_follow"]

logger = logging.getLogger(__name__)


_following: contextvars.ContextVar[bool] = contextvars.ContextVar("weights_follow", default=False)


@contextlib.contextmanager
def weights_follow() -> Iterator[None]:
    """A model that is built in this context gets all its weights from a checkpoint afterwards.

    The files that its options name for initial weights (``--encoder-embed-path``) are then not opened: they were on
    the disk of the user who trained the model, and a stranger's checkpoint may name any file.
    """
    token = _following.set(True)
    try:
        yield
    finally:
        _following.reset(token)


def do_weights_follow() -> bool:
    """Whether initial weights would be overwritten: see ``weights_follow``."""
    return _following.get()


def parse_embedding(embed_path: str) -> dict[str, Tensor]:
    """Read a file of word vectors; none of them where ``weights_follow``.

    Returns:
        token -> float32 vector ``(dim,)``.

    Raises:
        ValueError: a line that has no number where one is due, or vectors of different lengths.
    """
    vectors: dict[str, Tensor] = {}
    if do_weights_follow():
        return vectors
    dim = None
    with open_text(embed_path) as file, naming_source(embed_path):
        next(file, None)  # the header
        for number, line in enumerate(file, start=2):
            token, *values = line.rstrip().split(" ")
            try:
                vector = torch.tensor([float(value) for value in values], dtype=torch.float32)
            except ValueError as error:
                raise ValueError(f"{embed_path}:{number}: {error}; expected TOKEN and numbers") from None
            dim = len(values) if dim is None else dim
            if len(values) != dim:
                raise ValueError(f"{embed_path}:{number}: {len(values)} numbers for {token!r}, the first has {dim}")
            vectors[token] = vector
    return vectors


def load_embedding(embed_dict: dict[str, Tensor], vocab: Any, embedding: nn.Embedding) -> nn.Embedding:
    """Overwrite the rows of ``embedding`` whose token has a vector; the others keep their values."""
    with torch.no_grad():
        for index in range(len(vocab)):
            vector = embed_dict.get(vocab[index])
            if vector is not None and vector.numel() != embedding.embedding_dim:
                raise ValueError(
                    f"the vector of {vocab[index]!r} has {vector.numel()} numbers, the model's have "
                    f"{embedding.embedding_dim}: use vectors of the width of --encoder-embed-dim / --decoder-embed-dim"
                )
            if vector is not None:
                embedding.weight[index].copy_(vector)
    return embedding


def print_embed_overlap(embed_dict: dict[str, Tensor], vocab_dict: Any) -> None:
    """Log how many vocabulary entries have a vector."""
    if do_weights_follow():
        return
    overlap = len(set(embed_dict) & set(vocab_dict.symbols))
    logger.info("found %d/%d types in embedding file", overlap, len(vocab_dict))
