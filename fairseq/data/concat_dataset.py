"""Several data sets one behind the other."""

import bisect
from collections.abc import Sequence
from typing import Any, Union

import numpy as np
from numpy.typing import NDArray
from torch.utils.data.dataloader import default_collate

from fairseq.data.fairseq_dataset import FairseqDataset

__all__ = ["ConcatDataset"]


class ConcatDataset(FairseqDataset):
    """The samples of all ``datasets``, in order.

    Args:
        datasets: at least one; batching methods come from the first.
        sample_ratios: how often each is repeated, one number for all or one each. Repetitions reuse the samples.

    Raises:
        ValueError: no data set.
    """

    @staticmethod
    def cumsum(sequence: Sequence[Any], sample_ratios: Sequence[Union[int, float]]) -> list[int]:
        """Where each data set ends, counting its repetitions."""
        ends: list[int] = []
        for dataset, ratio in zip(sequence, sample_ratios):
            ends.append((ends[-1] if ends else 0) + int(ratio * len(dataset)))
        return ends

    def __init__(self, datasets: Sequence[Any], sample_ratios: Any = 1) -> None:
        super().__init__()
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset needs at least one data set")
        if isinstance(sample_ratios, (int, float)):
            sample_ratios = [sample_ratios] * len(self.datasets)
        self.sample_ratios = sample_ratios
        self.cumulative_sizes = self.cumsum(self.datasets, sample_ratios)
        self.real_sizes = [len(dataset) for dataset in self.datasets]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, idx: int) -> Any:
        dataset, sample = self._get_dataset_and_sample_index(idx)
        return self.datasets[dataset][sample]

    def _get_dataset_and_sample_index(self, idx: int) -> tuple[int, int]:
        """Which data set holds sample ``idx``, and under which number."""
        dataset = bisect.bisect_right(self.cumulative_sizes, idx)
        first = self.cumulative_sizes[dataset - 1] if dataset else 0
        return dataset, (idx - first) % self.real_sizes[dataset]

    def collater(self, samples: Sequence[Any], **extra_args: Any) -> Any:
        if hasattr(self.datasets[0], "collater"):
            return self.datasets[0].collater(samples, **extra_args)
        return default_collate(list(samples), **extra_args)

    def size(self, idx: int) -> Any:
        dataset, sample = self._get_dataset_and_sample_index(idx)
        return self.datasets[dataset].size(sample)

    def num_tokens(self, index: int) -> int:
        return int(np.max(self.size(index)))

    def attr(self, attr: str, index: int) -> Any:
        dataset = bisect.bisect_right(self.cumulative_sizes, index)
        return getattr(self.datasets[dataset], attr, None)

    @property
    def sizes(self) -> NDArray[Any]:
        """Sizes of all samples, ``(n,)``, or ``(n, 2)`` for pairs."""
        if not hasattr(self, "_sizes"):
            self._sizes = np.concatenate([self._repeated_sizes(number) for number in range(len(self.datasets))])
        return self._sizes

    def _repeated_sizes(self, number: int) -> NDArray[Any]:
        sizes = self.datasets[number].sizes
        if isinstance(sizes, list):
            # Data sets with several size arrays are ordered by the first.
            sizes = sizes[0]
        sizes = np.asarray(sizes)
        count = int(self.sample_ratios[number] * self.real_sizes[number])
        if count == len(sizes):
            return sizes
        return sizes[np.arange(count) % max(1, self.real_sizes[number])]

    @property
    def supports_prefetch(self) -> bool:
        return all(getattr(dataset, "supports_prefetch", False) for dataset in self.datasets)

    def ordered_indices(self) -> NDArray[Any]:
        """Sorted by size, by the target's first and then by the source's if sizes are pairs."""
        if isinstance(self.sizes, np.ndarray) and self.sizes.ndim > 1:
            by_target = np.argsort(self.sizes[:, 1], kind="mergesort")
            return by_target[np.argsort(self.sizes[by_target, 0], kind="mergesort")]
        return np.argsort(self.sizes, kind="stable")

    def prefetch(self, indices: Any) -> None:
        first = 0
        for dataset, end, real in zip(self.datasets, self.cumulative_sizes, self.real_sizes):
            if getattr(dataset, "supports_prefetch", False):
                dataset.prefetch([(index - first) % real for index in indices if first <= index < end])
            first = end

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        return all(dataset.can_reuse_epoch_itr_across_epochs for dataset in self.datasets)

    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        for dataset in self.datasets:
            if hasattr(dataset, "set_epoch"):
                dataset.set_epoch(epoch)
