"""Batch boundaries without a compiler: the twin of ``batching.pyx``, with identical results.

A batch that starts at a given sentence is a function of that sentence alone: it reaches up to the first sentence that
breaks a limit, cut back to the size multiple. So the loop here is over batches, and each step is a few array
operations over a window of sentences.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["KERNEL_VERSION", "batch_ends", "counting_order", "fixed_shape_ends", "shuffle", "take_larger"]

# Raised with every change of a signature or a result: a compiled module of another version is not used.
KERNEL_VERSION = 2

FIRST_WINDOW = 64


def batch_ends(sizes: NDArray[np.integer], max_tokens: int, max_sentences: int, multiple: int) -> NDArray[np.int64]:
    """Where each batch of consecutive sentences ends.

    Args:
        sizes: tokens per sentence, in batching order, ``(n,)``; the caller has checked them against ``max_tokens``.
        max_tokens: limit of (longest sentence) * (number of sentences); 0 or less for none.
        max_sentences: limit of sentences; 0 or less for none.
        multiple: a batch has fewer sentences than this or a multiple of it, unless limits force a smaller one out.

    Returns:
        increasing positions, the last equal to ``n``; empty if ``n`` is 0.
    """
    ends: list[int] = []
    total, start = len(sizes), 0
    while start < total:
        stop = _first_overflow(sizes, start, max_tokens, max_sentences)
        count = stop - start
        cut = stop if count < multiple else stop - count % multiple
        ends.append(cut)
        if stop == total:
            if cut < total:
                ends.append(total)
            break
        # The sentences after the cut open the next batch, if they and the one that did not fit go together.
        if cut < stop and 0 < max_tokens < int(sizes[cut : stop + 1].max()) * (stop + 1 - cut):
            ends.append(stop)
            cut = stop
        start = cut
    return np.asarray(ends, dtype=np.int64)


def _first_overflow(sizes: NDArray[np.integer], start: int, max_tokens: int, max_sentences: int) -> int:
    """The first sentence that no longer fits into a batch opened at ``start``; ``len(sizes)`` if all fit."""
    limit = len(sizes) if max_sentences <= 0 else min(len(sizes), start + max_sentences)
    if max_tokens <= 0:
        return limit
    longest, position, width = 0, start, FIRST_WINDOW
    while position < limit:
        window = sizes[position : min(limit, position + width)].astype(np.int64)
        peaks = np.maximum(np.maximum.accumulate(window), longest)
        counts = np.arange(position + 1 - start, position + 1 - start + len(window))
        over = peaks * counts > max_tokens
        first = int(over.argmax())
        if over[first]:
            return position + first
        longest = int(peaks[-1])
        position += len(window)
        width *= 4
    return limit


def fixed_shape_ends(sizes: NDArray[np.int64], shapes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where batches end when each must fit one of ``shapes``, rows of ``(max sentences, max tokens per sentence)``.

    A batch grows while some shape holds it; a sentence that fits no shape stands alone.
    """
    ends: list[int] = []
    total, start = len(sizes), 0
    most = int(shapes[:, 0].max(initial=0))
    while start < total:
        window = sizes[start : start + max(most, 1)]
        peaks = np.maximum.accumulate(window)
        counts = np.arange(1, len(window) + 1)
        fits = np.asarray(((counts[:, None] <= shapes[:, 0]) & (peaks[:, None] <= shapes[:, 1])).any(axis=1))
        fits[0] = True
        taken = len(window) if fits.all() else int(fits.argmin())
        start += taken
        ends.append(start)
    return np.asarray(ends, dtype=np.int64)


def counting_order(
    order: NDArray[np.integer], keys: NDArray[np.integer], top: int, is_permutation: bool, out: NDArray[np.integer]
) -> None:
    """``out`` becomes ``order`` sorted by ``keys[order]``, stably.

    Args:
        order: positions in ``keys``, ``(n,)``.
        keys: whole numbers in ``[0, top]``.
        top: see ``keys``.
        is_permutation: ``order`` holds every position of ``keys`` once.
        out: ``(n,)``, of the type of ``order``.
    """
    # Keys of 8 and 16 bits are sorted by radix in numpy, in linear time.
    for narrow in (np.uint8, np.uint16, np.uint32):
        if top <= np.iinfo(narrow).max:
            keys = keys.astype(narrow, copy=False)
            break
    out[:] = order[np.argsort(keys[order], kind="stable")]


def shuffle(values: NDArray[np.integer]) -> None:
    """Shuffle in place with NumPy's global generator, exactly as ``numpy.random.shuffle`` does.

    Args:
        values: int32 or int64, contiguous, fewer than 2**32.
    """
    np.random.shuffle(values)


def take_larger(indices: NDArray[np.integer], values: NDArray[np.integer], out: NDArray[np.integer]) -> None:
    """``out`` becomes the larger of itself and ``values[indices]``.

    Args:
        indices: positions in ``values``, ``(n,)``; the caller has checked that they are within it.
        values: whole numbers.
        out: ``(n,)``, of the type of ``values``.
    """
    np.maximum(out, values[indices], out=out)
