"""Tokens exchanged for others."""

from collections.abc import Sequence
from typing import Any

from fairseq.data.base_wrapper_dataset import BaseWrapperDataset

__all__ = ["ReplaceDataset"]


class ReplaceDataset(BaseWrapperDataset):
    """Items in which some tokens stand for others.

    Args:
        dataset: items ``(length,)``, or tuples of them.
        replace_map: token -> token; applied one after the other.
        offsets: one per part of an item: tokens at the beginning (or, negative, at the end) that stay.
    """

    def __init__(self, dataset: Any, replace_map: dict[int, int], offsets: Sequence[int]) -> None:
        super().__init__(dataset)
        if not replace_map:
            raise AssertionError("ReplaceDataset needs a replace_map with at least one entry")
        self.replace_map = replace_map
        self.offsets = offsets

    def __getitem__(self, index: int) -> Any:
        item = self.dataset[index]
        is_tuple = isinstance(item, tuple)
        parts = tuple(part.clone() for part in (item if is_tuple else (item,)))
        for offset, part in zip(self.offsets, parts):
            region = part[offset:] if offset >= 0 else part[:offset]
            for old, new in self.replace_map.items():
                region.masked_fill_(region == old, new)
        return parts if is_tuple else parts[0]
