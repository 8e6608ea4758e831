"""Keys and values of the words so far.

The hypotheses of a sentence come from a common beginning and part late, so they share most of what they look back at.
Each word's key and value is written once, to the next free *slot* of its sentence. A hypothesis is the list of the
slots of its words; when the search continues hypotheses, only these lists of small numbers are copied. In attention,
all hypotheses of a sentence are queries of the same keys, and each sees its own slots only.

Shapes in this file:  n = sentences, B = beam, N = n x B rows, T = words so far, U = slots in use, C = embedding.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["PrefixCache", "Spare"]

# Steps to make room for at once, and between two looks for slots that nobody needs.
_ROOM = 16
_LOOK = 4


class Spare:
    """Memory that the last tensor left when it moved, for the next one: new memory costs more than what is moved."""

    def __init__(self) -> None:
        self._flat: Tensor | None = None

    def take(self, like: Tensor, *shape: int) -> Tensor:
        """A tensor of this shape, with any contents."""
        flat, size = self._flat, math.prod(shape)
        if flat is None or flat.numel() < size:
            return like.new_empty(shape)
        self._flat = None
        return flat[:size].view(shape)

    def leave(self, tensor: Tensor) -> None:
        """Offer the whole memory behind a contiguous tensor that is no longer used."""
        base = tensor if tensor._base is None else tensor._base
        if self._flat is None or self._flat.numel() < base.numel():
            self._flat = base.view(-1)

    def select(self, tensor: Tensor, dim: int, rows: Tensor) -> Tensor:
        """``tensor.index_select(dim, rows)`` into the spare memory; ``tensor`` becomes spare."""
        shape = list(tensor.shape)
        shape[dim] = rows.numel()
        moved = self.take(tensor, *shape)
        torch.index_select(tensor, dim, rows, out=moved)
        self.leave(tensor)
        return moved


class PrefixCache:
    """The slots of a batch, for all layers.

    Args:
        layers: how many.
        width: 2 C, a key and a value.
        bsz: n.
        beam: B.
        like: a tensor of the dtype and on the device that keys shall have.

    Attributes:
        mask: additive ``(n, 1, B, U)``, zero where a hypothesis has a slot; made by ``open``.
    """

    def __init__(self, layers: int, width: int, bsz: int, beam: int, like: Tensor) -> None:
        self.beam = beam
        self.width = width
        self.bsz = bsz
        self.used = 0
        self.length = 0
        self.capacity = min(beam, 4) * _ROOM
        # Slots first: taking in a step is one copy, leaving some behind is a selection of long rows.
        self.buffers = [like.new_empty(self.capacity, bsz, width) for _ in range(layers)]
        self._spare = Spare()
        self.slots = torch.zeros(bsz * beam, _ROOM, dtype=torch.long, device=like.device)
        self.mask = like.new_zeros(bsz, 1, beam, 0)
        self._may_look = like.device.type == "cpu"

    def follow(self, rows: Tensor, kept: Tensor | None) -> None:
        """Continue the hypotheses ``rows`` ``(n' B,)`` of the sentences at the positions ``kept``, or of all."""
        self.slots = self.slots.index_select(0, rows)
        if kept is not None:
            self.bsz = kept.numel()
            self._compact(kept)

    def open(self, count: int) -> tuple[int, int]:
        """Make place for the next word of ``count`` hypotheses per sentence (1 when all are the same yet, or B).

        Returns:
            ``(first, end)``: the slots to write to.
        """
        if self._may_look and self.length % _LOOK == _LOOK - 1 and self.used > _LOOK * self.beam:
            self._compact(None)
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
        """Put keys and values ``(n, end - first, 2 C)`` into their slots; returns all slots in use, ``(U, n, 2 C)``."""
        buffer = self.buffers[layer]
        buffer[first:end] = values.transpose(0, 1)
        return buffer[:end]

    def _needed(self) -> Tensor:
        """``(n, U)``: which slots some hypothesis has."""
        needed = torch.zeros(self.bsz, self.used, dtype=torch.bool, device=self.slots.device)
        needed.scatter_(1, self.slots[:, : self.length].reshape(self.bsz, -1), True)
        return needed

    def _compact(self, kept: Tensor | None) -> None:
        """Leave behind the slots that no hypothesis has, and sentences that are not ``kept``, if it is worth it."""
        new_used, order = self.used, None
        if self._may_look:
            needed = self._needed()
            new_used = int(needed.sum(dim=1).max())
            if kept is None and new_used * 4 > self.used * 3:
                # Not worth a copy of its own.
                return
            if new_used < self.used:
                # The needed ones to the front. A sentence that needs fewer than others keeps some that nobody sees.
                order = needed.logical_not().sort(dim=1, stable=True).indices
        if order is None and kept is None:
            return
        old_bsz = self.buffers[0].size(1)
        sentences = torch.arange(old_bsz, device=self.slots.device) if kept is None else kept
        if order is None:
            positions = torch.arange(new_used, device=self.slots.device).unsqueeze(1).expand(-1, self.bsz)
        else:
            positions = order[:, :new_used].t()
            new_place = torch.empty_like(order).scatter_(
                1, order, torch.arange(self.used, device=order.device).expand_as(order)
            )
            length = self.length
            own = self.slots[:, :length].reshape(self.bsz, -1)
            self.slots[:, :length] = new_place.gather(1, own).view(-1, length)
        index = (positions * old_bsz + sentences).reshape(-1)
        self.capacity = new_used + self.beam * _ROOM // 2
        self.used = new_used
        for layer, buffer in enumerate(self.buffers):
            moved = self._spare.take(buffer, self.capacity, self.bsz, self.width)
            flat = buffer.view(-1, self.width)
            torch.index_select(flat, 0, index, out=moved.view(-1, self.width)[: index.numel()])
            self.buffers[layer] = moved
            self._spare.leave(buffer)

    def _make_room(self, count: int) -> None:
        if self._may_look:
            self._compact(None)
        if self.used + count <= self.capacity:
            return
        self.capacity = self.used + max(self.beam * _ROOM, self.used // 4)
        for layer, buffer in enumerate(self.buffers):
            larger = buffer.new_empty(self.capacity, *buffer.shape[1:])
            larger[: self.used] = buffer[: self.used]
            self.buffers[layer] = larger
