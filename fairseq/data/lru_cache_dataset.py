"""The latest items kept."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Optional

from fairseq.data.base_wrapper_dataset import BaseWrapperDataset

__all__ = ["LRUCacheDataset"]

ITEMS_KEPT = 8


class LRUCacheDataset(BaseWrapperDataset):
    """Remembers a few items, where several wrappers read the same one.

    Cached items are forgotten when an epoch begins, as random ones may differ then.
    """

    def __init__(self, dataset: Any, token: Optional[int] = None) -> None:
        super().__init__(dataset)
        self._items: OrderedDict[int, Any] = OrderedDict()

    def __getitem__(self, index: int) -> Any:
        index = int(index)
        if index in self._items:
            self._items.move_to_end(index)
            return self._items[index]
        item = self._items[index] = self.dataset[index]
        if len(self._items) > ITEMS_KEPT:
            self._items.popitem(last=False)
        return item

    def collater(self, samples: Sequence[Any]) -> Any:
        return self.dataset.collater(samples)

    def set_epoch(self, epoch: int) -> None:
        self._items.clear()
        super().set_epoch(epoch)
