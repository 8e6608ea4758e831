"""Several data sets as one: each epoch draws samples from them in given shares."""

import bisect
import datetime
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Optional, Union

import numpy as np
import torch
from numpy.typing import NDArray

from fairseq.data import data_utils
from fairseq.data.fairseq_dataset import FairseqDataset

__all__ = ["CollateFormat", "SampledMultiDataset", "default_virtual_size_func", "get_time_gap"]

logger = logging.getLogger(__name__)

Sample = tuple[int, Any]


class CollateFormat(Enum):
    """A batch of samples of several data sets: one batch, or one per data set under its key."""

    single = 1
    ordered_dict = 2


def get_time_gap(s: float, e: float) -> str:
    """The time between two clock readings in seconds, as ``0:00:03.500000``."""
    return str(datetime.timedelta(seconds=e - s))


def default_virtual_size_func(
    datasets: Sequence[Any], ratios: Optional[Sequence[float]], max_scale_up: float = 1.5
) -> int:
    """How many samples make an epoch: enough to see the largest data set once, within limits.

    Args:
        datasets: have a length.
        ratios: the share of each; ``None`` for all that there is.
        max_scale_up: limit, as a multiple of all samples.
    """
    sizes = [len(dataset) for dataset in datasets]
    if ratios is None:
        return sum(sizes)
    largest = int(np.argmax(sizes))
    return int(min(sizes[largest] / ratios[largest], max_scale_up * sum(sizes)))


