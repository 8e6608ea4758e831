"""The numbers of samples."""

from collections.abc import Sequence
from typing import Any

import torch

from fairseq.data.fairseq_dataset import FairseqDataset

__all__ = ["IdDataset"]


class IdDataset(FairseqDataset):
    """Every item is its own number. It has no length of its own (0 fits to any other data set)."""

    def __getitem__(self, index: int) -> int:
        return index

    def __len__(self) -> int:
        return 0

    def collater(self, samples: Sequence[int]) -> Any:
        return torch.tensor(samples)
