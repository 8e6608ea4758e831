"""Batches padded on one side."""

from collections.abc import Sequence
from typing import Any, Optional

from fairseq.data.base_wrapper_dataset import BaseWrapperDataset
from fairseq.data.data_utils import collate_tokens

__all__ = ["LeftPadDataset", "PadDataset", "RightPadDataset"]


class PadDataset(BaseWrapperDataset):
    """Items of ``dataset``; batches are padded with ``pad_idx``, to ``pad_length`` at least."""

    def __init__(self, dataset: Any, pad_idx: int, left_pad: bool, pad_length: Optional[int] = None) -> None:
        super().__init__(dataset)
        self.pad_idx = pad_idx
        self.left_pad = left_pad
        self.pad_length = pad_length

    def collater(self, samples: Sequence[Any]) -> Any:
        return collate_tokens(samples, self.pad_idx, left_pad=self.left_pad, pad_to_length=self.pad_length)


class LeftPadDataset(PadDataset):
    """Padding in front."""

    def __init__(self, dataset: Any, pad_idx: int) -> None:
        super().__init__(dataset, pad_idx, left_pad=True)


class RightPadDataset(PadDataset):
    """Padding behind."""

    def __init__(self, dataset: Any, pad_idx: int) -> None:
        super().__init__(dataset, pad_idx, left_pad=False)
