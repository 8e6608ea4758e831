"""A random part of a data set."""

import logging
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np

from fairseq.data.base_wrapper_dataset import BaseWrapperDataset
from fairseq.data.fairseq_dataset import FairseqDataset

__all__ = ["SubsampleDataset"]

logger = logging.getLogger(__name__)


class SubsampleDataset(BaseWrapperDataset):
    """Some samples of ``dataset``, drawn once, without repetition.

    Args:
        dataset: all samples.
        size_ratio: share to keep, below 1; rounded up to whole samples.
        shuffle: shuffle samples of equal size before batching.
        seed: of the draw; ``None`` uses numpy's global generator.
    """

    def __init__(self, dataset: Any, size_ratio: float, shuffle: bool = False, seed: Optional[int] = None) -> None:
        super().__init__(dataset)
        if not size_ratio < 1:
            raise AssertionError(f"size_ratio should be below 1, got {size_ratio}")
        self.actual_size = int(np.ceil(len(dataset) * size_ratio))
        generator = np.random if seed is None else np.random.RandomState(seed)
        self.indices = generator.choice(len(dataset), self.actual_size, replace=False)
        self.shuffle = shuffle
        logger.info("subsampled dataset from %s to %s (ratio=%s)", len(dataset), self.actual_size, size_ratio)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self.indices[index]]

    def __len__(self) -> int:
        return self.actual_size

    def collater(self, samples: Sequence[Any]) -> Any:
        return self.dataset.collater(samples)

    @property
    def sizes(self) -> Any:
        return self.dataset.sizes[self.indices]

    @property
    def name(self) -> str:
        return self.dataset.name

    def num_tokens(self, index: int) -> int:
        return self.dataset.num_tokens(self.indices[index])

    def size(self, index: int) -> Any:
        return self.dataset.size(self.indices[index])

    def ordered_indices(self) -> Any:
        first = np.random.permutation(len(self)) if self.shuffle else np.arange(len(self))
        return np.lexsort([first, self.sizes])

    def prefetch(self, indices: Any) -> None:
        self.dataset.prefetch(self.indices[np.asarray(indices)])

    def batch_by_size(
        self,
        indices: Any,
        max_tokens: Optional[int] = None,
        max_sentences: Optional[int] = None,
        required_batch_size_multiple: int = 1,
    ) -> Sequence[Any]:
        # The numbers of samples are this data set's own, so the wrapped one cannot batch them.
        return FairseqDataset.batch_by_size(self, indices, max_tokens, max_sentences, required_batch_size_multiple)

    def filter_indices_by_size(self, indices: Any, max_sizes: Any) -> tuple[Any, list[int]]:
        return FairseqDataset.filter_indices_by_size(self, indices, max_sizes)
