"""Another batching order."""

from typing import Any

import numpy as np

from fairseq.data.base_wrapper_dataset import BaseWrapperDataset

__all__ = ["SortDataset"]


class SortDataset(BaseWrapperDataset):
    """``dataset`` batched in the order of ``sort_order``: one key per sample, or several, the last the most important.

    Raises:
        AssertionError: a key array of another length.
    """

    def __init__(self, dataset: Any, sort_order: Any) -> None:
        super().__init__(dataset)
        self.sort_order = sort_order if isinstance(sort_order, (list, tuple)) else [sort_order]
        for keys in self.sort_order:
            if len(keys) != len(dataset):
                raise AssertionError(f"{len(keys)} sort keys for {len(dataset)} samples")

    def ordered_indices(self) -> Any:
        return np.lexsort(self.sort_order)
