"""A number attached to each sample."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from fairseq.data.base_wrapper_dataset import BaseWrapperDataset

__all__ = ["ColorizeDataset"]


class ColorizeDataset(BaseWrapperDataset):
    """Batches with ``net_input.colors`` ``(batch,)``: ``color_getter(dataset, sample number)`` for each row."""

    def __init__(self, dataset: Any, color_getter: Callable[[Any, int], int]) -> None:
        super().__init__(dataset)
        self.color_getter = color_getter

    def collater(self, samples: Sequence[Any]) -> Any:
        batch = super().collater(samples)
        if len(batch) > 0:
            # Collating may have changed the order.
            ids = batch["id"].tolist() if "id" in batch else [sample["id"] for sample in samples]
            colors = [self.color_getter(self.dataset, index) for index in ids]
            batch["net_input"]["colors"] = torch.tensor(colors, dtype=torch.long)
        return batch
