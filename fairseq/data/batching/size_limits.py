"""Which samples are too long, which go together in a batch, and into which length buckets they fall."""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Optional, Union

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "batch_by_size",
    "collect_filtered",
    "filter_by_size",
    "filter_paired_dataset_indices_by_size",
    "get_bucketed_sizes",
    "get_buckets",
    "select_by_sizes",
    "select_by_size_fn",
    "take_sizes",
]

logger = logging.getLogger("fairseq.data.data_utils")

# Rows handled at a time where whole temporary arrays would double the memory of a huge data set.
CHUNK = 1 << 24

Sizes = NDArray[Any]


def collect_filtered(function: Callable[[Any], bool], iterable: Iterable[Any], filtered: list[Any]) -> Iterable[Any]:
    """Yield what ``function`` accepts; append the rest to ``filtered``."""
    for element in iterable:
        if function(element):
            yield element
        else:
            filtered.append(element)


def take_sizes(indices: NDArray[np.integer], *sizes: Sizes) -> Sizes:
    """``max over the given arrays of array[indices]``, without temporaries of full length."""
    from fairseq.data.data_utils_fast import kernel

    result = np.empty(len(indices), dtype=np.result_type(*sizes))
    within = len(indices) and 0 <= indices.min() and indices.max() < min(map(len, sizes))
    plain = within and all(array.dtype == result.dtype for array in sizes) and _suit_kernel(indices, *sizes)
    for start in range(0, len(indices), CHUNK):
        rows = indices[start : start + CHUNK]
        part = result[start : start + CHUNK]
        if plain:
            part[:] = np.iinfo(result.dtype).min
            for array in sizes:
                kernel.take_larger(rows, array, part)
            continue
        part[:] = sizes[0][rows]
        for further in sizes[1:]:
            np.maximum(part, further[rows], out=part)
    return result


def _suit_kernel(indices: NDArray[Any], *sizes: Sizes) -> bool:
    return (
        all(array.ndim == 1 and array.flags.c_contiguous for array in (indices, *sizes))
        and indices.dtype in (np.int32, np.int64)
        and all(array.dtype in (np.uint16, np.int32, np.int64) for array in sizes)
    )


def select_by_sizes(
    indices: NDArray[Any], limits: Sequence[tuple[Sizes, Union[int, float]]]
) -> tuple[NDArray[Any], list[int]]:
    """Split ``indices`` into those within all ``(sizes, limit)`` pairs and the list of the others, order kept."""
    # Looking up every index in random order is the slow part, so leave out limits that nothing breaks.
    limits = [(sizes, limit) for sizes, limit in limits if len(sizes) and sizes.max() > limit]
    rejected: list[NDArray[Any]] = []
    for start in range(0, len(indices) if limits else 0, CHUNK):
        rows = indices[start : start + CHUNK]
        over = np.zeros(len(rows), dtype=bool)
        for sizes, limit in limits:
            over |= sizes[rows] > limit
        if over.any():
            rejected.append(start + np.flatnonzero(over))
    if not rejected:
        return indices, []
    places = np.concatenate(rejected)
    return np.delete(indices, places), indices[places].tolist()


def select_by_size_fn(
    indices: NDArray[Any], size_fn: Callable[[int], Any], max_positions: Any
) -> tuple[NDArray[Any], list[int]]:
    """As :func:`select_by_sizes` for sizes of any shape: numbers, tuples, or dictionaries of tuples.

    ``None`` on either side of a comparison means no limit; of dictionaries the common keys count.
    """
    ignored: list[int] = []
    kept = collect_filtered(lambda index: _within(size_fn(index), max_positions), indices, ignored)
    result = np.fromiter(kept, dtype=np.int64, count=-1)
    return result, [int(index) for index in ignored]


def _within(size: Any, limit: Any) -> bool:
    if isinstance(limit, (int, float)) and not isinstance(size, (tuple, list, dict)):
        return bool(size <= limit)
    if isinstance(limit, dict):
        if not isinstance(size, dict):
            raise TypeError(f"limits are given by key ({sorted(limit)}), so sizes have to be too; got {size!r}")
        return all(_all_within(size[key], limit[key]) for key in size.keys() & limit.keys())
    if isinstance(size, dict):
        # One limit for all keys, or one per key, in order.
        limits = [limit] * len(size) if isinstance(limit, (int, float)) else limit
        return all(_all_within(part, bound) for part, bound in zip(size.values(), limits))
    return _all_within(size, limit)


def _all_within(sizes: Any, limits: Any) -> bool:
    if isinstance(limits, (int, float)) or limits is None:
        limits = [limits] * (len(sizes) if isinstance(sizes, (tuple, list)) else 1)
    if not isinstance(sizes, (tuple, list)):
        sizes = (sizes,)
    return all(size is None or limit is None or size <= limit for size, limit in zip(sizes, limits))


