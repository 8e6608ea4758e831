"""A big sampled data set handed out in several smaller epochs."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional, Union

import numpy as np
from numpy.typing import NDArray

from fairseq.data.multilingual.sampled_multi_dataset import (
    CollateFormat,
    SampledMultiDataset,
    default_virtual_size_func,
)

__all__ = ["SampledMultiEpochDataset"]

logger = logging.getLogger(__name__)


class SampledMultiEpochDataset(SampledMultiDataset):
    """``virtual_size`` samples are drawn and shuffled, then handed out ``virtual_epoch_size`` per epoch.

    Arguments as for :class:`SampledMultiDataset`, and:

    Args:
        virtual_epoch_size: samples per epoch (the last of a round has what is left); ``None`` for all.
        shard_epoch: which pass over shards of the data this is.

    Attributes:
        load_next_shard: the next round should read the next shard of the data; ``None`` before the first.
    """

    def __init__(
        self, datasets: Union[Mapping[str, Any], Sequence[Any]], sampling_ratios: Optional[Sequence[float]] = None,
        seed: int = 2, epoch: int = 1, eval_key: Optional[str] = None, collate_format: Any = CollateFormat.single,
        virtual_size: Union[int, Callable[..., int], None] = default_virtual_size_func, split: str = "",
        virtual_epoch_size: Optional[int] = None, shared_collater: bool = False, shard_epoch: int = 1,
        shuffle: bool = True,
    ) -> None:  # fmt: skip
        self.virtual_epoch_size = virtual_epoch_size
        self.num_virtual_epochs: Optional[int] = None
        self.shard_epoch = shard_epoch
        self.load_next_shard: Optional[bool] = None
        self._shuffled: Optional[NDArray[np.int64]] = None
        self._begin = 0
        self._epoch_sizes: Optional[NDArray[Any]] = None
        super().__init__(
            datasets, sampling_ratios=sampling_ratios, seed=seed, epoch=epoch, eval_key=eval_key,
            collate_format=collate_format, virtual_size=virtual_size, split=split, shared_collater=shared_collater,
            shuffle=shuffle,
        )  # fmt: skip

    def set_epoch(self, epoch: int) -> None:
        if self.num_virtual_epochs is None:
            self._divide()
        if epoch == self._cur_epoch:
            return
        epoch_size, epochs = self._division()
        begin = epoch_size * ((epoch - 1) % epochs)
        if begin == 0 or self._shuffled is None:
            self._new_round(epoch)
        else:
            for dataset in self.datasets:
                if hasattr(dataset, "set_epoch"):
                    dataset.set_epoch(epoch)
            self._cur_epoch = epoch
        self._begin = begin
        self._epoch_sizes = None

    def _divide(self) -> None:
        epoch_size = self.virtual_epoch_size or self.virtual_size
        if epoch_size > self.virtual_size:
            logger.warning(
                "virtual epoch size %s is larger than virtual dataset size %s; an epoch is the whole data set",
                epoch_size,
                self.virtual_size,
            )
            epoch_size = self.virtual_size
        self.virtual_epoch_size = epoch_size
        self.num_virtual_epochs = math.ceil(self.virtual_size / epoch_size)
        logger.info("virtual epoch size %s; virtual dataset size %s", epoch_size, self.virtual_size)

    def _division(self) -> tuple[int, int]:
        """Samples per epoch, and epochs per round."""
        return self.virtual_epoch_size or self.virtual_size, self.num_virtual_epochs or 1

    def _new_round(self, epoch: int) -> None:
        logger.info(
            "establishing a new set of global virtual indices for epoch=%s/shard_epoch=%s", epoch, self.shard_epoch
        )
        super().set_epoch(epoch)
        size = super().__len__()
        self._shuffled = self._generator(epoch).choice(size, size, replace=False)
        if self.load_next_shard is None:
            self.load_next_shard = False
            return
        self.shard_epoch += 1
        self.load_next_shard = True
        logger.info("to load next epoch/shard in next load_dataset: epoch=%s/shard_epoch=%s", epoch, self.shard_epoch)

    def __len__(self) -> int:
        epoch_size, _ = self._division()
        return min(epoch_size, super().__len__() - self._begin)

    def _locate(self, index: int) -> tuple[int, int]:
        assert self._shuffled is not None
        return super()._locate(int(self._shuffled[self._begin + index]))

    @property
    def sizes(self) -> NDArray[Any]:
        if self._epoch_sizes is None:
            assert self._shuffled is not None
            self._epoch_sizes = super().sizes[self._shuffled[self._begin : self._begin + len(self)]]
            self._sizes = None
        return self._epoch_sizes
