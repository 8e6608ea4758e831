"""Word alignments from attention."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate

import torch
from torch import Tensor

__all__ = ["extract_hard_alignment", "extract_soft_alignment", "get_token_to_word_mapping", "parse_alignment"]


def parse_alignment(line: str) -> Tensor:
    """Read ``"0-0 1-2 ..."`` as pairs of source and target positions.

    Returns:
        int32 tensor, ``(num_pairs, 2)``; ``(0, 2)`` for an empty line.

    Raises:
        ValueError: a pair is not two integers joined by a dash.
    """
    pairs = []
    for pair in line.split():
        source, dash, target = pair.partition("-")
        if not (dash and source.isdigit() and target.isdigit()):
            raise ValueError(f"alignment {pair!r} in {line.strip()!r} is not of the form SOURCE-TARGET")
        pairs.append((int(source), int(target)))
    return torch.tensor(pairs, dtype=torch.int32).reshape(-1, 2)


def get_token_to_word_mapping(tokens: Tensor, exclude_list: Iterable[int]) -> dict[int, int]:
    """Token position -> how many tokens outside ``exclude_list`` stand at or before it (so words count from 1)."""
    excluded = set(exclude_list)
    counts = accumulate(int(token not in excluded) for token in tokens.tolist())
    return dict(enumerate(counts))


def extract_hard_alignment(
    attn: Tensor, src_sent: Tensor, tgt_sent: Tensor, pad: int, eos: int
) -> list[tuple[int, int]]:
    """The most attended source word of each target word.

    Args:
        attn: attention, ``(tgt_len, src_len)``; it is not changed.
        src_sent, tgt_sent: token indices, ``(src_len,)`` and ``(tgt_len,)``.
        pad, eos: indices that are no words.

    Returns:
        ``(source word, target word)`` in target order, counted from 0 without padding and end marks.
    """
    is_target_word = (tgt_sent != pad) & (tgt_sent != eos)
    not_a_source_word = (src_sent == pad) | (src_sent == eos)
    if not bool(is_target_word.any()) or bool(not_a_source_word.all()):
        return []
    source_words = get_token_to_word_mapping(src_sent, [eos, pad])
    target_words = get_token_to_word_mapping(tgt_sent, [eos, pad])
    scores = attn[is_target_word].masked_fill(not_a_source_word.unsqueeze(0).to(attn.device), float("-inf"))
    best = scores.argmax(dim=1).tolist()
    positions = is_target_word.nonzero().flatten().tolist()
    return [(source_words[source] - 1, target_words[target] - 1) for target, source in zip(positions, best)]


def extract_soft_alignment(attn: Tensor, src_sent: Tensor, tgt_sent: Tensor, pad: int, eos: int) -> list[list[str]]:
    """Attention of every target token (end mark included) over the source tokens, six decimals each.

    Args:
        attn: attention, ``(tgt_len, src_len)``.
        src_sent, tgt_sent: token indices; padding is left out on both sides.
        pad, eos: special indices; ``eos`` keeps its place.
    """
    rows = attn[tgt_sent != pad]
    if rows.numel() == 0:
        return []
    kept = rows[:, src_sent != pad]
    return [[f"{probability:.6f}" for probability in row] for row in kept.tolist()] if kept.numel() else []
