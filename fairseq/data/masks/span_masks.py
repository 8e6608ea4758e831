"""Random span masks over frames, as masked speech models use them (SpecAugment, Park et al. 2019; wav2vec 2.0)."""

from collections.abc import Sequence
from typing import Any, Optional, Union

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = [
    "compute_mask_indices",
    "compute_mask_indices_for_one",
    "compute_mask_indices_v2",
    "compute_mask_indices_v3",
]

Positions = NDArray[np.int64]


def compute_mask_indices(
    shape: tuple[int, int], padding_mask: Optional[Tensor], mask_prob: float, mask_length: int,
    mask_type: str = "static", mask_other: float = 0.0, min_masks: int = 0, no_overlap: bool = False,
    min_space: int = 0, require_same_masks: bool = True, mask_dropout: float = 0.0, add_masks: bool = False,
    seed: Optional[int] = None, epoch: Optional[int] = None, indices: Optional[Tensor] = None, idc_select_ver: int = 1,
    num_mask_ver: int = 2,
) -> NDArray[np.bool_]:  # fmt: skip
    """Choose spans to mask in each row of a batch.

    Args:
        shape: ``(batch, frames)``.
        padding_mask: true on padding, ``(batch, frames)``; spans stay off it.
        mask_prob: share of frames to mask if spans did not overlap.
        mask_length: mean length of a span, in frames.
        mask_type: span lengths: ``static``; ``uniform`` over [mask_other, 2 * mask_length]; ``normal`` with standard
            deviation ``mask_other``; ``poisson``.
        mask_other: see ``mask_type``.
        min_masks: at least so many spans per row.
        no_overlap: spans do not touch each other.
        min_space: with ``no_overlap``, unmasked frames kept between spans.
        require_same_masks: every row masks the same number of frames: the smallest of the batch, or with
            ``add_masks`` the largest.
        mask_dropout: share of the masked frames that is given back, in every row.
        add_masks: see ``require_same_masks``.
        seed, epoch, indices: when all three are given (``indices``: sample numbers, ``(batch,)``), a row's mask
            depends on them alone. Otherwise it comes from numpy's global generator.
        idc_select_ver: 1 starts spans where a shortest one still fits, 2 anywhere.
        num_mask_ver: 2 draws the number of spans from the row's own generator, 1 from the global one.

    Returns:
        ``(batch, frames)`` booleans, true where masked.

    Raises:
        ValueError: unknown kind or version, or a row would be masked entirely.
    """
    if idc_select_ver not in (1, 2) or num_mask_ver not in (1, 2):
        raise ValueError(f"idc_select_ver and num_mask_ver are 1 or 2; got {idc_select_ver} and {num_mask_ver}")
    batch, frames = shape
    shared = _span_count(mask_prob, frames, mask_length, min_masks, np.random.rand()) if num_mask_ver == 1 else 0
    rows: list[Positions] = []
    rng = np.random.default_rng(0)
    for row in range(batch):
        rng = _row_generator(row, seed, epoch, indices)
        size = frames
        if padding_mask is not None:
            size -= int(padding_mask[row].long().sum())
        if num_mask_ver == 2:
            count = _span_count(mask_prob, size, mask_length, min_masks, rng.random())
        elif padding_mask is not None:
            count = _span_count(mask_prob, size, mask_length, min_masks, np.random.rand())
        else:
            count = shared
        lengths = _span_lengths(rng, count, mask_type, mask_length, mask_other, size)
        if no_overlap:
            masked = _separate_spans(rng, size, lengths, min_space)
        else:
            masked = _free_spans(rng, size, count, lengths, whole_spans=idc_select_ver == 1)
        masked = np.unique(masked[masked < size])
        if len(masked) >= size:
            raise ValueError(
                f"the entire sequence is masked. sz={size}; masked frames={len(masked)}; lower mask_prob ({mask_prob}) "
                f"or mask_length ({mask_length}), or drop such short sequences"
            )
        rows.append(masked)
    return _level_rows(rng, rows, frames, require_same_masks, add_masks, mask_dropout)


def _row_generator(
    row: int, seed: Optional[int], epoch: Optional[int], indices: Optional[Tensor]
) -> np.random.Generator:
    if seed is not None and epoch is not None and indices is not None:
        return np.random.default_rng(int(hash((seed, epoch, int(indices[row]))) % 1e6))
    return np.random.default_rng(np.random.randint(2**31 - 1))


def _span_count(mask_prob: float, size: int, mask_length: int, min_masks: int, rounding: float) -> int:
    # Rounded up with the probability of the fraction, so that the expectation is exact.
    return max(min_masks, int(mask_prob * size / float(mask_length) + rounding))


def _span_lengths(
    rng: np.random.Generator, count: int, mask_type: str, mask_length: int, mask_other: float, size: int
) -> Sequence[int]:
    if mask_type == "static":
        lengths = [mask_length] * count
    elif mask_type == "uniform":
        lengths = [int(x) for x in rng.integers(int(mask_other), mask_length * 2 + 1, size=count)]
    elif mask_type == "normal":
        lengths = [max(1, round(float(x))) for x in rng.normal(mask_length, mask_other, size=count)]
    elif mask_type == "poisson":
        lengths = [round(float(x)) for x in rng.poisson(mask_length, size=count)]
    else:
        raise ValueError(f"unknown mask selection {mask_type}: expected static, uniform, normal or poisson")
    if sum(lengths) > 0:
        return lengths
    if mask_type == "static":
        raise ValueError(f"no frame would be masked in a sequence of {size}: raise mask_prob, or set min_masks")
    return [min(mask_length, size - 1)]


