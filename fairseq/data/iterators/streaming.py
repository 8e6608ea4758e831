"""Mini-batches from a stream, where samples have no numbers."""

from collections.abc import Callable, Iterable
from typing import Any, Optional

import torch
import torch.utils.data

from fairseq.data.iterators.buffered import BufferedIterator
from fairseq.data.iterators.counting import CountingIterator
from fairseq.data.iterators.epoch import EpochBatchIterating, leave_interrupts_to_parent
from fairseq.utils.processes import worker_context

__all__ = ["StreamingEpochBatchIterator"]

_NOTHING = object()


class _UnknownLength(CountingIterator):
    """Counts items of a source that cannot tell its length, by holding the next one."""

    def __init__(self, iterable: Iterable[Any]) -> None:
        super().__init__(iterable, start=0, total=0)
        self._limit: Optional[int] = None
        self._ahead: Any = next(self._itr, _NOTHING)
        self.total = self.n + (self._ahead is not _NOTHING)

    def has_next(self) -> bool:
        return self._ahead is not _NOTHING and (self._limit is None or self.n < self._limit)

    def __next__(self) -> Any:
        if not self.has_next():
            raise StopIteration
        item, self._ahead = self._ahead, next(self._itr, _NOTHING)
        self.n += 1
        self.total = self.n + self.has_next()
        return item

    def take(self, n: int) -> "CountingIterator":
        self._limit = n if self._limit is None else min(self._limit, n)
        return self


class StreamingEpochBatchIterator(EpochBatchIterating):
    """Epochs over an ``IterableDataset``.

    Args:
        dataset: the stream; ``set_epoch`` is called before each epoch.
        max_sentences: samples per batch.
        collate_fn: list of samples -> mini-batch.
        epoch: the first epoch, from 1.
        num_workers: data-loader processes; the stream shares its samples out among them.
        buffer_size: batches a thread reads ahead.
        timeout: seconds to wait for a worker's batch; 0 for ever.
        persistent_workers: for symmetry with ``EpochBatchIterator``; workers live as long as their epoch.

    A resumed epoch reads the batches that were used already and throws them away.
    """

    def __init__(
        self,
        dataset: Any,
        max_sentences: int = 1,
        collate_fn: Optional[Callable[[list[Any]], Any]] = None,
        epoch: int = 1,
        num_workers: int = 0,
        buffer_size: int = 0,
        timeout: int = 0,
        persistent_workers: bool = True,
    ) -> None:
        if not isinstance(dataset, torch.utils.data.IterableDataset):
            raise AssertionError(f"expected a torch.utils.data.IterableDataset, got {type(dataset).__name__}")
        self.dataset = dataset
        self.max_sentences = max_sentences
        self.collate_fn = collate_fn
        self.epoch = max(epoch, 1)
        self.num_workers = num_workers
        self.persistent_workers = persistent_workers
        # As for EpochBatchIterator.
        self.buffer_size = min(buffer_size, 20)
        self.timeout = timeout
        self._current: Optional[CountingIterator] = None
        self._offset = 0

    @property
    def next_epoch_idx(self) -> int:
        return self.epoch + 1 if self._current is not None and self.end_of_epoch() else self.epoch

    def next_epoch_itr(
        self, shuffle: bool = True, fix_batches_to_gpus: bool = False, set_dataset_epoch: bool = True
    ) -> CountingIterator:
        self.epoch = self.next_epoch_idx
        if set_dataset_epoch and hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(self.epoch)
        self._current = self._iterator()
        self._current.skip(self._offset)
        self._offset = 0
        return self._current

    def _iterator(self) -> CountingIterator:
        loader: Any = torch.utils.data.DataLoader(
            self.dataset,
            batch_size=self.max_sentences,
            collate_fn=self.collate_fn,
            num_workers=self.num_workers,
            timeout=self.timeout if self.num_workers > 0 else 0,
            multiprocessing_context=worker_context() if self.num_workers > 0 else None,
            worker_init_fn=getattr(self.dataset, "worker_init_fn", None) or leave_interrupts_to_parent,
            pin_memory=torch.cuda.is_available(),
        )
        try:
            total = len(loader)
        except TypeError:
            return _UnknownLength(self._read_ahead(iter(loader)))
        return CountingIterator(self._read_ahead(loader), start=0, total=total)

    def _read_ahead(self, batches: Iterable[Any]) -> Iterable[Any]:
        return BufferedIterator(self.buffer_size, batches) if self.buffer_size > 0 else batches

    def end_of_epoch(self) -> bool:
        return self._current is not None and not self._current.has_next()

    @property
    def iterations_in_epoch(self) -> int:
        return self._offset if self._current is None else self._current.n

    def state_dict(self) -> dict[str, Any]:
        finished = self.end_of_epoch()
        return {
            "version": 2,
            "epoch": self.epoch + 1 if finished else self.epoch,
            "iterations_in_epoch": 0 if finished else self.iterations_in_epoch,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epoch = state_dict["epoch"]
        self._offset = state_dict.get("iterations_in_epoch", 0)
        self._current = None
