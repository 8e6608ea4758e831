"""Items cut to a maximal length."""

from typing import Any, Optional

import numpy as np
from torch import Tensor

from fairseq.data.base_wrapper_dataset import BaseWrapperDataset
from fairseq.data.data_utils import numpy_seed

__all__ = ["RandomCropDataset", "TruncateDataset", "maybe_shorten_dataset"]


class TruncateDataset(BaseWrapperDataset):
    """The first ``truncation_length`` tokens of each item."""

    def __init__(self, dataset: Any, truncation_length: int) -> None:
        super().__init__(dataset)
        if truncation_length is None:
            raise ValueError("TruncateDataset needs a truncation_length")
        self.truncation_length = truncation_length

    def __getitem__(self, index: int) -> Tensor:
        return self.dataset[index][: self.truncation_length]

    @property
    def sizes(self) -> Any:
        return np.minimum(self.dataset.sizes, self.truncation_length)

    def __len__(self) -> int:
        return len(self.dataset)


class RandomCropDataset(TruncateDataset):
    """``truncation_length`` consecutive tokens of each item, from a place that depends on seed, epoch and index."""

    def __init__(self, dataset: Any, truncation_length: int, seed: int = 1) -> None:
        super().__init__(dataset, truncation_length)
        self.seed = seed
        self.epoch = 0

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        # Items change with the epoch, their sizes do not.
        return True

    def set_epoch(self, epoch: int, **unused: Any) -> None:
        super().set_epoch(epoch)
        self.epoch = epoch

    def __getitem__(self, index: int) -> Tensor:
        item = self.dataset[index]
        excess = len(item) - self.truncation_length
        if excess <= 0:
            return item
        with numpy_seed(self.seed, self.epoch, index):
            start = np.random.randint(0, excess)
        return item[start : start + self.truncation_length]


def maybe_shorten_dataset(
    dataset: Any,
    split: str,
    shorten_data_split_list: str,
    shorten_method: Optional[str],
    tokens_per_sample: int,
    seed: int,
) -> Any:
    """Apply ``--shorten-method`` if ``split`` is among ``--shorten-data-split-list`` (comma list, empty: all)."""
    chosen = not shorten_data_split_list or split in shorten_data_split_list.split(",")
    if chosen and shorten_method == "truncate":
        return TruncateDataset(dataset, tokens_per_sample)
    if chosen and shorten_method == "random_crop":
        return RandomCropDataset(dataset, tokens_per_sample, seed)
    return dataset
