"""Which places of a batch are padding."""

from collections.abc import Sequence
from typing import Any, Optional

import torch

from fairseq.data.base_wrapper_dataset import BaseWrapperDataset
from fairseq.data.data_utils import collate_tokens

__all__ = ["LeftPaddingMaskDataset", "PaddingMaskDataset", "RightPaddingMaskDataset"]


class PaddingMaskDataset(BaseWrapperDataset):
    """Masks of items; a batch is ``(batch, width)`` booleans, true on padding, ``pad_length`` wide at least."""

    def __init__(self, dataset: Any, left_pad: bool, pad_length: Optional[int] = None) -> None:
        super().__init__(dataset)
        self.left_pad = left_pad
        self.pad_length = pad_length

    def __getitem__(self, index: int) -> Any:
        return torch.zeros_like(self.dataset[index], dtype=torch.bool)

    def __len__(self) -> int:
        return len(self.dataset)

    def collater(self, samples: Sequence[Any]) -> Any:
        return collate_tokens(samples, True, left_pad=self.left_pad, pad_to_length=self.pad_length)


class LeftPaddingMaskDataset(PaddingMaskDataset):
    """Padding in front."""

    def __init__(self, dataset: Any) -> None:
        super().__init__(dataset, left_pad=True)


class RightPaddingMaskDataset(PaddingMaskDataset):
    """Padding behind."""

    def __init__(self, dataset: Any) -> None:
        super().__init__(dataset, left_pad=False)
