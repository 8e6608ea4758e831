"""Iterators that know their position and their length."""

import itertools
import logging
import math
from collections.abc import Iterable, Iterator
from typing import Any, Optional

__all__ = ["CountingIterator", "GroupedIterator", "ShardedIterator"]

logger = logging.getLogger("fairseq.data.iterators")


class CountingIterator:
    """Counts what it hands out.

    Args:
        iterable: the source.
        start: the count to begin with; by default the source's own ``n``, else 0.
        total: the count at the end; by default ``start`` plus what the source holds.

    Attributes:
        n: items handed out so far, including ``start``.
        total: see above. ``len()`` is the same.
    """

    def __init__(self, iterable: Iterable[Any], start: Optional[int] = None, total: Optional[int] = None) -> None:
        self._itr = iter(iterable)
        self.n: int = start if start else int(getattr(iterable, "n", 0))
        self.total: int = self.n + len(iterable) if total is None else total  # type: ignore[arg-type]

    def __len__(self) -> int:
        return self.total

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        """The next item.

        Raises:
            IndexError: the source ended before ``total``.
        """
        if not self.has_next():
            raise StopIteration
        try:
            item = next(self._itr)
        except StopIteration:
            raise IndexError(
                f"Iterator expected to have length {self.total}, but exhausted at position {self.n}."
            ) from None
        self.n += 1
        return item

    def has_next(self) -> bool:
        """Whether there is anything left."""
        return self.n < self.total

    def skip(self, n: int) -> "CountingIterator":
        """Throw away the next ``n`` items."""
        for _ in itertools.islice(self, n):
            pass
        return self

    def take(self, n: int) -> "CountingIterator":
        """End at count ``n`` at the latest; the source is told, so that it reads no more than needed."""
        self.total = min(self.total, n)
        if hasattr(self._itr, "take"):
            self._itr.take(max(n - self.n, 0))
        return self


def _chunks(iterable: Iterable[Any], size: int) -> Iterator[list[Any]]:
    source = iter(iterable)
    while chunk := list(itertools.islice(source, size)):
        yield chunk


class GroupedIterator(CountingIterator):
    """Lists of ``chunk_size`` consecutive items (the batches of one update).

    Args:
        iterable: usually a :class:`CountingIterator`; its position carries over.
        chunk_size: items per list.
        skip_remainder_batch: leave out a last list that is shorter.
    """

    def __init__(self, iterable: Any, chunk_size: int, skip_remainder_batch: bool = False) -> None:
        length = len(iterable) / float(chunk_size)
        total = math.floor(length) if skip_remainder_batch else math.ceil(length)
        if skip_remainder_batch and hasattr(iterable, "take"):
            iterable.take(total * chunk_size)
        logger.info("grouped total_num_itrs = %s", total)
        start = math.ceil(getattr(iterable, "n", 0) / float(chunk_size))
        super().__init__(_chunks(iterable, chunk_size), start=start, total=total)
        self.chunk_size = chunk_size


class ShardedIterator(CountingIterator):
    """Every ``num_shards``-th item, beginning with number ``shard_id``; all shards get the same length.

    Args:
        iterable: has a length.
        num_shards: number of workers.
        shard_id: this worker, from 0.
        fill_value: what a shard gets where the others have an item more.
        skip_remainder_batch: leave out the items that do not go round, instead of filling up.

    Raises:
        ValueError: there is no such shard.
    """

    def __init__(
        self,
        iterable: Any,
        num_shards: int,
        shard_id: int,
        fill_value: Any = None,
        skip_remainder_batch: Optional[bool] = None,
    ) -> None:
        if not 0 <= shard_id < num_shards:
            raise ValueError(f"shard_id must be between 0 and {num_shards - 1}, got {shard_id}")
        length = len(iterable) / float(num_shards)
        total = int(length) if skip_remainder_batch else math.ceil(length)
        own = itertools.islice(iterable, shard_id, len(iterable), num_shards)
        filled = itertools.islice(itertools.chain(own, itertools.repeat(fill_value)), total)
        start = math.ceil(getattr(iterable, "n", 0) / float(num_shards))
        super().__init__(filled, start=start, total=total)
