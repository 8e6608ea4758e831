"""Encoding many lines at once.

One line at a time costs a function call per token; here a block of text is split, looked up and laid out as one flat
array with a handful of calls. It gives what ``Dictionary.encode_line`` gives, for the dictionaries and tokenizers for
which ``is_plain`` holds; everything else goes line by line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain, repeat
from typing import Any, NamedTuple

import numpy as np

from fairseq.data.dictionary import Dictionary
from fairseq.tokenizer import tokenize_line

__all__ = ["EncodedLines", "encode_lines", "is_plain"]


class EncodedLines(NamedTuple):
    """Several encoded lines, one behind the other.

    Attributes:
        tokens: all indices, ``(num_tokens,)``, int64.
        lengths: how many of them each line has, ``(num_lines,)``, int64; they sum to ``num_tokens``.
        replaced: the words that became the unknown symbol, with their counts.
    """

    tokens: np.ndarray
    lengths: np.ndarray
    replaced: Counter[str]


def is_plain(dictionary: Any, tokenize: Callable[[str], Sequence[str]]) -> bool:
    """Whether looking words up in ``dictionary.indices`` is all that its ``encode_line`` would do."""
    return (
        tokenize is tokenize_line
        and isinstance(dictionary, Dictionary)
        and type(dictionary).encode_line is Dictionary.encode_line
        and type(dictionary).index is Dictionary.index
        and hasattr(dictionary, "unk_index")
        and hasattr(dictionary, "eos_index")
    )


def encode_lines(
    lines: Sequence[str], dictionary: Dictionary, append_eos: bool = True, reverse_order: bool = False
) -> EncodedLines:
    """Encode lines without adding words to the dictionary.

    Args:
        lines: text, tokens separated by white space; a line may be blank.
        dictionary: one for which ``is_plain`` holds.
        append_eos: put the end-of-sentence index behind each line.
        reverse_order: last word first (the end-of-sentence index stays last).
    """
    rows = [line.split() for line in lines]
    if reverse_order:
        for row in rows:
            row.reverse()
    lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    words = list(chain.from_iterable(rows))
    unk = dictionary.unk_index
    tokens = np.fromiter(map(dictionary.indices.get, words, repeat(unk)), dtype=np.int64, count=len(words))
    unknown = Counter(words[i] for i in np.flatnonzero(tokens == unk))
    # The unknown symbol written out in the text is itself, not a replacement.
    unknown.pop(dictionary.unk_word, None)
    if append_eos:
        tokens, lengths = _append(tokens, lengths, dictionary.eos_index)
    return EncodedLines(tokens, lengths, unknown)


def _append(tokens: np.ndarray, lengths: np.ndarray, value: int) -> tuple[np.ndarray, np.ndarray]:
    """Put one more token behind each line."""
    lengths = lengths + 1
    longer = np.full(len(tokens) + len(lengths), value, dtype=tokens.dtype)
    is_word = np.ones(len(longer), dtype=bool)
    is_word[np.cumsum(lengths) - 1] = False
    longer[is_word] = tokens
    return longer, lengths
