"""Grouping of sentences into blocks without a compiler: the twin of ``token_blocks.pyx``, with identical results."""

from typing import Optional

import numpy as np
from numpy.typing import NDArray

__all__ = ["KERNEL_VERSION", "each_sentence", "sentences_of_blocks", "whole_sentences"]

KERNEL_VERSION = 2


def whole_sentences(sizes: NDArray[np.integer], block_size: int, separator: int, shortest: int) -> NDArray[np.int64]:
    """Blocks of consecutive whole sentences, each as full as possible.

    Args:
        sizes: tokens per sentence, ``(n,)``.
        block_size: tokens per block at most; a longer sentence is a block of its own.
        separator: a sentence of this length ends a block and is in none; -1 for no such thing.
        shortest: blocks of fewer tokens are left out.

    Returns:
        begin and end of each block in the stream of all tokens, ``(num_blocks, 2)``.
    """
    ends = np.cumsum(sizes, dtype=np.int64)
    breaks = np.flatnonzero(np.asarray(sizes) == separator)
    blocks: list[tuple[int, int]] = []
    first, total = 0, len(sizes)
    for stop in [*breaks.tolist(), total]:
        # Sentences first .. stop - 1 lie between two separators.
        while first < stop:
            begin = int(ends[first - 1]) if first else 0
            # The first sentence always belongs to the block, however long it is.
            after = int(np.searchsorted(ends[first:stop], begin + block_size, side="right")) + first
            after = max(after, first + 1)
            end = int(ends[after - 1])
            if end > begin and end - begin >= shortest:
                blocks.append((begin, end))
            first = after
        first = stop + 1
    return np.asarray(blocks, dtype=np.int64).reshape(-1, 2)


def each_sentence(sizes: NDArray[np.integer]) -> NDArray[np.int64]:
    """Begin and end of every sentence in the stream of all tokens, ``(n, 2)``."""
    ends = np.cumsum(sizes, dtype=np.int64)
    return np.stack([ends - sizes, ends], axis=1)


def sentences_of_blocks(sizes: NDArray[np.integer], blocks: NDArray[np.int64]) -> Optional[NDArray[np.int64]]:
    """First sentence, place in it, and last sentence of every block, ``(num_blocks, 3)``.

    Args:
        sizes: tokens per sentence, ``(n,)``.
        blocks: begin and end of each in the stream of all tokens, ``(num_blocks, 2)``.

    Returns:
        ``None`` if there are no sentences; the compiled twin also if the blocks are not in order.
    """
    if len(sizes) == 0:
        return None
    ends = np.cumsum(sizes, dtype=np.int64)
    first = np.searchsorted(ends, blocks[:, 0], side="right")
    last = np.searchsorted(ends, blocks[:, 1] - 1, side="right")
    # An empty block at the very end lies in no sentence.
    first, last = np.minimum(first, len(ends) - 1), np.minimum(last, len(ends) - 1)
    offset = blocks[:, 0] - (ends[first] - np.asarray(sizes)[first])
    return np.stack([first, offset, last], axis=1)
