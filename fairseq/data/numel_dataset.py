"""How many tokens items have."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from fairseq.data.base_wrapper_dataset import BaseWrapperDataset

__all__ = ["NumelDataset"]


class NumelDataset(BaseWrapperDataset):
    """Lengths of the items of ``dataset``; a batch is their tensor ``(batch,)``, or with ``reduce`` their sum."""

    def __init__(self, dataset: Any, reduce: bool = False) -> None:
        super().__init__(dataset)
        self.reduce = reduce

    def __getitem__(self, index: int) -> Any:
        item = self.dataset[index]
        return item.numel() if torch.is_tensor(item) else np.size(item)

    def __len__(self) -> int:
        return len(self.dataset)

    def collater(self, samples: Sequence[Any]) -> Any:
        return sum(samples) if self.reduce else torch.tensor(samples)
