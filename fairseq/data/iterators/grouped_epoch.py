"""Several lists of batches, of which a training step takes from one only."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fairseq.data.batching.batches import as_batches
from fairseq.data.data_utils import numpy_seed
from fairseq.data.iterators.epoch import EMPTY_DATASET, EpochBatchIterator

__all__ = ["GroupedEpochBatchIterator"]


class GroupedEpochBatchIterator(EpochBatchIterator):
    """Batches come in runs of ``mult_rate * num_shards`` from one of ``batch_samplers`` (one language pair, say).

    Each list is cut to a multiple of that run length. Arguments as for :class:`EpochBatchIterator`.
    """

    def __init__(
        self,
        dataset: Any,
        collate_fn: Callable[[list[Any]], Any],
        batch_samplers: Sequence[Any],
        seed: int = 1,
        num_shards: int = 1,
        shard_id: int = 0,
        num_workers: int = 0,
        epoch: int = 0,
        mult_rate: int = 1,
        buffer_size: int = 0,
        skip_remainder_batch: bool = False,
    ) -> None:
        super().__init__(
            dataset,
            collate_fn,
            batch_samplers,
            buffer_size=buffer_size,
            epoch=epoch,
            num_shards=num_shards,
            num_workers=num_workers,
            seed=seed,
            shard_id=shard_id,
            skip_remainder_batch=skip_remainder_batch,
        )
        self.epoch = epoch
        self._frozen_batches = [as_batches(sampler) for sampler in batch_samplers]
        self.step_size = mult_rate * num_shards
        self.lengths = [len(batches) // self.step_size * self.step_size for batches in self.frozen_batches]

    def __len__(self) -> int:
        return sum(self.lengths) // self.num_shards

    @property
    def first_batch(self) -> Any:
        if not any(len(batches) for batches in self.frozen_batches):
            raise Exception(EMPTY_DATASET)
        if not getattr(self.dataset, "supports_fetch_outside_dataloader", True):
            return "DUMMY"
        batches = next(batches for batches in self.frozen_batches if len(batches))
        return self.collate_fn([self.dataset[i] for i in batches[0]])

    def ordered_batches(self, epoch: int, fix_batches_to_gpus: bool, shuffle: bool) -> Sequence[Any]:
        own_seed = self.seed + epoch
        if getattr(self.dataset, "supports_prefetch", False):
            batches = self._whole_runs(own_seed, shuffle and not fix_batches_to_gpus)
            batches = batches[self.shard_id :: self.num_shards]
            self.dataset.prefetch([i for batch in batches for i in batch])
            if shuffle and fix_batches_to_gpus:
                with numpy_seed(own_seed + self.shard_id):
                    np.random.shuffle(batches)
            return batches
        return self._whole_runs(own_seed, shuffle)[self.shard_id :: self.num_shards]

    def _whole_runs(self, seed: int, shuffle: bool) -> list[Any]:
        lists = [list(batches) for batches in self.frozen_batches]
        if shuffle:
            for batches in lists:
                with numpy_seed(seed):
                    np.random.shuffle(batches)
        joined = list(itertools.chain.from_iterable(b[:length] for b, length in zip(lists, self.lengths)))
        if not shuffle:
            return joined
        step = self.step_size
        with numpy_seed(seed):
            runs = np.random.permutation(len(joined) // step)
        return [batch for run in runs.tolist() for batch in joined[run * step : (run + 1) * step]]