class SampledMultiDataset(FairseqDataset):
    """Samples of several data sets (language pairs, say) in given shares, drawn anew for every epoch.

    Samples are ``(number of the data set, sample)``.

    Args:
        datasets: the data sets by key, or in a list.
        sampling_ratios: the share of each in an epoch; ``None`` takes every sample once. They are scaled to sum to 1.
        seed: of the draws; the epoch is added.
        epoch: the first epoch.
        eval_key: with ``CollateFormat.ordered_dict``, batches are those of this data set alone.
        collate_format: see :class:`CollateFormat` (its members' names will do).
        virtual_size: samples per epoch, or a function of data sets and shares.
        split: for the log.
        shared_collater: the first data set's collater is good for samples of all.
        shuffle: shuffle samples of equal length.
    """

    def __init__(
        self,
        datasets: Union[Mapping[str, Any], Sequence[Any]],
        sampling_ratios: Optional[Sequence[float]] = None,
        seed: int = 2,
        epoch: int = 1,
        eval_key: Optional[str] = None,
        collate_format: Any = CollateFormat.single,
        virtual_size: Union[int, Callable[..., int], None] = default_virtual_size_func,
        split: str = "",
        shared_collater: bool = False,
        shuffle: bool = True,
    ) -> None:
        super().__init__()
        self.shared_collater = shared_collater
        self.shuffle = shuffle
        if isinstance(datasets, Mapping):
            self.keys: list[Any] = list(datasets.keys())
            self.datasets: list[Any] = list(datasets.values())
        else:
            self.datasets = list(datasets)
            self.keys = list(range(len(self.datasets)))
        if not self.datasets:
            raise AssertionError("SampledMultiDataset needs at least one data set")
        self.split = split
        self.eval_key = eval_key
        self.collate_format = CollateFormat[collate_format] if isinstance(collate_format, str) else collate_format
        self.seed = seed
        self.sample_ratios: Optional[NDArray[np.float64]] = None
        self.virtual_size = 0
        self.virtual_size_per_dataset: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self.cumulated_sizes: list[int] = []
        self._cur_epoch: Optional[int] = None
        self._cur_indices: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._sizes: Optional[NDArray[Any]] = None
        self.setup_sampling(sampling_ratios, virtual_size)
        self.set_epoch(epoch)

    # ------------------------------------------------------------------ drawing
    def setup_sampling(self, sample_ratios: Optional[Sequence[float]], virtual_size: Any) -> None:
        """Set the shares and the size of an epoch; they count from the next epoch on."""
        self.sample_ratios = None
        if sample_ratios is not None:
            shares = np.asarray(sample_ratios, dtype=np.float64)
            self.sample_ratios = shares / shares.sum()
        if virtual_size is None:
            virtual_size = default_virtual_size_func
        self.virtual_size = (
            virtual_size(self.datasets, self.sample_ratios) if callable(virtual_size) else int(virtual_size)
        )

    def adjust_sampling(self, epoch: int, sampling_ratios: Optional[Sequence[float]], virtual_size: Any) -> None:
        """Set new shares; data-parallel workers that computed different ones use their mean."""
        if sampling_ratios is not None:
            self.setup_sampling(_mean_over_workers(sampling_ratios), virtual_size)

    def random_choice_in_dataset(self, rng: np.random.RandomState, dataset: Any, choice_size: int) -> Any:
        """Numbers of ``choice_size`` samples; none twice while there are enough. A data set may have its own way."""
        if hasattr(dataset, "random_choice_in_dataset"):
            return dataset.random_choice_in_dataset(rng, choice_size)
        return rng.choice(len(dataset), choice_size, replace=choice_size > len(dataset))

    def get_virtual_indices(
        self,
        rng: np.random.RandomState,
        datasets: Sequence[Any],
        sample_ratios: Optional[NDArray[np.float64]],
        virtual_size: int,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Samples per data set, and their numbers, data set by data set, ``(virtual_size,)``."""
        if sample_ratios is None:
            counts = np.array([len(dataset) for dataset in datasets], dtype=np.int64)
            return counts, np.concatenate([np.arange(count) for count in counts])
        counts = (virtual_size * np.asarray(sample_ratios)).astype(np.int64)
        # What rounding down left over goes to data sets at random, by their shares.
        left = virtual_size - int(counts.sum())
        if left > 0:
            np.add.at(counts, rng.choice(len(counts), size=left, p=sample_ratios), 1)
        drawn = [self.random_choice_in_dataset(rng, dataset, int(n)) for dataset, n in zip(datasets, counts)]
        return counts, np.concatenate(drawn).astype(np.int64)

    def _generator(self, epoch: int) -> np.random.RandomState:
        # The name keeps apart what other classes draw with the same seed.
        name = int(hashlib.sha1(type(self).__name__.encode(), usedforsecurity=False).hexdigest(), 16) % 2**32
        return np.random.RandomState([name, self.seed % 2**32, epoch])

    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        if epoch == self._cur_epoch:
            return
        for dataset in self.datasets:
            if hasattr(dataset, "set_epoch"):
                dataset.set_epoch(epoch)
        self._cur_epoch = epoch
        self._sizes = None
        self._draw(epoch)

    def _draw(self, epoch: int) -> None:
        started = time.time()
        counts, self._cur_indices = self.get_virtual_indices(
            self._generator(epoch), self.datasets, self.sample_ratios, self.virtual_size
        )
        self.virtual_size_per_dataset = counts
        self.cumulated_sizes = np.cumsum(counts).tolist()
        self.virtual_size = self.cumulated_sizes[-1]
        self._log(time.time() - started)

    def _log(self, seconds: float) -> None:
        raw = {key: len(dataset) for key, dataset in zip(self.keys, self.datasets)}
        drawn = dict(zip(self.keys, self.virtual_size_per_dataset.tolist()))
        if self.virtual_size < sum(raw.values()):
            logger.warning(
                "an epoch has %s samples of the %s that there are; much smaller epochs may leave data unseen",
                self.virtual_size,
                sum(raw.values()),
            )
        split = f"[{self.split}]"
        logger.info("%s Raw sizes: %s; raw total size: %s", split, raw, sum(raw.values()))
        logger.info("%s Resampled sizes: %s; resampled total size: %s", split, drawn, self.virtual_size)
        if self.sample_ratios is None:
            logger.info("%s A concat dataset", split)
        else:
            logger.info("%s Upsampling ratios: %s", split, dict(zip(self.keys, self.sample_ratios.tolist())))
        logger.info("%s virtual dataset established time: %s", split, get_time_gap(0, seconds))

    # ------------------------------------------------------------------ samples
    def _locate(self, index: int) -> tuple[int, int]:
        """The data set, and the number of the sample in it."""
        return bisect.bisect_right(self.cumulated_sizes, index), int(self._cur_indices[index])

    def __len__(self) -> int:
        return self.virtual_size

    def __getitem__(self, index: int) -> Sample:
        number, position = self._locate(index)
        return number, self.datasets[number][position]

    @property
    def sizes(self) -> NDArray[Any]:
        """As the data sets give them, ``(n,)`` or ``(n, 2)``."""
        if self._sizes is None:
            parts = np.split(self._cur_indices, self.cumulated_sizes[:-1])
            self._sizes = np.concatenate(
                [np.asarray(dataset.sizes)[part] for dataset, part in zip(self.datasets, parts)]
            )
        return self._sizes

    def num_tokens(self, index: int) -> int:
        return int(np.max(self.sizes[index]))

    def num_tokens_vec(self, indices: NDArray[np.integer]) -> NDArray[Any]:
        sizes = self.sizes[indices]
        return sizes.max(axis=1) if sizes.ndim > 1 else sizes

    def size(self, index: int) -> Any:
        size = self.sizes[index]
        return tuple(size.tolist()) if np.ndim(size) else int(size)

    def ordered_indices(self) -> NDArray[np.int64]:
        """By source length, then by target length, ties at random (``shuffle``) or as drawn."""
        order = np.random.permutation(len(self)) if self.shuffle else np.arange(len(self))
        source, target = self._sides()
        if target is not None:
            order = order[np.argsort(target[order], kind="stable")]
        return order[np.argsort(source[order], kind="stable")]

    def _sides(self) -> tuple[NDArray[Any], Optional[NDArray[Any]]]:
        sizes = self.sizes
        if sizes.ndim == 1 or sizes.shape[1] == 1:
            return sizes.reshape(-1), None
        return sizes[:, 0], sizes[:, 1]

    def filter_indices_by_size(self, indices: NDArray[Any], max_sizes: Any) -> tuple[NDArray[Any], list[int]]:
        return data_utils.filter_paired_dataset_indices_by_size(*self._sides(), indices, max_sizes)

    def prefetch(self, indices: Any) -> None:
        wanted: list[list[int]] = [[] for _ in self.datasets]
        for index in indices:
            number, position = self._locate(int(index))
            wanted[number].append(position)
        for dataset, positions in zip(self.datasets, wanted):
            if getattr(dataset, "supports_prefetch", False):
                dataset.prefetch(positions)

    @property
    def supports_prefetch(self) -> bool:
        return all(getattr(dataset, "supports_prefetch", False) for dataset in self.datasets)

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        return False

    # ------------------------------------------------------------------ batches
    def collater(self, samples: Sequence[Sample], **extra_args: Any) -> Any:
        """One batch of all samples, longest source first, or a batch per data set; ``None`` for no samples."""
        if len(samples) == 0:
            return None
        if self.collate_format == CollateFormat.ordered_dict:
            grouped = self._grouped(samples)
            batches = OrderedDict(
                (key, dataset.collater(grouped.get(number, []))) for number, (key, dataset) in self._named()
            )
            return batches if self.eval_key is None else batches[self.eval_key]
        if self.shared_collater:
            return self.datasets[0].collater([sample for _, sample in samples])
        return self._merged(self._grouped(samples), samples, extra_args.get("pad_to_length"))

    def _named(self) -> Any:
        return enumerate(zip(self.keys, self.datasets))

    @staticmethod
    def _grouped(samples: Sequence[Sample]) -> dict[int, list[Any]]:
        groups: dict[int, list[Any]] = {}
        for number, sample in samples:
            groups.setdefault(number, []).append(sample)
        return groups

    def _merged(
        self, groups: dict[int, list[Any]], samples: Sequence[Sample], pad_to_length: Optional[dict[str, int]]
    ) -> dict[str, Any]:
        """Batches of the data sets, padded to the same widths and joined."""
        widths = dict(pad_to_length or {})
        for side in ("source", "target"):
            lengths = [len(sample[side]) for _, sample in samples if sample[side] is not None]
            widths[side] = max([widths.get(side, 0), *lengths])
        batches = [self.datasets[number].collater(groups[number], pad_to_length=widths) for number in sorted(groups)]
        longest_first, order = torch.cat([b["net_input"]["src_lengths"] for b in batches]).sort(
            descending=True, stable=True
        )

        def joined(*path: str) -> Any:
            parts: list[Any] = list(batches)
            for name in path:
                parts = [part[name] for part in parts]
            return torch.cat(parts)[order]

        net_input: dict[str, Any] = {"src_tokens": joined("net_input", "src_tokens"), "src_lengths": longest_first}
        for name in ("prev_output_tokens", "src_lang_id"):
            if name in batches[0]["net_input"]:
                net_input[name] = joined("net_input", name)
        merged: dict[str, Any] = {
            "id": joined("id"),
            "nsentences": sum(batch["nsentences"] for batch in batches),
            "ntokens": sum(batch["ntokens"] for batch in batches),
            "net_input": net_input,
            "target": joined("target") if batches[0]["target"] is not None else None,
        }
        if "tgt_lang_id" in batches[0]:
            merged["tgt_lang_id"] = joined("tgt_lang_id")
        return merged


def _mean_over_workers(ratios: Sequence[float]) -> list[float]:
    from fairseq.distributed import utils as distributed_utils

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return list(ratios)
    values: torch.Tensor = torch.tensor([float(ratio) for ratio in ratios], dtype=torch.float64)
    if torch.cuda.is_available() and torch.distributed.get_backend() == "nccl":
        values = values.cuda()
    group = distributed_utils.get_data_parallel_group()
    distributed_utils.all_reduce(values, group=group)
    mean: list[float] = (values / distributed_utils.get_world_size(group)).tolist()
    return mean
