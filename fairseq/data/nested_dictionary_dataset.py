"""Batches put together from several data sets, as a dictionary of dictionaries."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.utils.data
from torch.utils.data.dataloader import default_collate

from fairseq.data.batching.size_limits import take_sizes
from fairseq.data.fairseq_dataset import FairseqDataset

__all__ = ["NestedDictionaryDataset"]


def _flatten(definition: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries and lists -> one dictionary with keys like ``a.b`` and ``a.[0]``."""
    if isinstance(definition, dict):
        entries = definition.items()
    elif isinstance(definition, list):
        entries = ((f"[{number}]", value) for number, value in enumerate(definition))  # type: ignore[assignment]
    else:
        return {prefix: definition}
    flat: dict[str, Any] = OrderedDict()
    for key, value in entries:
        flat.update(_flatten(value, f"{prefix}.{key}" if prefix else str(key)))
    return flat


def _unflatten(flat: dict[str, Any]) -> Any:
    """The inverse of :func:`_flatten`."""
    tree: dict[str, Any] = OrderedDict()
    for path, value in flat.items():
        *parents, last = path.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, OrderedDict())
        node[last] = value
    return _lists(tree)


def _lists(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    values = {key: _lists(value) for key, value in node.items()}
    if values and all(key.startswith("[") and key.endswith("]") for key in values):
        return list(values.values())
    return OrderedDict(values)


class NestedDictionaryDataset(FairseqDataset):
    """Samples are flat dictionaries, batches nested ones, each leaf collated by its own data set.

    Args:
        defn: nested dictionaries (or lists) whose leaves are data sets of equal length; a length of 0 fits any.
        sizes: one or several arrays of sizes; the largest counts for ``--max-tokens``.

    Raises:
        ValueError: a leaf is no data set.
        AssertionError: unequal lengths.
    """

    def __init__(self, defn: Any, sizes: Any = None) -> None:
        super().__init__()
        self.defn = _flatten(defn)
        self.sizes = [sizes] if not isinstance(sizes, (list, tuple)) else sizes
        self._length = 0
        for key, dataset in self.defn.items():
            if not isinstance(dataset, (FairseqDataset, torch.utils.data.Dataset)):
                raise ValueError(f"Expected Dataset but found: {type(dataset)} (at {key})")
            length = len(dataset)  # type: ignore[arg-type]
            self._length = self._length or length
            if length not in (0, self._length):
                raise AssertionError(f"dataset lengths must match: {key} has {length}, others have {self._length}")

    def __getitem__(self, index: int) -> dict[str, Any]:
        return OrderedDict((key, dataset[index]) for key, dataset in self.defn.items())

    def __len__(self) -> int:
        return self._length

    def collater(self, samples: Sequence[dict[str, Any]]) -> Any:
        """Nested mini-batch; no samples give ``{}``."""
        if len(samples) == 0:
            return {}
        batch: dict[str, Any] = OrderedDict()
        for key, dataset in self.defn.items():
            values = [sample[key] for sample in samples]
            try:
                batch[key] = getattr(dataset, "collater", default_collate)(values)
            except NotImplementedError:
                batch[key] = default_collate(values)
        return _unflatten(batch)

    def num_tokens(self, index: int) -> int:
        return int(max(sizes[index] for sizes in self.sizes))

    def num_tokens_vec(self, indices: Any) -> Any:
        if not all(isinstance(sizes, np.ndarray) and sizes.ndim == 1 for sizes in self.sizes):
            raise NotImplementedError
        return take_sizes(indices, *self.sizes)

    def size(self, index: int) -> Any:
        return self.sizes[0][index] if len(self.sizes) == 1 else tuple(sizes[index] for sizes in self.sizes)

    @property
    def supports_prefetch(self) -> bool:
        return any(getattr(dataset, "supports_prefetch", False) for dataset in self.defn.values())

    def prefetch(self, indices: Any) -> None:
        for dataset in self.defn.values():
            if getattr(dataset, "supports_prefetch", False):
                dataset.prefetch(indices)

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        return all(getattr(dataset, "can_reuse_epoch_itr_across_epochs", True) for dataset in self.defn.values())

    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        for dataset in self.defn.values():
            if hasattr(dataset, "set_epoch"):
                dataset.set_epoch(epoch)
