"""Token numbers moved by a constant."""

from typing import Any

from fairseq.data.base_wrapper_dataset import BaseWrapperDataset

__all__ = ["OffsetTokensDataset"]


class OffsetTokensDataset(BaseWrapperDataset):
    """Items of ``dataset`` plus ``offset``."""

    def __init__(self, dataset: Any, offset: int) -> None:
        super().__init__(dataset)
        self.offset = offset

    def __getitem__(self, idx: int) -> Any:
        return self.dataset[idx] + self.offset
