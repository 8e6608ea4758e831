"""A list of labels."""

from collections.abc import Sequence
from typing import Any

import torch

from fairseq.data.fairseq_dataset import FairseqDataset

__all__ = ["RawLabelDataset"]


class RawLabelDataset(FairseqDataset):
    """Labels, one per sample; a batch is their tensor."""

    def __init__(self, labels: Sequence[Any]) -> None:
        super().__init__()
        self.labels = labels

    def __getitem__(self, index: int) -> Any:
        return self.labels[index]

    def __len__(self) -> int:
        return len(self.labels)

    def collater(self, samples: Sequence[Any]) -> Any:
        return torch.tensor(samples)
