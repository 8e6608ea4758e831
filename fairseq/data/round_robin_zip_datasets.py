"""Several data sets read side by side, the shorter ones again and again."""

import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
from numpy.typing import NDArray

from fairseq.data.fairseq_dataset import FairseqDataset

__all__ = ["RoundRobinZipDatasets"]

logger = logging.getLogger(__name__)


class RoundRobinZipDatasets(FairseqDataset):
    """Sample i is one sample of every data set, by name; there are as many as in the longest.

    Each data set keeps its own order (``ordered_indices``), from which sample ``i mod length`` is taken.

    Args:
        datasets: name -> data set.
        eval_key: give only the samples of this one (for evaluation).
    """

    def __init__(self, datasets: "OrderedDict[str, Any]", eval_key: Optional[str] = None) -> None:
        super().__init__()
        if not isinstance(datasets, dict):
            raise AssertionError(f"RoundRobinZipDatasets expects a dictionary, got {type(datasets).__name__}")
        self.datasets = OrderedDict(datasets)
        self.eval_key = eval_key
        self.longest_dataset_key = max(datasets, key=lambda key: len(datasets[key]))
        self.longest_dataset = datasets[self.longest_dataset_key]
        self._ordered_indices: Optional[OrderedDict[str, NDArray[Any]]] = None

    def _map_index(self, key: str, index: int) -> int:
        if self._ordered_indices is None:
            raise AssertionError("call RoundRobinZipDatasets.ordered_indices() first")
        order = self._ordered_indices[key]
        return order[index % len(order)]

    def __getitem__(self, index: int) -> Any:
        if self.eval_key is not None:
            return self.datasets[self.eval_key][self._map_index(self.eval_key, index)]
        return OrderedDict((key, dataset[self._map_index(key, index)]) for key, dataset in self.datasets.items())

    def __len__(self) -> int:
        if self._ordered_indices is not None:
            return max(len(order) for order in self._ordered_indices.values())
        return len(self.longest_dataset)

    def collater(self, samples: Sequence[Any]) -> Any:
        """A mini-batch per name, or the mini-batch of ``eval_key``; ``None`` for no samples."""
        if len(samples) == 0:
            return None
        if self.eval_key is not None:
            return self.datasets[self.eval_key].collater(samples)
        return OrderedDict(
            (key, dataset.collater([sample[key] for sample in samples])) for key, dataset in self.datasets.items()
        )

    def num_tokens(self, index: int) -> int:
        """The longest of the samples counts."""
        return max(dataset.num_tokens(self._map_index(key, index)) for key, dataset in self.datasets.items())

    def size(self, index: int) -> dict[str, Any]:
        return {key: dataset.size(self._map_index(key, index)) for key, dataset in self.datasets.items()}

    def ordered_indices(self) -> NDArray[np.int64]:
        """Fixes the order of every data set the first time; its own order is as they come."""
        if self._ordered_indices is None:
            self._ordered_indices = OrderedDict((k, dataset.ordered_indices()) for k, dataset in self.datasets.items())
        return np.arange(len(self))

    def filter_indices_by_size(
        self, indices: NDArray[Any], max_positions: Any = None
    ) -> tuple[NDArray[Any], list[int]]:
        """Leave out long samples in each data set; ``max_positions`` may differ by name.

        Returns:
            the new indices, and ``[0]`` if anything was left out (samples have no numbers of their own here).
        """
        if self._ordered_indices is None:
            self.ordered_indices()
        orders: dict[str, NDArray[Any]] = self._ordered_indices or {}
        limits = max_positions if isinstance(max_positions, dict) else dict.fromkeys(self.datasets, max_positions)
        anything = False
        for key, dataset in self.datasets.items():
            kept, ignored = dataset.filter_indices_by_size(orders[key], limits[key])
            if len(kept) == 0:
                raise ValueError(f"every sample of {key} is longer than max_positions={limits[key]}")
            orders[key] = kept
            if len(ignored) > 0:
                anything = True
                logger.warning(
                    "%s samples from %s have invalid sizes and will be skipped, max_positions=%s, "
                    "first few sample ids=%s",
                    len(ignored),
                    key,
                    limits[key],
                    list(ignored[:10]),
                )
        return np.arange(len(self)), [0] if anything else []

    @property
    def supports_prefetch(self) -> bool:
        return all(getattr(dataset, "supports_prefetch", False) for dataset in self.datasets.values())

    def prefetch(self, indices: Any) -> None:
        for key, dataset in self.datasets.items():
            dataset.prefetch([self._map_index(key, index) for index in indices])

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        return all(getattr(dataset, "can_reuse_epoch_itr_across_epochs", True) for dataset in self.datasets.values())

    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        for dataset in self.datasets.values():
            if hasattr(dataset, "set_epoch"):
                dataset.set_epoch(epoch)
