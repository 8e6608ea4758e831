"""The batches of an epoch: their order, this worker's share, and how to take up where one stopped."""

import math
import signal
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Optional

import numpy as np
import torch
import torch.utils.data
from numpy.typing import NDArray

from fairseq.data.batching.batches import Batches, as_batches
from fairseq.data.data_utils import numpy_seed
from fairseq.data.data_utils_fast import shuffle as shuffle_numbers
from fairseq.data.iterators.at_exit import end_before_exit
from fairseq.data.iterators.buffered import BufferedIterator
from fairseq.data.iterators.counting import CountingIterator
from fairseq.utils.processes import worker_context

__all__ = ["EpochBatchIterating", "EpochBatchIterator", "FrozenBatchSampler"]

EMPTY_DATASET = (
    "The dataset is empty. This could indicate that all elements in the dataset have been skipped. Try increasing the "
    "max number of allowed tokens or using a larger dataset."
)


class EpochBatchIterating:
    """What the training loop needs of a source of mini-batches."""

    def __len__(self) -> int:
        raise NotImplementedError

    @property
    def next_epoch_idx(self) -> int:
        """The epoch that :meth:`next_epoch_itr` will give."""
        raise NotImplementedError

    def next_epoch_itr(
        self, shuffle: bool = True, fix_batches_to_gpus: bool = False, set_dataset_epoch: bool = True
    ) -> Any:
        """An iterator over the mini-batches of the next epoch, or over what is left of a resumed one.

        Args:
            shuffle: change the order of batches.
            fix_batches_to_gpus: keep each batch on one worker over the epochs (for data sets that prefetch).
            set_dataset_epoch: tell the data set which epoch begins.
        """
        raise NotImplementedError

    def end_of_epoch(self) -> bool:
        """Whether the latest epoch iterator is exhausted."""
        raise NotImplementedError

    @property
    def iterations_in_epoch(self) -> int:
        """Batches consumed in this epoch."""
        raise NotImplementedError

    @property
    def first_batch(self) -> Any:
        """A mini-batch for tracing shapes; ``"DUMMY"`` where the data set cannot give one here."""
        return "DUMMY"

    def state_dict(self) -> dict[str, Any]:
        """The position, for a checkpoint."""
        raise NotImplementedError

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to a position that :meth:`state_dict` gave."""
        raise NotImplementedError


class FrozenBatchSampler:
    """The batch sampler of a data loader: gives the batches decided for an epoch, as lists of sample numbers.

    Args:
        ordered_batches: ``(epoch, fix_batches_to_gpus, shuffle) -> batches``.
        epoch, fix_batches_to_gpus, shuffle: its arguments.
        initial_offset: leave out so many batches at the beginning.
    """

    def __init__(
        self,
        ordered_batches: Callable[[int, bool, bool], Sequence[Any]],
        epoch: int,
        fix_batches_to_gpus: bool,
        shuffle: bool,
        initial_offset: int,
    ) -> None:
        self.ordered_batches = ordered_batches
        self.fix_batches_to_gpus = fix_batches_to_gpus
        self.shuffle = shuffle
        self.batches: Sequence[Any] = []
        self.make_batches_for_epoch(epoch, initial_offset)

    def make_batches_for_epoch(self, epoch: int, offset: int = 0) -> None:
        """Decide the batches of another epoch."""
        self.batches = self.ordered_batches(epoch, self.fix_batches_to_gpus, self.shuffle)
        if offset > 0:
            self.batches = self.batches[offset:]

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.batches:
            yield batch.tolist() if isinstance(batch, np.ndarray) else batch

    def __len__(self) -> int:
        return len(self.batches)


class WeakCall:
    """Calls a bound method without keeping its object alive."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method: Any = weakref.WeakMethod(method)

    def __call__(self, *args: Any) -> Any:
        method = self._method()
        if method is None:
            raise ReferenceError("the epoch iterator that made this sampler is gone")
        return method(*args)


