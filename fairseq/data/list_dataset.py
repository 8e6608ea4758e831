"""A list of tensors as a data set."""

from collections.abc import Iterator, Sequence
from typing import Any, Optional

from fairseq.data.base_wrapper_dataset import BaseWrapperDataset

__all__ = ["ListDataset"]


class ListDataset(BaseWrapperDataset):
    """``dataset`` is any sequence; ``sizes`` are the lengths of its items, for batching by size."""

    def __init__(self, dataset: Sequence[Any], sizes: Optional[Any] = None) -> None:
        super().__init__(dataset)
        self._sizes = sizes

    def __iter__(self) -> Iterator[Any]:
        yield from self.dataset

    def collater(self, samples: Sequence[Any]) -> Any:
        return samples

    @property
    def sizes(self) -> Any:
        return self._sizes

    def num_tokens(self, index: int) -> int:
        return self.sizes[index]

    def size(self, index: int) -> Any:
        return self.sizes[index]

    def set_epoch(self, epoch: int) -> None:
        """A list is the same in every epoch."""

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        return True
