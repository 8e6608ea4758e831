"""Items rotated."""

from typing import Any

import torch

from fairseq.data.base_wrapper_dataset import BaseWrapperDataset

__all__ = ["RollDataset"]


class RollDataset(BaseWrapperDataset):
    """Items of ``dataset``, each ``(length,)``, with the last ``shifts`` tokens moved to the front."""

    def __init__(self, dataset: Any, shifts: int) -> None:
        super().__init__(dataset)
        self.shifts = shifts

    def __getitem__(self, index: int) -> Any:
        return torch.roll(self.dataset[index], self.shifts)
