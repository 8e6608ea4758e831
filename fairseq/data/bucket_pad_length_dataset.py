"""Items padded to one of a few lengths, so that compiled models see few shapes."""

from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from fairseq.data.base_wrapper_dataset import BaseWrapperDataset
from fairseq.data.data_utils import get_bucketed_sizes, get_buckets

__all__ = ["BucketPadLengthDataset"]


class BucketPadLengthDataset(BaseWrapperDataset):
    """Each item of ``dataset``, ``(length,)``, padded to the smallest bucket that holds it.

    Args:
        dataset: items.
        sizes: their lengths.
        num_buckets: how many lengths at most; each takes about the same share of items.
        pad_idx: padding token.
        left_pad: pad in front.
        tensor_key: items are dictionaries, and this entry is padded.
    """

    def __init__(
        self,
        dataset: Any,
        sizes: Any,
        num_buckets: int,
        pad_idx: int,
        left_pad: bool,
        tensor_key: Any = None,
    ) -> None:
        super().__init__(dataset)
        self.pad_idx = pad_idx
        self.left_pad = left_pad
        self.tensor_key = tensor_key
        sizes = np.asarray(sizes)
        self.buckets = get_buckets(sizes, num_buckets)
        self._bucketed_sizes = get_bucketed_sizes(sizes, self.buckets)

    def __getitem__(self, index: int) -> Any:
        item = self.dataset[index]
        length = int(self._bucketed_sizes[index])
        if self.tensor_key is None:
            return self._pad(item, length)
        item[self.tensor_key] = self._pad(item[self.tensor_key], length)
        return item

    def _pad(self, item: Tensor, length: int) -> Tensor:
        missing = length - item.shape[-1]
        if missing == 0:
            return item
        return F.pad(item, (missing, 0) if self.left_pad else (0, missing), value=self.pad_idx)

    @property
    def sizes(self) -> Any:
        return self._bucketed_sizes

    def num_tokens(self, index: int) -> int:
        return int(self._bucketed_sizes[index])

    def size(self, index: int) -> Any:
        return int(self._bucketed_sizes[index])
