"""Batches of sample indices, held as two arrays instead of a list of lists.

A hundred million sentences make millions of batches; as Python objects they would take gigabytes and be copied at each
shuffle. ``Batches`` behaves as a list of index arrays, and turns itself into a real list when it is changed.
"""

from collections.abc import Iterable, Iterator, MutableSequence
from typing import Any, Optional, Union

import numpy as np
from numpy.typing import NDArray

__all__ = ["Batches"]


class Batches(MutableSequence[Any]):
    """Consecutive slices of ``indices``, as a list-like of index arrays.

    Args:
        indices: sample numbers in batching order, ``(n,)``.
        ends: where each batch ends in ``indices``, ``(num_batches,)``, increasing.
        order: the batch numbers shown, in this order; -1 shows an empty batch. ``None`` shows all, as they come.
    """

    def __init__(
        self, indices: NDArray[Any], ends: NDArray[np.int64], order: Optional[NDArray[np.int64]] = None
    ) -> None:
        self._indices = indices
        self._ends = ends
        self._order = order
        self._list: Optional[list[Any]] = None

    def reordered(self, order: NDArray[np.int64]) -> "Batches":
        """These batches in another order; ``order`` holds positions of this object, -1 for an empty batch."""
        if self._list is not None:
            raise TypeError("these batches were changed and are a plain list now; reorder list(batches) instead")
        chosen = order if self._order is None else np.where(order < 0, -1, self._order[order])
        return Batches(self._indices, self._ends, chosen)

    @property
    def is_plain(self) -> bool:
        """Whether the batches were changed, so that they are a list of objects now."""
        return self._list is not None

    def _batch(self, position: int) -> Any:
        number = position if self._order is None else int(self._order[position])
        if number < 0:
            return []
        start = int(self._ends[number - 1]) if number else 0
        return self._indices[start : int(self._ends[number])]

    def _plain(self) -> list[Any]:
        if self._list is None:
            self._list = [self._batch(position) for position in range(len(self))]
        return self._list

    def __len__(self) -> int:
        if self._list is not None:
            return len(self._list)
        return len(self._ends) if self._order is None else len(self._order)

    def __getitem__(self, item: Any) -> Any:
        if self._list is not None:
            return self._list[item]
        if isinstance(item, slice):
            return self.reordered(np.arange(*item.indices(len(self)), dtype=np.int64))
        position = int(item)
        if position < 0:
            position += len(self)
        if not 0 <= position < len(self):
            raise IndexError("batch index out of range")
        return self._batch(position)

    def __iter__(self) -> Iterator[Any]:
        if self._list is not None:
            return iter(self._list)
        return (self._batch(position) for position in range(len(self)))

    def __contains__(self, batch: object) -> bool:
        return any(np.array_equal(own, batch) for own in self)  # type: ignore[arg-type]

    def index(self, batch: Any, start: int = 0, stop: Optional[int] = None) -> int:
        for position in range(*slice(start, stop).indices(len(self))):
            if np.array_equal(self[position], batch):
                return position
        raise ValueError(f"{batch} is not among the batches")

    def count(self, batch: Any) -> int:
        return sum(np.array_equal(own, batch) for own in self)

    def __setitem__(self, item: Any, value: Any) -> None:
        self._plain()[item] = value

    def __delitem__(self, item: Any) -> None:
        del self._plain()[item]

    def insert(self, index: int, value: Any) -> None:
        self._plain().insert(index, value)

    def copy(self) -> "Batches":
        copied = Batches(self._indices, self._ends, self._order)
        copied._list = None if self._list is None else list(self._list)
        return copied

    def sort(self, *, key: Any = None, reverse: bool = False) -> None:
        self._plain().sort(key=key, reverse=reverse)

    def __add__(self, other: Iterable[Any]) -> list[Any]:
        return [*self, *other]

    def __radd__(self, other: Iterable[Any]) -> list[Any]:
        return [*other, *self]

    def __mul__(self, times: int) -> list[Any]:
        return list(self) * times

    __rmul__ = __mul__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (list, tuple, Batches)):
            return NotImplemented
        return len(self) == len(other) and all(
            np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(self, other)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join(str(list(map(int, batch))) for batch in self[:3])
        return f"Batches([{shown}{', ...' if len(self) > 3 else ''}], {len(self)} in all)"


def as_batches(batches: Union[Batches, Iterable[Any]]) -> Any:
    """``batches`` itself if it can be indexed, else a list of it."""
    if isinstance(batches, (Batches, list, tuple)):
        return batches
    return list(batches)
