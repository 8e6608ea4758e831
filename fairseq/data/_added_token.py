"""What the data sets that add one token to every item share."""

from typing import Any, Optional

import numpy as np
from torch import Tensor

from fairseq.data.base_wrapper_dataset import BaseWrapperDataset

__all__ = ["AddedTokenDataset"]


class AddedTokenDataset(BaseWrapperDataset):
    """Items of ``dataset``, each ``(length,)``, with ``token`` at ``PLACE``; ``None`` changes nothing."""

    # 0 in front, -1 behind
    PLACE: int

    def __init__(self, dataset: Any, token: Optional[int] = None) -> None:
        super().__init__(dataset)
        self.token = token
        self._sizes = np.array(dataset.sizes) + 1 if token is not None else dataset.sizes

    def __getitem__(self, idx: int) -> Tensor:
        item = self.dataset[idx]
        if self.token is None:
            return item
        longer: Tensor = item.new_empty(len(item) + 1)
        kept = longer[1:] if self.PLACE == 0 else longer[:-1]
        kept.copy_(item)
        longer[self.PLACE] = self.token
        return longer

    @property
    def sizes(self) -> Any:
        return self._sizes

    def num_tokens(self, index: int) -> int:
        return int(self.dataset.num_tokens(index)) + (self.token is not None)

    def size(self, index: int) -> Any:
        return int(self.dataset.size(index)) + (self.token is not None)
