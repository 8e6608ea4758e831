"""A mixture of data sets in given shares, sampled anew in every epoch."""

import bisect
import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
from numpy.typing import NDArray

from fairseq.data.data_utils import numpy_seed
from fairseq.data.fairseq_dataset import FairseqDataset

__all__ = ["MultiCorpusDataset"]

logger = logging.getLogger(__name__)


class MultiCorpusDataset(FairseqDataset):
    """As many samples per epoch as all data sets have together, of each according to its share.

    Args:
        datasets: name -> data set.
        distribution: share of each, in the order of ``datasets``, adding up to 1; a share of 0 leaves one out.
        seed: of the draws, together with the epoch.
        sort_indices: batch samples of similar size together.
        batch_sample: batches hold samples of one data set only.
        distributed_rank: with ``batch_sample``, workers go through the batches in different orders.

    Raises:
        AssertionError: numbers of shares and data sets differ.
    """

    def __init__(
        self,
        datasets: "OrderedDict[str, Any]",
        distribution: Sequence[float],
        seed: int,
        sort_indices: bool = False,
        batch_sample: bool = False,
        distributed_rank: Optional[int] = None,
    ) -> None:
        super().__init__()
        if not isinstance(datasets, dict) or len(distribution) != len(datasets):
            raise AssertionError(f"{len(distribution)} shares for {len(datasets)} data sets")
        self.datasets = OrderedDict(datasets)
        self.distribution = distribution
        self.seed = seed
        self.sort_indices = sort_indices
        self.batch_sample = batch_sample
        self.distributed_rank = distributed_rank
        self.epoch = 1
        self.dataset_list = list(self.datasets.values())
        self.num_instances_per_dataset = [
            0 if share == 0 else len(dataset) for share, dataset in zip(distribution, self.dataset_list)
        ]
        ends = np.cumsum(self.num_instances_per_dataset)
        self.dataset_offsets = [0, *ends[:-1].tolist()]
        self.total_num_instances = int(ends[-1])

    def __len__(self) -> int:
        return self.total_num_instances

    def ordered_indices(self) -> NDArray[np.int64]:
        """This epoch's samples, shuffled, or with ``sort_indices`` by size."""
        keys = list(self.datasets)
        with numpy_seed(self.seed, self.epoch):
            logger.info("sampling new dataset with seed %s epoch %s", self.seed, self.epoch)
            chosen: list[NDArray[np.int64]] = []
            missing = self.total_num_instances
            for number, share in enumerate(self.distribution):
                if share == 0:
                    continue
                is_last = number == len(keys) - 1
                wanted = missing if is_last else int(share * self.total_num_instances)
                logger.info("sampling %s from %s dataset", wanted, keys[number])
                missing -= wanted
                chosen.append(self._sample(number, wanted))
            indices = np.concatenate(chosen)
            np.random.shuffle(indices)
        if self.sort_indices:
            sizes = [self.num_tokens(int(index)) for index in indices]
            indices = indices[np.argsort(sizes, kind="stable")]
        return indices.astype(np.int64)

    def _sample(self, number: int, wanted: int) -> NDArray[np.int64]:
        """``wanted`` samples of a data set: all of them as often as they go in whole, and a random part."""
        size, offset = self.num_instances_per_dataset[number], self.dataset_offsets[number]
        copies = wanted // size
        part = np.random.permutation(size)[: wanted - copies * size]
        return np.concatenate([np.repeat(np.arange(size), copies), part]) + offset

    def _map_index(self, index: int) -> tuple[int, str]:
        """The number in its data set, and the name of that."""
        number = bisect.bisect_right(self.dataset_offsets, index) - 1
        # Of several data sets that begin at the same place, all but the last are empty.
        return index - self.dataset_offsets[number], list(self.datasets)[number]

    def __getitem__(self, index: int) -> Any:
        return self.getitem(index)

    def getitem(self, index: int) -> Any:
        """A sample; ``full_id`` in it is its number in the mixture, ``id`` that in its data set."""
        own, key = self._map_index(index)
        item = self.datasets[key][own]
        item["full_id"] = index
        return item

    def getitems(self, indices: Sequence[int]) -> list[Any]:
        """Several samples."""
        return [self.getitem(index) for index in indices]

    def collater(self, samples: Sequence[Any]) -> Any:
        """A mini-batch, by the data set of the first sample; ``None`` for no samples."""
        if len(samples) == 0:
            return None
        _, key = self._map_index(samples[0]["full_id"] if "full_id" in samples[0] else samples[0]["id"])
        return self.datasets[key].collater(samples)

    def num_tokens(self, index: int) -> int:
        own, key = self._map_index(index)
        return self.datasets[key].num_tokens(own)

    def size(self, index: int) -> Any:
        own, key = self._map_index(index)
        return self.datasets[key].size(own)

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        return False

    def set_epoch(self, epoch: int, **unused: Any) -> None:
        super().set_epoch(epoch)
        logger.info("setting epoch of multi_corpus_dataset to %s", epoch)
        self.epoch = epoch
        for dataset in self.dataset_list:
            if hasattr(dataset, "set_epoch"):
                dataset.set_epoch(epoch)

    @property
    def supports_prefetch(self) -> bool:
        return False

    @property
    def supports_fetch_outside_dataloader(self) -> bool:
        return all(getattr(dataset, "supports_fetch_outside_dataloader", True) for dataset in self.dataset_list)

    def batch_by_size(
        self,
        indices: NDArray[Any],
        max_tokens: Optional[int] = None,
        max_sentences: Optional[int] = None,
        required_batch_size_multiple: int = 1,
    ) -> Sequence[Any]:
        if not self.batch_sample:
            return super().batch_by_size(indices, max_tokens, max_sentences, required_batch_size_multiple)
        indices = np.asarray(indices)
        owners = np.searchsorted(self.dataset_offsets, indices, side="right") - 1
        batches: list[Any] = []
        for number, key in enumerate(self.datasets):
            own = super().batch_by_size(
                indices[owners == number], max_tokens, max_sentences, required_batch_size_multiple
            )
            logger.info("Created %s batches for dataset %s", len(own), key)
            batches.extend(own)
        if self.distributed_rank is not None:
            with numpy_seed(self.seed, self.epoch, self.distributed_rank):
                np.random.shuffle(batches)  # type: ignore[arg-type]
        return batches