def filter_by_size(
    indices: NDArray[Any], dataset: Any, max_positions: Any, raise_exception: bool = False
) -> NDArray[Any]:
    """Drop samples longer than ``max_positions`` and say how many.

    ``dataset.filter_indices_by_size`` is what tasks use; this spelling is kept for code written against it.

    Raises:
        Exception: with ``raise_exception``, if there is such a sample.
    """
    sizes = getattr(dataset, "sizes", None)
    if isinstance(sizes, list) and len(sizes) == 1:
        sizes = sizes[0]
    if isinstance(max_positions, (int, float)) and isinstance(sizes, np.ndarray) and sizes.ndim == 1:
        kept, ignored = select_by_sizes(indices, [(sizes, max_positions)])
    else:
        kept, ignored = select_by_size_fn(indices, dataset.size, max_positions)
    report_ignored(ignored, dataset, max_positions, skip=not raise_exception)
    return kept


def report_ignored(ignored: Sequence[int], dataset: Any, max_positions: Any, skip: bool) -> None:
    """Warn about samples that are too long, or refuse them."""
    if not ignored:
        return
    if not skip:
        raise Exception(
            f"Size of sample #{ignored[0]} is invalid (={dataset.size(ignored[0])}) since "
            f"max_positions={max_positions}, skip this example with --skip-invalid-size-inputs-valid-test"
        )
    logger.warning(
        "%s samples have invalid sizes and will be skipped, max_positions=%s, first few sample ids=%s",
        f"{len(ignored):,}",
        max_positions,
        list(ignored[:10]),
    )


def filter_paired_dataset_indices_by_size(
    src_sizes: Sizes, tgt_sizes: Optional[Sizes], indices: NDArray[Any], max_sizes: Any
) -> tuple[NDArray[Any], list[int]]:
    """Split ``indices`` into pairs whose sides are both short enough and the list of the others, order kept.

    Args:
        src_sizes: ``(n,)``.
        tgt_sizes: ``(n,)``, or ``None`` without targets.
        indices: sample numbers.
        max_sizes: one limit for both sides, ``(source limit, target limit)``, or ``None``.
    """
    if max_sizes is None:
        return indices, []
    if isinstance(max_sizes, (int, float)):
        max_sizes = (max_sizes, max_sizes)
    pairs = [(src_sizes, max_sizes[0])]
    if tgt_sizes is not None:
        pairs.append((tgt_sizes, max_sizes[1]))
    return select_by_sizes(indices, [(np.asarray(sizes), limit) for sizes, limit in pairs if limit is not None])


def batch_by_size(
    indices: Any,
    num_tokens_fn: Optional[Callable[[int], int]],
    num_tokens_vec: Any = None,
    max_tokens: Optional[float] = None,
    max_sentences: Optional[int] = None,
    required_batch_size_multiple: int = 1,
    fixed_shapes: Any = None,
) -> Sequence[Any]:
    """Group sample indices into batches, in their order; every index is in exactly one of them.

    Args:
        indices: sample numbers in batching order, usually sorted by size.
        num_tokens_fn: index -> tokens; used where ``num_tokens_vec`` is not given.
        num_tokens_vec: tokens of each of ``indices``, aligned with it.
        max_tokens: limit of (longest) * (samples) of a batch; ``None`` for none.
        max_sentences: limit of samples of a batch; ``None`` for none.
        required_batch_size_multiple: batches have fewer samples than this, or a multiple of it, where limits allow.
            What remains at the end is a batch of its own.
        fixed_shapes: rows ``(max samples, max tokens per sample)``; when given, every batch fits one of them, and
            the limits above do not count.

    Raises:
        AssertionError: one sample alone is over ``max_tokens``.
    """
    from fairseq.data import data_utils_fast as fast

    limit = -1 if max_tokens is None else int(max_tokens)
    most = -1 if max_sentences is None else int(max_sentences)
    indices = _as_array(indices)
    num_tokens_vec = None if num_tokens_vec is None else _as_array(num_tokens_vec)
    if fixed_shapes is None:
        if num_tokens_vec is None:
            return fast.batch_by_size_fn(indices, _sizes_from(num_tokens_fn), limit, most, required_batch_size_multiple)
        return fast.batch_by_size_vec(indices, num_tokens_vec, limit, most, required_batch_size_multiple)
    shapes = np.array(fixed_shapes, dtype=np.int64)
    shapes = shapes[np.lexsort((shapes[:, 1], shapes[:, 0]))]
    return fast.batch_fixed_shapes_fast(indices, _sizes_from(num_tokens_fn), shapes)


def _as_array(values: Any) -> NDArray[Any]:
    return values if isinstance(values, np.ndarray) else np.fromiter(values, dtype=np.int64, count=-1)


def _sizes_from(num_tokens_fn: Optional[Callable[[int], int]]) -> Callable[[int], int]:
    if num_tokens_fn is None:
        raise ValueError("batch_by_size needs the sizes of samples: give num_tokens_fn or num_tokens_vec")
    return num_tokens_fn


def get_buckets(sizes: Sizes, num_buckets: int) -> NDArray[Any]:
    """Up to ``num_buckets`` lengths that split ``sizes`` into parts of about equal count; the last is the maximum."""
    return np.unique(np.percentile(sizes, np.linspace(0, 100, num_buckets + 1), method="lower")[1:])


def get_bucketed_sizes(orig_sizes: Sizes, buckets: Any) -> Sizes:
    """Each size replaced by the smallest bucket that holds it; ``buckets`` is increasing and covers the maximum."""
    return np.asarray(buckets)[np.searchsorted(buckets, orig_sizes)].astype(np.asarray(orig_sizes).dtype)
