"""A data set that makes no batches: it has one."""

from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fairseq.data.dictionary import Dictionary
from fairseq.data.fairseq_dataset import FairseqDataset

__all__ = ["DummyDataset", "batch_of_rows", "make_dictionary", "rows_of_a_batch"]


def make_dictionary(dict_size: int, *more: str) -> Dictionary:
    """``word0``, ``word1``, ... and further symbols, filled up to a multiple of eight."""
    dictionary = Dictionary()
    for number in range(dict_size):
        dictionary.add_symbol(f"word{number}")
    for symbol in more:
        dictionary.add_symbol(symbol)
    dictionary.pad_to_multiple_(8)
    return dictionary


def rows_of_a_batch(batch_size: Optional[int], max_tokens: Optional[int], length: int) -> int:
    """Samples per batch: as many as the options say or, by tokens, as fit; one at least.

    Raises:
        ValueError: neither option is given.
    """
    if batch_size is not None:
        return batch_size
    if max_tokens is None:
        raise ValueError("made-up batches need a size: give --batch-size or --max-tokens")
    return max(1, max_tokens // length)


def batch_of_rows(source: Tensor, target: Tensor, rows: int, src_len: int, tgt_len: int, **inputs: Any) -> Any:
    """A batch of ``rows`` equal pairs.

    Args:
        source, target: one row each, ``(length,)``.
        src_len, tgt_len: lengths that the batch states.
        inputs: more for the model.
    """
    lengths = torch.full((rows,), src_len)
    return {
        "id": 1,
        "net_input": {"src_tokens": source.repeat(rows, 1), "src_lengths": lengths, **inputs},
        "target": target.repeat(rows, 1),
        "nsentences": rows,
        "ntokens": rows * tgt_len,
    }


class DummyDataset(FairseqDataset):
    """``num_items`` samples, any of which are collated into the same ``batch``.

    Args:
        batch: what the collater returns.
        num_items: samples in an epoch.
        item_size: tokens of each, for batching.
    """

    def __init__(self, batch: Any, num_items: int, item_size: int) -> None:
        super().__init__()
        self.batch = batch
        self.num_items = num_items
        self.item_size = item_size

    def __getitem__(self, index: int) -> int:
        return index

    def __len__(self) -> int:
        return self.num_items

    def collater(self, samples: Sequence[Any]) -> Any:
        return self.batch

    @property
    def sizes(self) -> NDArray[np.int64]:
        return np.full(self.num_items, self.item_size, dtype=np.int64)

    def num_tokens(self, index: int) -> int:
        return self.item_size

    def size(self, index: int) -> int:
        return self.item_size

    def ordered_indices(self) -> NDArray[np.int64]:
        return np.arange(self.num_items)

    @property
    def supports_prefetch(self) -> bool:
        return False