def leave_interrupts_to_parent(worker_id: int) -> None:
    """Data-loader workers end with their parent; Ctrl-C should not print one traceback per worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class EpochFollower(torch.utils.data.Dataset[Any]):
    """A data set for workers that outlive an epoch: they learn of a new one through shared memory."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self._announced = torch.zeros(1, dtype=torch.long).share_memory_()
        self._seen = 0

    def announce(self, epoch: int) -> None:
        self._announced.fill_(epoch)
        self._seen = epoch

    def __getitem__(self, index: int) -> Any:
        epoch = int(self._announced)
        if epoch != self._seen:
            self._seen = epoch
            self.dataset.set_epoch(epoch)
        return self.dataset[index]

    def __len__(self) -> int:
        return len(self.dataset)


class EpochBatchIterator(EpochBatchIterating):
    """Epochs over a data set whose batches are decided in advance; resumable at any batch.

    Args:
        dataset: anything with ``__getitem__``.
        collate_fn: list of samples -> mini-batch.
        batch_sampler: the batches, as a sequence of index sequences, or a function ``(dataset, epoch) -> batches``.
        seed: epoch ``e`` is shuffled with ``seed + e``.
        num_shards, shard_id: number of workers and this one; all get the same number of batches, empty ones if needed.
        num_workers: data-loader processes; 0 reads in this one.
        epoch: the first epoch, from 1.
        buffer_size: batches a thread reads ahead; 0 for no thread.
        timeout: seconds to wait for a worker's batch; 0 for ever.
        disable_shuffling: never shuffle.
        skip_remainder_batch: leave out the last batch of every epoch.
        grouped_shuffling: keep runs of ``num_shards`` batches, which have similar lengths, together.
        reuse_dataloader: keep the data loader (and its processes) from epoch to epoch.
        persistent_workers: keep worker processes alive with their data loader.
    """

    def __init__(
        self,
        dataset: Any,
        collate_fn: Callable[[list[Any]], Any],
        batch_sampler: Any,
        seed: int = 1,
        num_shards: int = 1,
        shard_id: int = 0,
        num_workers: int = 0,
        epoch: int = 1,
        buffer_size: int = 0,
        timeout: int = 0,
        disable_shuffling: bool = False,
        skip_remainder_batch: bool = False,
        grouped_shuffling: bool = False,
        reuse_dataloader: bool = False,
        persistent_workers: bool = True,
    ) -> None:
        if not isinstance(dataset, torch.utils.data.Dataset):
            raise AssertionError(f"expected a torch.utils.data.Dataset, got {type(dataset).__name__}")
        self.dataset: Any = dataset
        self.collate_fn = collate_fn
        self.batch_sampler = batch_sampler
        self._frozen_batches = None if callable(batch_sampler) else as_batches(batch_sampler)
        self.num_workers = num_workers
        self.num_shards, self.shard_id = num_shards, shard_id
        self.seed = seed
        # Upper limit so that a large --data-buffer-size does not hold many batches in pinned memory.
        self.buffer_size = min(buffer_size, 20)
        self.grouped_shuffling = grouped_shuffling
        self.skip_remainder_batch = skip_remainder_batch
        self.timeout = timeout
        self.disable_shuffling = disable_shuffling
        self.epoch = max(epoch, 1)
        self.shuffle = not disable_shuffling
        self.reuse_dataloader = reuse_dataloader
        self.persistent_workers = persistent_workers
        self.dataloader: Any = None
        self.epoch_batch_sampler: Optional[FrozenBatchSampler] = None
        self._follower: Optional[EpochFollower] = None
        # A resumed run makes its loader as the run before it did.
        self._kind_of_order: Optional[bool] = None
        self._cur_epoch_itr: Optional[CountingIterator] = None
        self._next_epoch_itr: Optional[CountingIterator] = None

    @property
    def frozen_batches(self) -> Sequence[Any]:
        """All batches of all shards, in the order they were made."""
        if self._frozen_batches is None:
            self._frozen_batches = as_batches(self.batch_sampler(self.dataset, self.epoch))
        return self._frozen_batches

    @property
    def first_batch(self) -> Any:
        if len(self.frozen_batches) == 0:
            raise Exception(EMPTY_DATASET)
        if not getattr(self.dataset, "supports_fetch_outside_dataloader", True):
            return "DUMMY"
        indices = [int(i) for i in self.frozen_batches[0]]
        if getattr(self.dataset, "supports_prefetch", False):
            self.dataset.prefetch(indices)
        return self.collate_fn([self.dataset[i] for i in indices])

    def __len__(self) -> int:
        return math.ceil(len(self.frozen_batches) / float(self.num_shards))

    @property
    def n(self) -> int:
        return self.iterations_in_epoch

    @property
    def next_epoch_idx(self) -> int:
        if self._next_epoch_itr is not None:
            return self.epoch
        if self._cur_epoch_itr is not None and self.end_of_epoch():
            return self.epoch + 1
        return self.epoch

    def next_epoch_itr(
        self, shuffle: bool = True, fix_batches_to_gpus: bool = False, set_dataset_epoch: bool = True
    ) -> CountingIterator:
        shuffle = shuffle and not self.disable_shuffling
        previous, self.epoch = self.epoch, self.next_epoch_idx
        if set_dataset_epoch and hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(self.epoch)
        if self._next_epoch_itr is not None:
            current, self._next_epoch_itr = self._next_epoch_itr, None
        else:
            if callable(self.batch_sampler) and previous != self.epoch:
                self._frozen_batches = None
            current = self._iterator_for_epoch(self.epoch, shuffle, fix_batches_to_gpus)
        self._cur_epoch_itr = current
        self.shuffle = shuffle
        return current

    def end_of_epoch(self) -> bool:
        return self._cur_epoch_itr is not None and not self._cur_epoch_itr.has_next()

    @property
    def iterations_in_epoch(self) -> int:
        iterator = self._cur_epoch_itr if self._cur_epoch_itr is not None else self._next_epoch_itr
        return 0 if iterator is None else iterator.n

    def state_dict(self) -> dict[str, Any]:
        finished = self.end_of_epoch()
        return {
            "version": 2,
            "epoch": self.epoch + 1 if finished else self.epoch,
            "iterations_in_epoch": 0 if finished else self.iterations_in_epoch,
            "shuffle": self.shuffle,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to a saved position; batches already used are left out without being read.

        Raises:
            RuntimeError: the position is behind the last batch.
        """
        self.epoch = state_dict["epoch"]
        self._cur_epoch_itr = None
        self._next_epoch_itr = None
        offset = state_dict.get("iterations_in_epoch", 0)
        if offset == 0:
            return
        if offset < self._batches_per_epoch():
            shuffle = state_dict.get("shuffle", True)
            self.shuffle = shuffle
            self._next_epoch_itr = self._iterator_for_epoch(self.epoch, shuffle, offset=offset)
        elif state_dict.get("version", 1) == 1:
            # Old checkpoints count a finished epoch as this epoch's last position.
            self.epoch += 1
        else:
            raise RuntimeError(
                "Cannot resume training due to dataloader mismatch, please report this to the fairseq developers. "
                "You can relaunch training with --reset-dataloader and it should work. (The checkpoint is at batch "
                f"{offset} of epoch {self.epoch}, which now has {self._batches_per_epoch()}.)"
            )

    def _batches_per_epoch(self) -> int:
        """Batches of this shard in an epoch, without those that shuffling in groups leaves out."""
        if self.grouped_shuffling:
            return len(self.frozen_batches) // self.num_shards
        return len(self)

    @property
    def kind_of_order(self) -> Optional[bool]:
        """Whether the loader that is kept from epoch to epoch shuffles; ``None`` if there is none."""
        return None if self.epoch_batch_sampler is None else self.epoch_batch_sampler.shuffle

    def continue_order(self, shuffles: Optional[bool]) -> None:
        """Let a loader that is made from now on, and kept, be of this kind, whatever is asked for then."""
        self._kind_of_order = shuffles

    def ordered_batches(self, epoch: int, fix_batches_to_gpus: bool, shuffle: bool) -> Sequence[Any]:
        """This shard's batches in the order of ``epoch``; what other shards have more is filled with empty ones."""
        frozen = self.frozen_batches
        order: NDArray[np.int64] = np.arange(len(frozen), dtype=np.int64)
        if not getattr(self.dataset, "supports_prefetch", False):
            if shuffle:
                order = self._shuffled(order, self.seed + epoch)
            return select_batches(frozen, self._shard(order))
        if shuffle and not fix_batches_to_gpus:
            order = self._shuffled(order, self.seed + epoch)
        order = self._shard(order)
        self.dataset.prefetch([int(i) for batch in select_batches(frozen, order) for i in batch])
        if shuffle and fix_batches_to_gpus:
            order = self._shuffled(order, self.seed + epoch + self.shard_id)
        return select_batches(frozen, order)

    def _shuffled(self, order: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
        with numpy_seed(seed):
            if not self.grouped_shuffling:
                shuffle_numbers(order)
                return order
            groups = len(order) // self.num_shards
            chosen = np.arange(groups)
            np.random.shuffle(chosen)
        return order[: groups * self.num_shards].reshape(groups, self.num_shards)[chosen].reshape(-1)

    def _shard(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        own = order[self.shard_id :: self.num_shards]
        missing = math.ceil(len(order) / self.num_shards) - len(own)
        return np.concatenate([own, np.full(missing, -1, dtype=np.int64)]) if missing else own

    def _iterator_for_epoch(
        self, epoch: int, shuffle: bool, fix_batches_to_gpus: bool = False, offset: int = 0
    ) -> CountingIterator:
        loader = self._loader_for_epoch(epoch, shuffle, fix_batches_to_gpus, offset)
        source: Any = loader if self.buffer_size == 0 else BufferedIterator(self.buffer_size, loader)
        counting = CountingIterator(source, start=offset)
        if self.skip_remainder_batch:
            counting.take(len(counting) - 1)
        return counting

    def _loader_for_epoch(self, epoch: int, shuffle: bool, fix_batches_to_gpus: bool, offset: int) -> Any:
        if self.reuse_dataloader and self.dataloader is not None and self.epoch_batch_sampler is not None:
            # The order of a reused loader stays of the kind it was made with, shuffled or not: runs with --curriculum
            # are compared number by number with those of earlier releases, where it does.
            sampler = self.epoch_batch_sampler
            sampler.fix_batches_to_gpus = fix_batches_to_gpus
            sampler.make_batches_for_epoch(epoch, offset)
            if self._follower is not None:
                self._follower.announce(epoch)
            return self.dataloader
        if self.reuse_dataloader and self._kind_of_order is not None:
            shuffle = self._kind_of_order
        # A weak reference: the loader that this object keeps must not keep this object, or worker processes would live
        # on until the garbage collector comes by.
        sampler = FrozenBatchSampler(WeakCall(self.ordered_batches), epoch, fix_batches_to_gpus, shuffle, offset)
        lasting = self.persistent_workers and self.num_workers > 0
        dataset: Any = self.dataset
        if lasting and self.reuse_dataloader and hasattr(self.dataset, "set_epoch"):
            self._follower = dataset = EpochFollower(self.dataset)
            self._follower.announce(epoch)
        loader = torch.utils.data.DataLoader(
            dataset,
            collate_fn=self.collate_fn,
            batch_sampler=sampler,
            num_workers=self.num_workers,
            timeout=self.timeout if self.num_workers > 0 else 0,
            multiprocessing_context=worker_context() if self.num_workers > 0 else None,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=lasting and self.reuse_dataloader,
            worker_init_fn=leave_interrupts_to_parent if self.num_workers > 0 else None,
        )
        if self.num_workers > 0:
            end_before_exit(loader=loader)
        if self.reuse_dataloader:
            self.dataloader = loader
            self.epoch_batch_sampler = sampler
        return loader


def select_batches(batches: Sequence[Any], order: NDArray[np.int64]) -> Sequence[Any]:
    """``batches`` in another order; -1 gives an empty batch."""
    if isinstance(batches, Batches) and not batches.is_plain:
        return batches.reordered(order)
    return [batches[number] if number >= 0 else [] for number in order.tolist()]
