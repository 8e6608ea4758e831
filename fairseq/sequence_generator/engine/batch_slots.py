"""Slots of a batch: the rows of sentences that have ended are given to others; the rows of the others stay in place.

Shapes in this file:  n = sentences, B = beam, N = n x B rows.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["RowCopies", "BatchSlots"]


class RowCopies(NamedTuple):
    """Rows to copy from ``source`` to ``target``, both ``(k,)``; a row may be copied onto itself."""

    target: Tensor
    source: Tensor

    def apply(self, rows: Tensor) -> None:
        """Copy within the first dimension of ``rows``, in place."""
        rows.index_copy_(0, self.target, rows.index_select(0, self.source))


class BatchSlots:
    """The slots 0, 1, ... n - 1 of a batch in memory, always without a gap.

    Args:
        count: n.
        beam: B.

    Attributes:
        order: ``(n,)``, for each slot the number of its sentence in the batch; ``None`` while these are equal.
        slot_of: ``(n,)``, for each sentence of the batch its slot; ``None`` as well.
    """

    def __init__(self, count: int, beam: int) -> None:
        self.count = count
        self.beam = beam
        self.order: Tensor | None = None
        self.slot_of: Tensor | None = None

    def follow(self, rows: Tensor, kept: Tensor | None) -> tuple[Tensor, RowCopies | None]:
        """Continue hypotheses; the sentences in the last slots take those of sentences that have ended.

        No value is read back from the device, so there is no sync.

        Args:
            rows: ``(N',)``, hypotheses of the last step, counted as in the batch.
            kept: ``(n',)``, the sentences that stay, ascending, or ``None`` for all.

        Returns:
            the same hypotheses counted by slots, in the order of the slots, and the rows to copy.
        """
        copies: RowCopies | None = None
        slots = torch.arange(self.count, device=rows.device)
        if kept is not None:
            copies, slots = self._leave(slots, kept)
        if self.order is None:
            return rows, copies
        own = (rows % self.beam).view(-1, self.beam)[self.order]
        return (own + slots.unsqueeze(1) * self.beam).view(-1), copies

    def _leave(self, slots: Tensor, kept: Tensor) -> tuple[RowCopies, Tensor]:
        """Fill the free slots; returns the rows to copy, and the former slot of each slot's sentence."""
        order = slots if self.order is None else self.order
        slot_of = slots if self.slot_of is None else self.slot_of
        count = kept.numel()
        most = min(count, self.count - count)
        free = torch.ones_like(slots, dtype=torch.bool).index_fill_(0, slot_of[kept], False)
        # Free slots in front and taken ones behind; as many of the one as of the other. What comes after them stays.
        target = free[:count].logical_not().to(torch.uint8).argsort(stable=True)[:most]
        behind = free[count:].to(torch.uint8).argsort(stable=True)[:most] + count
        copies = RowCopies(target, torch.where(free[target], behind, target))
        now = slots[:count]
        came_from = now.scatter(0, copies.target, copies.source)
        number = torch.empty_like(order).scatter_(0, kept, now)
        self.order = number[order[came_from]]
        self.slot_of = torch.empty_like(now).scatter_(0, self.order, now)
        self.count = count
        return copies, came_from

    def by_slots(self, values: Tensor) -> Tensor:
        """``(n x k, ...)``, k rows of each sentence, from the order of the batch to that of the slots."""
        return values if self.order is None else values.unflatten(0, (self.count, -1))[self.order].flatten(0, 1)

    def rows_of_batch(self, count: int) -> Tensor | None:
        """``(n x count,)``: for each row of the batch its row by slots, ``count`` of a sentence; ``None``: the same."""
        if self.slot_of is None:
            return None
        return (self.slot_of.unsqueeze(1) * count + torch.arange(count, device=self.slot_of.device)).view(-1)
