"""Items of several data sets joined to one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from fairseq.data.fairseq_dataset import FairseqDataset

__all__ = ["ConcatSentencesDataset"]


class ConcatSentencesDataset(FairseqDataset):
    """Item i is the items i of all ``datasets``, one behind the other; batching is the first one's.

    Raises:
        AssertionError: unequal numbers of samples.
    """

    def __init__(self, *datasets: Any) -> None:
        super().__init__()
        self.datasets = datasets
        if any(len(dataset) != len(datasets[0]) for dataset in datasets):
            raise AssertionError(f"datasets must have the same length, got {[len(dataset) for dataset in datasets]}")

    def __getitem__(self, index: int) -> Any:
        return torch.cat([dataset[index] for dataset in self.datasets])

    def __len__(self) -> int:
        return len(self.datasets[0])

    def collater(self, samples: Sequence[Any]) -> Any:
        return self.datasets[0].collater(samples)

    @property
    def sizes(self) -> Any:
        return sum(np.asarray(dataset.sizes) for dataset in self.datasets)

    def num_tokens(self, index: int) -> int:
        return sum(dataset.num_tokens(index) for dataset in self.datasets)

    def size(self, index: int) -> Any:
        return sum(dataset.size(index) for dataset in self.datasets)

    def ordered_indices(self) -> Any:
        return self.datasets[0].ordered_indices()

    @property
    def supports_prefetch(self) -> bool:
        return any(getattr(dataset, "supports_prefetch", False) for dataset in self.datasets)

    def prefetch(self, indices: Any) -> None:
        for dataset in self.datasets:
            if getattr(dataset, "supports_prefetch", False):
                dataset.prefetch(indices)

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        return all(getattr(dataset, "can_reuse_epoch_itr_across_epochs", True) for dataset in self.datasets)

    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        for dataset in self.datasets:
            if hasattr(dataset, "set_epoch"):
                dataset.set_epoch(epoch)
