"""Clipped n-gram matches of many sentences at once; what BLEU is made of (Papineni et al. 2002)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["ngram_statistics"]

Ints = NDArray[np.int64]


def ngram_statistics(refs: Sequence[Ints], preds: Sequence[Ints], order: int = 4) -> tuple[Ints, Ints]:
    """Count n-grams of predictions, and those that the reference of the same sentence also has.

    Args:
        refs, preds: per sentence the token ids.
        order: the longest n-gram.

    Returns:
        ``(matches, counts)``, both ``(sentences, order)``: an n-gram of a prediction matches at most as often as it
        stands in the reference.
    """
    count = len(preds)
    lengths = np.array([len(p) for p in preds], dtype=np.int64)
    matches = np.zeros((count, order), dtype=np.int64)
    totals = np.maximum(lengths[:, None] - np.arange(order), 0)
    words = np.concatenate([*preds, *refs]) if count else np.zeros(0, dtype=np.int64)
    if not words.size:
        return matches, totals
    sizes = np.concatenate([lengths, np.array([len(r) for r in refs], dtype=np.int64)])
    # Where each token's text ends, its sentence, and whether it belongs to a prediction.
    ends = np.repeat(np.cumsum(sizes), sizes)
    sentence = np.repeat(np.tile(np.arange(count), 2), sizes)
    predicted = np.repeat(np.arange(2 * count) < count, sizes)
    position = np.arange(words.size)
    ids = np.unique(words, return_inverse=True)[1].reshape(-1)
    base = int(ids.max()) + 1
    grams = ids.copy()
    for n in range(1, order + 1):
        whole = position + n <= ends
        if n > 1:
            # An n-gram is the (n-1)-gram before it and one more word; small numbers again after every step.
            grams[: -(n - 1)] = grams[: -(n - 1)] * base + ids[n - 1 :]
            grams = np.unique(grams, return_inverse=True)[1].reshape(-1)
        keys = grams * count + sentence
        got, got_times = np.unique(keys[whole & predicted], return_counts=True)
        want, want_times = np.unique(keys[whole & ~predicted], return_counts=True)
        _, i, j = np.intersect1d(got, want, assume_unique=True, return_indices=True)
        np.add.at(matches[:, n - 1], got[i] % count, np.minimum(got_times[i], want_times[j]))
    return matches, totals
