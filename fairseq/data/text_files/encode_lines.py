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
from fairseq.data.text_files.token_counts import compiled
from fairseq.tokenizer import tokenize_line

__all__ = ["EncodedLines", "TextEncoder", "encode_lines", "is_plain"]


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


class TextEncoder:
    """Encodes blocks of text; the words of the dictionary are put into a table once.

    Args:
        dictionary: one for which ``is_plain`` holds.
        append_eos, reverse_order: as for ``encode_lines``.
    """

    def __init__(self, dictionary: Dictionary, append_eos: bool = True, reverse_order: bool = False) -> None:
        self.dictionary = dictionary
        self.append_eos = append_eos
        self.reverse_order = reverse_order
        self.options = (append_eos, reverse_order)
        self._table: Any = None
        self._known = -1

    def encode(self, text: str) -> EncodedLines:
        r"""Encode a text of whole lines, each ended by ``\n``; the last may lack it."""
        if compiled is not None:
            try:
                return self._encode_bytes(text.encode())
            except UnicodeEncodeError:
                pass  # lone surrogates, which no file in UTF-8 has
        lines = text.split("\n")
        if not lines[-1]:
            lines.pop()
        return encode_lines(lines, self.dictionary, self.append_eos, self.reverse_order)

    def _encode_bytes(self, text: bytes) -> EncodedLines:
        indices = self.dictionary.indices
        if self._known != len(indices):
            self._table, self._known = compiled.WordTable(), len(indices)
            for word, index in indices.items():
                # Words with white space in them are never met; a table of words does not take them.
                if len(word.split()) == 1 and word == word.strip():
                    self._table.set(word.encode("utf-8", "surrogatepass"), index)
        end = self.dictionary.eos_index if self.append_eos else -1
        tokens, lengths, spans = self._table.encode(text, self.dictionary.unk_index, end, self.reverse_order)
        return EncodedLines(tokens, lengths, Counter(text[start:end].decode() for start, end in spans.tolist()))

    def __getstate__(self) -> dict[str, Any]:
        # The table is made again where it is needed.
        return {**self.__dict__, "_table": None, "_known": -1}


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
