"""Which entries of a dictionary begin a word, for masking whole words."""

from __future__ import annotations

from typing import Any

import torch

from fairseq.data import encoders

__all__ = ["get_whole_word_mask"]


def get_whole_word_mask(args: Any, dictionary: Any) -> torch.Tensor | None:
    """Ask the ``--bpe`` encoder which symbols begin a word.

    Args:
        args: names the encoder, as for ``build_bpe``.
        dictionary: of its pieces.

    Returns:
        uint8, ``(len(dictionary),)``: 1 where a word begins; so do special symbols, filler words and what is no piece.
        ``None`` without an encoder.
    """
    bpe = encoders.build_bpe(args)
    if bpe is None:
        return None

    def begins_word(index: int) -> bool:
        symbol = dictionary[index]
        if index < dictionary.nspecial or symbol.startswith("madeupword"):
            return True
        try:
            return bpe.is_beginning_of_word(symbol)
        except ValueError:
            return True

    return torch.ByteTensor([begins_word(index) for index in range(len(dictionary))])
