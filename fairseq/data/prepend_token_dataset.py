"""One token added in front of every item."""

from typing import Any, Optional

import numpy as np
from torch import Tensor

from fairseq.data.base_wrapper_dataset import BaseWrapperDataset

__all__ = ["PrependTokenDataset"]


class PrependTokenDataset(BaseWrapperDataset):
    """Items of ``dataset``, each ``(length,)``, with ``token`` in front of them; ``None`` changes nothing."""

    def __init__(self, dataset: Any, token: Optional[int] = None) -> None:
        super().__init__(dataset)
        self.token = token
        self._sizes = np.array(dataset.sizes) + 1 if token is not None else dataset.sizes

    def __getitem__(self, idx: int) -> Tensor:
        item = self.dataset[idx]
        return item if self.token is None else _with_token(item, self.token)

    @property
    def sizes(self) -> Any:
        return self._sizes

    def num_tokens(self, index: int) -> int:
        return int(self.dataset.num_tokens(index)) + (self.token is not None)

    def size(self, index: int) -> Any:
        return int(self.dataset.size(index)) + (self.token is not None)


def _with_token(item: Tensor, token: int) -> Tensor:
    longer = item.new_empty(len(item) + 1)
    longer[1:] = item
    longer[0] = token
    return longer
