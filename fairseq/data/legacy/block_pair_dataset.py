"""Pairs of text blocks and whether the second follows the first, as BERT's next-sentence task draws them.

The pairs of documents are made as in Devlin et al. 2018, appendix A.2: sentences of one document are gathered until
they fill a block, split in two at random, and half of the second parts are replaced by text of another document.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Optional

import numpy as np
import torch
from torch import Tensor

from fairseq.data.fairseq_dataset import FairseqDataset

__all__ = ["BlockPairDataset"]

# [CLS] before the pair, [SEP] after each of the two.
SPECIAL_TOKENS = 3


class Span(NamedTuple):
    """Consecutive tokens: ``length`` of them from ``offset`` in item ``first``, ending in item ``last``."""

    first: int
    offset: int
    last: int
    length: int


class BlockPairDataset(FairseqDataset):
    """``(first block, second block, 1 if the second follows the first and 0 otherwise)``, for ``MaskedLMDataset``.

    Everything random is drawn from NumPy's global generator while this is built.

    Args:
        dataset: token tensors, one sentence each; documents end with an item of ``doc_break_size`` tokens.
        dictionary: a dictionary with a mask and the symbols of pairs (``BertDictionary``).
        sizes: tokens per item, ``(n,)``.
        block_size: tokens of a pair with its three special symbols, at most.
        break_mode: ``"doc"``: pairs within documents, of whole sentences unless they are too long. ``None`` or
            ``"none"``: the items are one stream, cut into blocks of half the size, each paired with its neighbour or
            with any other.
        short_seq_prob: share of documents that give shorter pairs than fit (``"doc"`` only).
        doc_break_size: tokens of the item that ends a document. Items after the last such item are left out.

    ``sizes`` holds the tokens of each pair with the special symbols, ``(number of pairs,)``.

    Raises:
        ValueError: another ``break_mode``; or a random block is to be drawn and there is nothing else to draw from.
    """

    def __init__(
        self,
        dataset: Any,
        dictionary: Any,
        sizes: Any,
        block_size: int,
        break_mode: Optional[str] = "doc",
        short_seq_prob: float = 0.1,
        doc_break_size: int = 1,
    ) -> None:
        super().__init__()
        if break_mode not in ("doc", "none", None):
            raise ValueError(f"Invalid break_mode: {break_mode}")
        if block_size < SPECIAL_TOKENS + 2:
            raise ValueError(f"block_size {block_size} holds no two blocks and {SPECIAL_TOKENS} special symbols")
        self.dataset = dataset
        self.dictionary = dictionary
        self.pad, self.eos = dictionary.pad(), dictionary.eos()
        self.cls, self.mask, self.sep = dictionary.cls(), dictionary.mask(), dictionary.sep()
        self.break_mode = break_mode
        self.short_seq_prob = short_seq_prob
        item_sizes = np.asarray(sizes, dtype=np.int64)
        budget = block_size - SPECIAL_TOKENS
        if break_mode == "doc":
            self.block_indices = documents_of(item_sizes, doc_break_size)
            drawn = _DocumentPairs(item_sizes, self.block_indices, budget, short_seq_prob)
            self.sent_pairs = [pair for number in range(len(self.block_indices)) for pair in drawn.of_document(number)]
        else:
            blocks = stream_blocks(item_sizes, budget // 2)
            self.block_indices = [list(range(block.first, block.last + 1)) for block in blocks]
            self.sent_pairs = neighbour_pairs(blocks)
        self.sizes = np.array(
            [one.length + two.length + SPECIAL_TOKENS for one, two, _ in self.sent_pairs], dtype=np.int64
        )

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int]:
        first, second, follows = self.sent_pairs[index]
        return self._tokens(first), self._tokens(second), follows

    def __len__(self) -> int:
        return len(self.sizes)

    def _tokens(self, span: Span) -> Tensor:
        items = [self.dataset[i] for i in range(span.first, span.last + 1)]
        return torch.cat(items)[span.offset : span.offset + span.length]

    @property
    def supports_prefetch(self) -> bool:
        return getattr(self.dataset, "supports_prefetch", False)

    def prefetch(self, indices: Iterable[int]) -> None:
        """Fetch every item that the pairs at ``indices`` touch."""
        wanted: set[int] = set()
        for index in indices:
            for span in self.sent_pairs[index][:2]:
                wanted.update(range(span.first, span.last + 1))
        self.dataset.prefetch(sorted(wanted))


Pair = tuple[Span, Span, int]


def documents_of(sizes: np.ndarray, doc_break_size: int) -> list[list[int]]:
    """Item numbers of each document that has any; what no break ends is left out."""
    breaks = np.flatnonzero(sizes == doc_break_size)
    starts = np.concatenate(([0], breaks + 1))
    return [list(range(start, stop)) for start, stop in zip(starts, breaks) if stop > start]


def _another(count: int, *but: int) -> int:
    """One number below ``count``, each as likely, none of ``but`` (ascending)."""
    if count <= len(but):
        raise ValueError(
            f"a random second block is to be drawn from other text, and there is none: {count} documents or blocks "
            "in all; give a text with more of them"
        )
    drawn = int(np.random.randint(count - len(but)))
    for taken in but:
        drawn += drawn >= taken
    return drawn


def _join(sizes: np.ndarray, items: Sequence[int]) -> Span:
    return Span(items[0], 0, items[-1], int(sizes[items[0] : items[-1] + 1].sum()))


class _DocumentPairs:
    """Draws the pairs of one document after the other."""

    def __init__(self, sizes: np.ndarray, documents: list[list[int]], budget: int, short_seq_prob: float) -> None:
        self.sizes = sizes
        self.documents = documents
        self.budget = budget
        self.short_seq_prob = short_seq_prob

    def of_document(self, number: int) -> list[Pair]:
        document = self.documents[number]
        target = self.budget
        if np.random.random() < self.short_seq_prob:
            target = int(np.random.randint(2, self.budget))
        pairs = []
        start = stop = length = 0
        while stop < len(document):
            length += int(self.sizes[document[stop]])
            stop += 1
            if stop < len(document) and length < target:
                continue
            split = start + 1
            if stop - start > 2:
                split = start + int(np.random.randint(1, stop - start - 1))
            first = _join(self.sizes, document[start:split])
            follows = int(np.random.rand() > 0.5 and split < stop)
            if follows:
                second = _join(self.sizes, document[split:stop])
            else:
                second = self._elsewhere(number, target - first.length)
                # The sentences that were to follow are still unused.
                stop = split
            pairs.append((*self._fit(first, second), follows))
            start, length = stop, 0
        return pairs

    def _elsewhere(self, number: int, wanted: int) -> Span:
        """Sentences of another document, until there are ``wanted`` tokens."""
        other = self.documents[_another(len(self.documents), number)]
        start = int(np.random.randint(0, len(other)))
        stop, length = start, 0
        while stop < len(other) and (stop == start or length < wanted):
            length += int(self.sizes[other[stop]])
            stop += 1
        return _join(self.sizes, other[start:stop])

    def _fit(self, first: Span, second: Span) -> tuple[Span, Span]:
        """Drop tokens of the longer block, at either end, until both fit."""
        # [from the front, from the back] of each block
        dropped = [[0, 0], [0, 0]]
        lengths = [first.length, second.length]
        while sum(lengths) > self.budget:
            longer = 0 if lengths[0] > lengths[1] else 1
            dropped[longer][0 if np.random.rand() < 0.5 else 1] += 1
            lengths[longer] -= 1
        return self._shorten(first, *dropped[0]), self._shorten(second, *dropped[1])

    def _shorten(self, span: Span, front: int, back: int) -> Span:
        first, last = span.first, span.last
        while first < last and front >= self.sizes[first]:
            front -= int(self.sizes[first])
            span = span._replace(length=span.length - int(self.sizes[first]))
            first += 1
        while first < last and back >= self.sizes[last]:
            back -= int(self.sizes[last])
            span = span._replace(length=span.length - int(self.sizes[last]))
            last -= 1
        return Span(first, front, last, span.length - front - back)


def stream_blocks(sizes: np.ndarray, block_size: int) -> list[Span]:
    """The items' tokens as one stream, cut into blocks; the last may be shorter."""
    ends = np.cumsum(sizes)
    total = int(ends[-1]) if len(ends) else 0
    starts = np.arange(0, total, block_size)
    stops = np.minimum(starts + block_size, total)
    first = np.searchsorted(ends, starts, side="right")
    last = np.searchsorted(ends, stops - 1, side="right")
    offsets = starts - (ends[first] - sizes[first]) if total else starts
    rows = np.stack((first, offsets, last, stops - starts), axis=1)
    return [Span(*map(int, row)) for row in rows]


def neighbour_pairs(blocks: list[Span]) -> list[Pair]:
    """Each block but the last with the next one, or as often with any that is neither."""
    pairs = []
    for number, block in enumerate(blocks[:-1]):
        follows = int(np.random.rand() > 0.5)
        second = number + 1 if follows else _another(len(blocks), number, number + 1)
        pairs.append((block, blocks[second], follows))
    return pairs
