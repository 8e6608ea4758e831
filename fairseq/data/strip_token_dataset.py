"""One token removed from both ends of every item."""

from typing import Any

from torch import Tensor

from fairseq.data.base_wrapper_dataset import BaseWrapperDataset

__all__ = ["StripTokenDataset"]


class StripTokenDataset(BaseWrapperDataset):
    """Items of ``dataset``, each ``(length,)``, without leading and trailing ``id_to_strip``; sizes do not change."""

    def __init__(self, dataset: Any, id_to_strip: int) -> None:
        super().__init__(dataset)
        self.id_to_strip = id_to_strip

    def __getitem__(self, index: int) -> Tensor:
        item = self.dataset[index]
        first, last = 0, len(item)
        while first < last and item[last - 1] == self.id_to_strip:
            last -= 1
        while first < last and item[first] == self.id_to_strip:
            first += 1
        return item[first:last]
