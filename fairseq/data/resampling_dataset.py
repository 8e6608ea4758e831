"""Samples drawn anew every epoch."""

import logging
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np

from fairseq.data.base_wrapper_dataset import BaseWrapperDataset
from fairseq.data.fairseq_dataset import FairseqDataset

__all__ = ["ResamplingDataset"]

logger = logging.getLogger(__name__)


class ResamplingDataset(BaseWrapperDataset):
    """Random samples of ``dataset``, others in every epoch.

    Args:
        dataset: all samples.
        weights: how often each is drawn, relative to the others (they are divided by their sum); ``None`` for equally
            often.
        replace: a sample may come more than once in an epoch.
        size_ratio: samples per epoch, relative to ``dataset``; at most 1 without ``replace``.
        batch_by_size: batch samples of similar size together.
        seed: of the draws, together with the epoch.
        epoch: the first epoch.

    Raises:
        AssertionError: ``weights`` are not one per sample, or ``size_ratio`` is out of range.
        ValueError: a weight is negative or not a number, or none is above 0.
    """

    def __init__(
        self,
        dataset: Any,
        weights: Any = None,
        replace: bool = True,
        size_ratio: float = 1.0,
        batch_by_size: bool = True,
        seed: int = 0,
        epoch: int = 1,
    ) -> None:
        super().__init__(dataset)
        if weights is not None and len(weights) != len(dataset):
            raise AssertionError(f"{len(weights)} weights for {len(dataset)} samples")
        if not size_ratio > 0 or (not replace and size_ratio > 1):
            raise AssertionError(f"size_ratio={size_ratio} should be above 0, and at most 1 without replacement")
        self.weights = None if weights is None else _probabilities(weights)
        self.replace = replace
        self.size_ratio = float(size_ratio)
        self.actual_size = int(np.ceil(len(dataset) * self.size_ratio))
        self.sorts_by_size = batch_by_size
        self.seed = seed
        self._epoch: Optional[int] = None
        self._indices: Any = None
        self.set_epoch(epoch)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self._indices[index]]

    def __len__(self) -> int:
        return self.actual_size

    @property
    def sizes(self) -> Any:
        if isinstance(self.dataset.sizes, list):
            return [sizes[self._indices] for sizes in self.dataset.sizes]
        return self.dataset.sizes[self._indices]

    def num_tokens(self, index: int) -> int:
        return self.dataset.num_tokens(self._indices[index])

    def size(self, index: int) -> Any:
        return self.dataset.size(self._indices[index])

    def attr(self, attr: str, index: int) -> Any:
        return self.dataset.attr(attr, self._indices[index])

    def ordered_indices(self) -> Any:
        if not self.sorts_by_size:
            return np.arange(len(self))
        sizes = self.sizes
        if isinstance(sizes, np.ndarray) and sizes.ndim > 1:
            sizes = list(sizes.T[::-1])
        return np.lexsort([np.arange(len(self)), *(sizes if isinstance(sizes, list) else [sizes])])

    def prefetch(self, indices: Any) -> None:
        self.dataset.prefetch(self._indices[np.asarray(indices)])

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        return False

    def set_epoch(self, epoch: int) -> None:
        logger.debug("ResamplingDataset.set_epoch: %s", epoch)
        super().set_epoch(epoch)
        if epoch == self._epoch:
            return
        self._epoch = epoch
        # The first number only keeps apart what other code draws with the same seed.
        generator = np.random.RandomState([42, self.seed % (2**32), epoch])
        self._indices = generator.choice(len(self.dataset), self.actual_size, replace=self.replace, p=self.weights)

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


def _probabilities(weights: Any) -> Any:
    values = np.asarray(weights, dtype=np.float64)
    total = values.sum()
    if not np.isfinite(total) or total <= 0 or values.min() < 0:
        raise ValueError(
            f"weights must be finite and not negative, and one of them above 0; their sum is {total}, "
            f"the smallest {values.min() if values.size else 'missing'}"
        )
    return values / total
