"""Batches of one of several data sets, chosen anew for each."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Optional

import numpy as np
from numpy.typing import NDArray

from fairseq.data.fairseq_dataset import FairseqDataset

__all__ = ["MultiCorpusSampledDataset", "uniform_sampler"]


def uniform_sampler(x: Sequence[Any]) -> Any:
    """One of ``x``, each as probable, by numpy's global generator."""
    return np.random.choice(x, 1).item()


class MultiCorpusSampledDataset(FairseqDataset):
    """Sample i is one sample of every data set; a batch keeps those of the one that ``sampling_func`` picks.

    Args:
        datasets: name -> data set.
        sampling_func: list of names -> name; a uniform draw by default.
    """

    def __init__(
        self, datasets: "OrderedDict[str, Any]", sampling_func: Optional[Callable[[Sequence[str]], str]] = None
    ) -> None:
        super().__init__()
        if not isinstance(datasets, dict):
            raise AssertionError(f"MultiCorpusSampledDataset expects a dictionary, got {type(datasets).__name__}")
        self.datasets = OrderedDict(datasets)
        self.sampling_func = sampling_func if sampling_func is not None else uniform_sampler
        self.total_num_instances = sum(len(dataset) for dataset in self.datasets.values())
        self._ordered_indices: Optional[OrderedDict[str, NDArray[Any]]] = None

    def __len__(self) -> int:
        return self.total_num_instances

    def ordered_indices(self) -> NDArray[np.int64]:
        """Fixes the order of every data set the first time; its own order is as they come."""
        if self._ordered_indices is None:
            self._ordered_indices = OrderedDict((k, dataset.ordered_indices()) for k, dataset in self.datasets.items())
        return np.arange(len(self))

    def _map_index(self, key: str, index: int) -> int:
        if self._ordered_indices is None:
            raise AssertionError("call MultiCorpusSampledDataset.ordered_indices() first")
        order = self._ordered_indices[key]
        return order[index % len(order)]

    def __getitem__(self, index: int) -> Any:
        return OrderedDict((key, dataset[self._map_index(key, index)]) for key, dataset in self.datasets.items())

    def collater(self, samples: Sequence[Any]) -> Any:
        """The mini-batch of one data set; ``None`` for no samples."""
        if len(samples) == 0:
            return None
        key = self.sampling_func(list(self.datasets.keys()))
        return self.datasets[key].collater([sample[key] for sample in samples])

    def num_tokens(self, index: int) -> int:
        """The longest of the samples counts."""
        return max(dataset.num_tokens(self._map_index(key, index)) for key, dataset in self.datasets.items())

    def size(self, index: int) -> Any:
        return max(dataset.size(self._map_index(key, index)) for key, dataset in self.datasets.items())

    @property
    def supports_fetch_outside_dataloader(self) -> bool:
        return all(getattr(d, "supports_fetch_outside_dataloader", True) for d in self.datasets.values())

    @property
    def supports_prefetch(self) -> bool:
        return all(getattr(dataset, "supports_prefetch", False) for dataset in self.datasets.values())

    def prefetch(self, indices: Any) -> None:
        for key, dataset in self.datasets.items():
            dataset.prefetch([self._map_index(key, index) for index in indices])

    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        for dataset in self.datasets.values():
            if hasattr(dataset, "set_epoch"):
                dataset.set_epoch(epoch)