def _free_spans(
    rng: np.random.Generator, size: int, count: int, lengths: Sequence[int], whole_spans: bool
) -> Positions:
    """Spans that may overlap. ``whole_spans``: start where a shortest one fits before the end."""
    last = size
    if whole_spans:
        shortest = min(lengths)
        if size - shortest <= count:
            shortest = size - count - 1
        last = size - shortest
    starts = rng.choice(last, count, replace=False)
    return np.asarray([start + i for start, length in zip(starts, lengths) for i in range(length)], dtype=np.int64)


def _separate_spans(rng: np.random.Generator, size: int, lengths: Sequence[int], min_space: int) -> Positions:
    """Spans with at least ``min_space`` free frames between them, longest first, as many as find room."""
    free = [(0, size)]
    shortest = min(lengths)
    chosen: list[int] = []
    for length in sorted(lengths, reverse=True):
        room = np.array([end - start if end - start >= length + min_space else 0 for start, end in free])
        if room.sum() == 0:
            break
        start, end = free.pop(int(rng.choice(len(free), p=room / room.sum())))
        begin = int(rng.integers(start, end - length)) if end - length > start else start
        chosen.extend(range(begin, begin + length))
        if begin - start - min_space >= shortest:
            free.append((start, begin - min_space + 1))
        if end - begin - length - min_space > shortest:
            free.append((begin + length + min_space, end))
    return np.asarray(chosen, dtype=np.int64)


def _level_rows(
    rng: np.random.Generator,
    rows: Sequence[Positions],
    frames: int,
    require_same_masks: bool,
    add_masks: bool,
    mask_dropout: float,
) -> NDArray[np.bool_]:
    mask = np.zeros((len(rows), frames), dtype=bool)
    wanted: Union[int, None] = None
    if require_same_masks and rows:
        wanted = (max if add_masks else min)(len(row) for row in rows)
    for number, positions in enumerate(rows):
        line: NDArray[Any] = mask[number]
        if wanted is not None and len(positions) > wanted:
            positions = rng.choice(positions, wanted, replace=False)
        line[positions] = True
        if wanted is not None and len(positions) < wanted:
            line[rng.choice(np.flatnonzero(~line), wanted - len(positions), replace=False)] = True
        if mask_dropout > 0:
            masked = np.flatnonzero(line)
            holes = int(np.rint(len(masked) * mask_dropout))
            line[rng.choice(masked, holes, replace=False)] = False
    return mask


def compute_mask_indices_for_one(
    sz: int, mask_prob: float, mask_length: int, seed: Optional[int] = None, epoch: Optional[int] = None,
    index: Optional[int] = None, min_masks: int = 0,
) -> NDArray[np.bool_]:  # fmt: skip
    """:func:`compute_mask_indices` with static spans for one sequence of ``sz`` frames.

    Args:
        index: the sample's number; with ``seed`` and ``epoch``, the mask depends on these three alone.

    Returns:
        ``(sz,)`` booleans, true where masked.
    """
    indices = None if index is None else torch.tensor([index])
    return compute_mask_indices(
        (1, sz), None, mask_prob, mask_length, min_masks=min_masks, seed=seed, epoch=epoch, indices=indices
    )[0]


def compute_mask_indices_v2(
    shape: tuple[int, int], padding_mask: Optional[Tensor], mask_prob: float, mask_length: int, min_masks: int = 0,
    require_same_masks: bool = True, seed: Optional[int] = None, epoch: Optional[int] = None,
    indices: Optional[Tensor] = None,
) -> NDArray[np.bool_]:  # fmt: skip
    """:func:`compute_mask_indices` with static spans, for callers that give these arguments by position."""
    return compute_mask_indices(
        shape, padding_mask, mask_prob, mask_length, min_masks=min_masks, require_same_masks=require_same_masks,
        seed=seed, epoch=epoch, indices=indices,
    )  # fmt: skip


def compute_mask_indices_v3(
    shape: tuple[int, int], padding_mask: Optional[Tensor], mask_prob: float, mask_length: int,
    mask_type: str = "static", mask_other: float = 0.0, min_masks: int = 0, no_overlap: bool = False,
    min_space: int = 0, require_same_masks: bool = True, mask_dropout: float = 0.0, seed: Optional[int] = None,
    epoch: Optional[int] = None, indices: Optional[Tensor] = None,
) -> NDArray[np.bool_]:  # fmt: skip
    """:func:`compute_mask_indices` without its latest options, for callers that give these arguments by position."""
    return compute_mask_indices(
        shape, padding_mask, mask_prob, mask_length, mask_type, mask_other, min_masks, no_overlap, min_space,
        require_same_masks, mask_dropout, seed=seed, epoch=epoch, indices=indices,
    )  # fmt: skip
