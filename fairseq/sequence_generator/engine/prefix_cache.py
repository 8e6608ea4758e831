"""Keys and values of the words so far.

The hypotheses of a sentence come from a common beginning and part late, so they share most of what they look back at.
Each word's key and value is written once, to the next free *slot* of its sentence. A hypothesis is the list of the
slots of its words; when the search continues hypotheses, only these lists of small numbers are copied. In attention,
all hypotheses of a sentence are queries of the same keys, and each sees its own slots only.

Shapes in this file:  n = sentences, B = beam, N = n x B rows, T = words so far, U = slots in use, C = embedding, H =
heads, D = C / H.  Keys and values, ``(n, H, U, 2, D)``, lie as attention reads them: a head looks at one sentence's
slots from the first to the last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fairseq.sequence_generator.engine.batch_slots import RowCopies

__all__ = ["PrefixCache"]

# Steps to make room for at once, and between two searches for unused slots.
_ROOM = 16
_LOOK = 4


class PrefixCache:
    """The slots of a batch, for all layers.

    Args:
        heads: H of each layer.
        width: C.
        bsz: n.
        beam: B.
        like: a tensor of the dtype and on the device that keys shall have.

    Attributes:
        mask: additive ``(n, 1, B, U)``, zero where a hypothesis has a slot; made by ``open``.
    """

    def __init__(self, heads: Sequence[int], width: int, bsz: int, beam: int, like: Tensor) -> None:
        self.beam = beam
        self.bsz = bsz
        self.used = 0
        self.length = 0
        self.capacity = min(beam, 4) * _ROOM
        self.buffers = [like.new_empty(bsz, h, self.capacity, 2, width // h) for h in heads]
        self.slots = torch.zeros(bsz * beam, _ROOM, dtype=torch.long, device=like.device)
        self.mask = like.new_zeros(bsz, 1, beam, 0)
        self._may_look = like.device.type == "cpu"

    def follow(self, rows: Tensor, row_copies: RowCopies | None) -> None:
        """Continue the hypotheses ``rows`` ``(n' B,)`` after sentences have moved, if some have left."""
        self.slots = self.slots.index_select(0, rows)
        self.bsz = rows.numel() // self.beam
        if row_copies is not None:
            for buffer in self.buffers:
                row_copies.apply(buffer[:, :, : self.used])

    def open(self, count: int) -> tuple[int, int]:
        """Make place for the next word of ``count`` hypotheses per sentence (1 when all are the same yet, or B).

        Returns:
            ``(first, end)``: the slots to write to.
        """
        if self._may_look and self.length % _LOOK == _LOOK - 1 and self.used > _LOOK * self.beam:
            self._compact()
        if self.used + count > self.capacity:
            self._make_room(count)
        if self.length == self.slots.size(1):
            self.slots = torch.cat([self.slots, torch.zeros_like(self.slots)], dim=1)
        first, self.used = self.used, self.used + count
        new = torch.arange(first, self.used, device=self.slots.device).expand(self.bsz, count)
        self.slots.view(self.bsz, self.beam, -1)[:, :, self.length] = new
        self.length += 1
        mask = self.buffers[0].new_full((self.bsz * self.beam, self.used), -math.inf)
        mask.scatter_(1, self.slots[:, : self.length], 0.0)
        self.mask = mask.view(self.bsz, 1, self.beam, self.used)
        return first, self.used

    def write(self, layer: int, first: int, end: int, values: Tensor) -> Tensor:
        """Put keys and values ``(n, H, end - first, 2, D)`` into their slots; returns those of all slots in use."""
        buffer = self.buffers[layer][: self.bsz]
        buffer[:, :, first:end] = values
        return buffer[:, :, :end]

    def _needed(self) -> Tensor:
        """``(n, U)``: which slots some hypothesis has."""
        needed = torch.zeros(self.bsz, self.used, dtype=torch.bool, device=self.slots.device)
        needed.scatter_(1, self.slots[:, : self.length].reshape(self.bsz, -1), True)
        return needed

    def _compact(self) -> None:
        """Leave behind the slots that no hypothesis has, if they are a quarter of all."""
        needed = self._needed()
        new_used = int(needed.sum(dim=1).max())
        if new_used * 4 > self.used * 3:
            return
        most = min(new_used, self.used - new_used)
        # Free slots in front take what is needed behind. A sentence that needs fewer than others moves some that are
        # hidden; one without a free slot in front moves nothing.
        target = needed[:, :new_used].to(torch.uint8).argsort(dim=1, stable=True)[:, :most]
        behind = needed[:, new_used:].logical_not().to(torch.uint8).argsort(dim=1, stable=True)[:, :most] + new_used
        source = torch.where(needed.gather(1, target), target, behind)
        place = torch.arange(self.used, device=target.device).repeat(self.bsz, 1).scatter_(1, source, target)
        own = self.slots[:, : self.length].reshape(self.bsz, -1)
        self.slots[:, : self.length] = place.gather(1, own).view(-1, self.length)
        for buffer in self.buffers:
            first = torch.arange(self.bsz * buffer.size(1), device=target.device) * self.capacity
            by_head = first.view(self.bsz, -1, 1)
            row_copies = RowCopies(*((by_head + slots.unsqueeze(1)).view(-1) for slots in (target, source)))
            row_copies.apply(buffer.flatten(0, 2))
        self.used = new_used

    def _make_room(self, count: int) -> None:
        if self._may_look:
            self._compact()
        if self.used + count <= self.capacity:
            return
        self.capacity = self.used + max(self.beam * _ROOM, self.used // 4)
        for layer, buffer in enumerate(self.buffers):
            larger = buffer.new_empty(self.bsz, buffer.size(1), self.capacity, *buffer.shape[3:])
            larger[:, :, : self.used] = buffer[: self.bsz, :, : self.used]
            self.buffers[layer] = larger
