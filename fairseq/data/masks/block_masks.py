"""Masks made of blocks of frames or of image patches, all alike within a batch (data2vec 2.0, Baevski et al. 2023).

Draws come from torch's global generator.
Shapes in this file:  B = batch, N = positions, G = side of a grid of N = G * G
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["compute_block_mask_1d", "compute_block_mask_2d"]

Neighbours = Callable[[Tensor], Tensor]


def compute_block_mask_1d(
    shape: tuple[int, int], mask_prob: float, mask_length: int, mask_prob_adjust: float = 0,
    inverse_mask: bool = False, require_same_masks: bool = True, expand_adjcent: bool = False,
    mask_dropout: float = 0, non_overlapping: bool = False,
) -> Tensor:  # fmt: skip
    """Mask runs of frames.

    Args:
        shape: ``(B, N)``.
        mask_prob: share of positions to mask.
        mask_length: length of a block.
        mask_prob_adjust: added to the share when blocks are counted, to make up for their overlap.
        inverse_mask: draw the blocks that stay visible instead; the rest is masked.
        require_same_masks: mask exactly ``mask_prob`` of every row, by masking or freeing single positions at random.
        expand_adjcent: with ``require_same_masks``, mask positions beside masked ones.
        mask_dropout: draw so many more blocks, as a share; with ``expand_adjcent`` every row is filled by this share
            too much, and as many masked positions are freed again.
        non_overlapping: blocks come from a fixed tiling.

    Returns:
        booleans ``(B, N)`` on the CPU, true where masked.

    Raises:
        ValueError: the share is not between 0 and 1, or a block has no length.
    """
    batch, size = shape
    options = _Options(mask_prob, mask_length, mask_prob_adjust, inverse_mask, mask_dropout)
    if non_overlapping:
        tiles = math.ceil(size / mask_length)
        mask = _pick_tiles(batch, tiles, options.blocks(tiles)).repeat_interleave(mask_length, 1)[:, :size]
    else:
        centres = torch.randint(0, size, (batch, options.blocks(size / mask_length)))
        mask = _reach(centres, size, mask_length).any(1)
    if require_same_masks:
        _level(mask, options, _beside if expand_adjcent else None)
    return ~mask if inverse_mask else mask


def compute_block_mask_2d(
    shape: tuple[int, int], mask_prob: float, mask_length: int, mask_prob_adjust: float = 0,
    inverse_mask: bool = False, require_same_masks: bool = True, expand_adjcent: bool = False,
    mask_dropout: float = 0, non_overlapping: bool = False,
) -> Tensor:  # fmt: skip
    """Mask squares of patches: :func:`compute_block_mask_1d` on a grid.

    Args:
        shape: ``(B, G * G)``, patches row by row.
        mask_length: side of a block.

    Returns:
        booleans ``(B, G * G)`` on the CPU, true where masked.

    Raises:
        ValueError: the patches form no square, or as for :func:`compute_block_mask_1d`.
    """
    batch, size = shape
    side = math.isqrt(size)
    if side * side != size:
        raise ValueError(f"{size} patches form no square; compute_block_mask_1d masks sequences")
    options = _Options(mask_prob, mask_length, mask_prob_adjust, inverse_mask, mask_dropout)
    if non_overlapping:
        tiles = math.ceil(side / mask_length)
        grid = _pick_tiles(batch, tiles**2, options.blocks(tiles**2)).view(batch, tiles, tiles)
        grid = grid.repeat_interleave(mask_length, 1).repeat_interleave(mask_length, 2)[:, :side, :side]
        mask = grid.reshape(batch, size)
    else:
        centres = torch.randint(0, size, (batch, options.blocks(size / mask_length**2)))
        rows = _reach(centres // side, side, mask_length)
        columns = _reach(centres % side, side, mask_length)
        mask = (rows[..., :, None] & columns[..., None, :]).any(1).view(batch, size)
    if require_same_masks:
        _level(mask, options, _around if expand_adjcent else None)
    return ~mask if inverse_mask else mask


class _Options:
    """How many blocks and how many positions are drawn (for an inverse mask: stay visible)."""

    def __init__(self, mask_prob: float, mask_length: int, adjust: float, inverse: bool, dropout: float) -> None:
        if not 0 <= mask_prob <= 1 or mask_length < 1:
            raise ValueError(f"mask_prob={mask_prob} must be in [0, 1] and mask_length={mask_length} positive")
        self.share = 1 - mask_prob if inverse else mask_prob
        self.adjust = adjust
        self.dropout = dropout

    def blocks(self, whole: float) -> int:
        """Blocks to draw, where ``whole`` of them would cover everything."""
        return max(0, int(whole * (self.share + self.adjust) * (1 + self.dropout)))

    def positions(self, size: int) -> int:
        return int(size * self.share)


def _reach(centres: Tensor, size: int, length: int) -> Tensor:
    """Positions within a block, ``(..., size)``; of an even length, the centre stands right of the middle."""
    first = (centres - length // 2).unsqueeze(-1)
    positions = torch.arange(size)
    return (positions >= first) & (positions < first + length)


def _pick_tiles(batch: int, tiles: int, count: int) -> Tensor:
    picked = torch.zeros(batch, tiles, dtype=torch.bool)
    if count > 0:
        chosen = torch.multinomial(torch.ones(batch, tiles), num_samples=min(count, tiles))
        picked.scatter_(1, chosen, True)
    return picked


def _level(mask: Tensor, options: _Options, neighbours: Neighbours | None) -> None:
    """Bring every row to the same number of masked positions, in place."""
    target = options.positions(mask.size(1))
    room = mask.size(1) - target
    holes = min(room, int(target * options.dropout)) if neighbours is not None else 0
    for row, masked in zip(mask, mask.sum(1).tolist()):
        missing = target + holes - masked
        if missing > 0:
            _fill(row, missing, neighbours)
        surplus = holes if missing > 0 else masked - target
        if surplus > 0:
            row[torch.multinomial(row.float(), surplus)] = False


def _fill(row: Tensor, missing: int, neighbours: Neighbours | None) -> None:
    while missing > 0:
        candidates = ~row if neighbours is None else neighbours(row) & ~row
        # A row without a single block has no neighbours to grow from.
        available = int(candidates.sum()) or int((candidates := ~row).sum())
        if not available:
            return
        draws = min(missing, available)
        row[torch.multinomial(candidates.float(), draws)] = True
        missing -= draws


def _beside(row: Tensor) -> Tensor:
    """Positions next to a masked one, ``(N,)``."""
    near = row.clone()
    near[1:] |= row[:-1]
    near[:-1] |= row[1:]
    return near


def _around(row: Tensor) -> Tensor:
    """Patches that share a side with a masked one, ``(G * G,)``."""
    side = math.isqrt(row.numel())
    grid = row.view(side, side)
    near = grid.clone()
    near[1:] |= grid[:-1]
    near[:-1] |= grid[1:]
    near[:, 1:] |= grid[:, :-1]
    near[:, :-1] |= grid[:, 1:]
    return near.view(-1)
