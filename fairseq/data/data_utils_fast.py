"""Batching by size: the compiled routine where it was built, its NumPy twin elsewhere, with identical results.

``batch_by_size_vec``, ``batch_by_size_fn`` and ``batch_fixed_shapes_fast`` are the entry points of upstream's compiled
module of this name; :func:`fairseq.data.data_utils.batch_by_size` is the one to call.
"""

from collections.abc import Callable, Sequence
from typing import Any, Optional

import numpy as np
from numpy.typing import NDArray

from fairseq.data._kernels import batching_numpy
from fairseq.data._kernels.loading import compiled_or, for_kernel
from fairseq.data.batching.batches import Batches

kernel = compiled_or("batching", batching_numpy)

__all__ = ["batch_by_size_fn", "batch_by_size_vec", "batch_fixed_shapes_fast", "is_compiled", "shuffle", "stable_order"]

is_compiled = kernel is not batching_numpy

# A count per key value is kept while sorting: 8 MB of them at most.
LARGEST_COUNTED_KEY = 1 << 20

# Up to so many sample numbers are int64, which is what NumPy users expect; beyond, memory counts.
STAYS_NARROW = 1 << 24


def batch_by_size_vec(
    indices: NDArray[np.int64],
    num_tokens_vec: NDArray[Any],
    max_tokens: int,
    max_sentences: int,
    bsz_mult: int,
) -> Sequence[Any]:
    """Group ``indices`` into batches of consecutive entries.

    Args:
        indices: sample numbers in batching order, ``(n,)``.
        num_tokens_vec: tokens of each of them, aligned with ``indices``, ``(n,)``.
        max_tokens: limit of (longest) * (number of samples); 0 or less for none.
        max_sentences: limit of samples; 0 or less for none.
        bsz_mult: batches have fewer samples than this, or a multiple of it, where the limits allow.

    Returns:
        index arrays, as a list-like :class:`fairseq.data.batching.batches.Batches`. Every index is in one batch.

    Raises:
        AssertionError: a sample alone is over ``max_tokens``.
    """
    if len(indices) == 0:
        return []
    sizes = for_kernel(num_tokens_vec)
    if max_tokens > 0 and int(sizes.max()) > max_tokens:
        first = int(np.argmax(np.asarray(sizes) > max_tokens))
        raise AssertionError(
            f"Sentences lengths should not exceed max_tokens={max_tokens}: sentence {int(indices[first])} (counted "
            f"from 0) has {int(sizes[first])} tokens. Raise --max-tokens (for validation data --max-tokens-valid), or "
            "leave such sentences out of the data"
        )
    return Batches(indices, kernel.batch_ends(sizes, max_tokens, max_sentences, max(1, bsz_mult)))


def batch_by_size_fn(
    indices: NDArray[np.int64],
    num_tokens_fn: Callable[[int], int],
    max_tokens: int,
    max_sentences: int,
    bsz_mult: int,
) -> Sequence[Any]:
    """As :func:`batch_by_size_vec`, asking ``num_tokens_fn(index)`` for each size."""
    sizes = np.fromiter((num_tokens_fn(index) for index in indices), dtype=np.int64, count=len(indices))
    return batch_by_size_vec(indices, sizes, max_tokens, max_sentences, bsz_mult)


def batch_fixed_shapes_fast(
    indices: NDArray[np.int64], num_tokens_fn: Callable[[int], int], fixed_shapes_sorted: NDArray[np.int64]
) -> Sequence[Any]:
    """Group ``indices`` so that each batch fits one of the shapes, rows ``(max samples, max tokens per sample)``."""
    if len(indices) == 0:
        return []
    sizes = np.fromiter((num_tokens_fn(index) for index in indices), dtype=np.int64, count=len(indices))
    shapes = np.ascontiguousarray(fixed_shapes_sorted, dtype=np.int64)
    return Batches(indices, kernel.fixed_shape_ends(sizes, shapes))


def shuffle(values: NDArray[np.integer]) -> None:
    """``numpy.random.shuffle`` of int32 or int64 numbers: same order, same use of the global generator, but faster."""
    if values.flags.c_contiguous and len(values) < 2**32:
        kernel.shuffle(values)
    else:
        np.random.shuffle(values)


def stable_order(
    order: NDArray[np.integer], *keys: Optional[NDArray[Any]], is_permutation: bool = False
) -> NDArray[np.integer]:
    """``order`` sorted by several keys, equal ones staying as they were; in linear time for small whole numbers.

    Args:
        order: positions in the keys, int32 or int64, ``(n,)``.
        keys: numbers, the most significant key last; ``None`` is no key.
        is_permutation: ``order`` holds every position once, which is faster.

    Returns:
        int64, except that more than 16 million int32 positions stay int32, for the sake of memory.
    """
    columns = [np.asarray(key) for key in keys if key is not None]
    final = order.dtype if len(order) > STAYS_NARROW else np.dtype(np.int64)
    if len(order) == 0 or not columns:
        return order.astype(final, copy=False)
    tops = [_largest_count(column) for column in columns]
    if None in tops:
        for column in columns:
            order = order[np.argsort(column[order], kind="stable")]
        return order.astype(final, copy=False)
    merged, top = _merge_keys(columns, [int(top or 0) for top in tops])
    for column, largest in zip(merged, top):
        sorted_order = np.empty_like(order)
        kernel.counting_order(np.ascontiguousarray(order), for_kernel(column), largest, is_permutation, sorted_order)
        order = sorted_order
    return order.astype(final, copy=False)


def _largest_count(key: NDArray[Any]) -> Optional[int]:
    """The largest value of a key that can be sorted by counting; ``None`` if it cannot."""
    if key.dtype.kind not in "iu" or key.min() < 0 or key.max() > LARGEST_COUNTED_KEY:
        return None
    return int(key.max())


def _merge_keys(columns: list[NDArray[Any]], tops: list[int]) -> tuple[list[NDArray[Any]], list[int]]:
    """Join neighbouring keys into one number where it stays small: each pass over the data is expensive."""
    merged, limits = [columns[0]], [tops[0]]
    for column, top in zip(columns[1:], tops[1:]):
        product = (top + 1) * (limits[-1] + 1) - 1
        if product > LARGEST_COUNTED_KEY:
            merged.append(column)
            limits.append(top)
            continue
        joined = column.astype(np.uint16 if product < 2**16 else np.int32)
        joined *= limits[-1] + 1
        np.add(joined, merged[-1], out=joined, casting="unsafe")
        merged[-1], limits[-1] = joined, product
    return merged, limits
