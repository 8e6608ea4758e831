"""Who sits where: sentences of a batch that have ended give their place in memory to others, and nobody else moves.

Shapes in this file:  n = sentences, B = beam, N = n x B rows.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Moves", "Seats"]


class Moves(NamedTuple):
    """What sits at ``source`` shall sit at ``target``; seats that keep theirs may be among them."""

    target: Tensor
    source: Tensor

    def apply(self, places: Tensor) -> None:
        """Move within the first dimension."""
        places.index_copy_(0, self.target, places.index_select(0, self.source))


class Seats:
    """The seats 0, 1, ... n - 1 of a batch, always without a gap.

    Args:
        count: n.
        beam: B.

    Attributes:
        order: ``(n,)``, the number in the batch of who sits there; ``None`` while everybody sits at their own number.
        seat_of: ``(n,)``, the seat of each number in the batch; ``None`` as well.
    """

    def __init__(self, count: int, beam: int) -> None:
        self.count = count
        self.beam = beam
        self.order: Tensor | None = None
        self.seat_of: Tensor | None = None

    def follow(self, rows: Tensor, kept: Tensor | None) -> tuple[Tensor, Moves | None]:
        """Continue hypotheses, and let those that sit last take the seats of sentences that are gone.

        Nothing here depends on a number that only the device knows, so that nothing waits for it.

        Args:
            rows: ``(N',)``, hypotheses of the last step, counted as in the batch.
            kept: ``(n',)``, the sentences that stay, ascending, or ``None`` for all.

        Returns:
            the same hypotheses counted by seats, in the order of the seats, and who moves.
        """
        moves: Moves | None = None
        seats = torch.arange(self.count, device=rows.device)
        if kept is not None:
            moves, seats = self._leave(seats, kept)
        if self.order is None:
            return rows, moves
        own = (rows % self.beam).view(-1, self.beam)[self.order]
        return (own + seats.unsqueeze(1) * self.beam).view(-1), moves

    def _leave(self, seats: Tensor, kept: Tensor) -> tuple[Moves, Tensor]:
        """Fill the free seats; returns who moves, and where those that sit on the seats now came from."""
        order = seats if self.order is None else self.order
        seat_of = seats if self.seat_of is None else self.seat_of
        count = kept.numel()
        most = min(count, self.count - count)
        free = torch.ones_like(seats, dtype=torch.bool).index_fill_(0, seat_of[kept], False)
        # Free seats in front and taken ones behind; as many of the one as of the other. What comes after them stays.
        target = free[:count].logical_not().to(torch.uint8).argsort(stable=True)[:most]
        behind = free[count:].to(torch.uint8).argsort(stable=True)[:most] + count
        moves = Moves(target, torch.where(free[target], behind, target))
        now = seats[:count]
        came_from = now.scatter(0, moves.target, moves.source)
        number = torch.empty_like(order).scatter_(0, kept, now)
        self.order = number[order[came_from]]
        self.seat_of = torch.empty_like(now).scatter_(0, self.order, now)
        self.count = count
        return moves, came_from

    def by_seats(self, values: Tensor) -> Tensor:
        """``(n x k, ...)``, k rows of each sentence, from the order of the batch to that of the seats."""
        return values if self.order is None else values.unflatten(0, (self.count, -1))[self.order].flatten(0, 1)

    def rows_of_batch(self, count: int) -> Tensor | None:
        """``(n x count,)``: by seats, the row of each row of the batch, ``count`` of a sentence; ``None``: the same."""
        if self.seat_of is None:
            return None
        return (self.seat_of.unsqueeze(1) * count + torch.arange(count, device=self.seat_of.device)).view(-1)
