"""What may be said next. One function per rule; each edits ``lprobs`` in place.

Shapes:  N = rows = sentences x beam, V = vocabulary;  lprobs (N, V), float32.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = [
    "allow_only",
    "force_prefix",
    "forbid",
    "forbid_not_a_number",
    "forbid_used_words",
    "penalize_unknown",
    "replicate_first_beam",
]


def forbid_not_a_number(lprobs: Tensor) -> None:
    """A model that overflowed says nothing instead of poisoning the search."""
    lprobs.nan_to_num_(nan=-math.inf, posinf=math.inf, neginf=-math.inf)


def forbid(lprobs: Tensor, tokens: int | Tensor) -> None:
    """Never these words."""
    lprobs[:, tokens] = -math.inf


def penalize_unknown(lprobs: Tensor, unk: int, penalty: float) -> None:
    """Mark down the unknown word; a negative penalty invites it."""
    if penalty != 0:
        lprobs[:, unk] -= penalty


def allow_only(lprobs: Tensor, token: int) -> None:
    """Nothing but this word: the length limit is reached."""
    lprobs[:, :token] = -math.inf
    lprobs[:, token + 1 :] = -math.inf


def forbid_used_words(lprobs: Tensor, tokens: Tensor, eos: int) -> None:
    """No word twice (n-grams of size one); the end may always come.

    Args:
        tokens: ``(N, length)``, the words so far behind a first symbol.
    """
    words = tokens[:, 1:]
    ending = lprobs[:, eos].clone()
    lprobs.scatter_(1, words, -math.inf)
    lprobs[:, eos] = ending


def force_prefix(lprobs: Tensor, prefix: Tensor, pad: int) -> None:
    """Where a row's prefix has a word, that word; its own log-probability stays, so scores remain the model's.

    Args:
        prefix: ``(N,)``, the prefix word of each row at this step; ``pad`` sets the row free.
    """
    wanted = prefix.unsqueeze(1)
    kept = lprobs.gather(1, wanted)
    bound = wanted.ne(pad)
    lprobs.masked_fill_(bound, -math.inf)
    # Rows that are free write their own value back.
    lprobs.scatter_(1, wanted, kept)


def replicate_first_beam(tensor: Tensor, mask: Tensor, beam_size: int) -> Tensor:
    """Copy the first beam of the chosen sentences over their other beams.

    Args:
        tensor: ``(N, ...)``.
        mask: ``(N,)`` of bool, or ``(N, 1)``; a sentence is chosen when the row of its first beam is set.
    """
    rows = torch.arange(tensor.size(0), device=tensor.device)
    first = rows - rows % beam_size
    chosen = mask.view(-1, beam_size)[:, 0].repeat_interleave(beam_size)
    return tensor.index_select(0, torch.where(chosen, first, rows))
