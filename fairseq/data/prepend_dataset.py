"""The first token of items replaced."""

from collections.abc import Callable
from typing import Any, Optional

from fairseq.data.base_wrapper_dataset import BaseWrapperDataset

__all__ = ["PrependDataset"]


class PrependDataset(BaseWrapperDataset):
    """Items whose first token is exchanged for another one, e.g. a language token.

    Args:
        dataset: items ``(length,)``, or tuples that begin with one.
        prepend_getter: ``(dataset, index) -> token``.
        ensure_first_token_is: what the first token has to be before; ``None`` for anything.

    Raises:
        AssertionError: when an item is read whose first token is another one.
    """

    def __init__(
        self, dataset: Any, prepend_getter: Callable[[Any, int], int], ensure_first_token_is: Optional[int] = None
    ) -> None:
        super().__init__(dataset)
        self.prepend_getter = prepend_getter
        self.ensure_first_token = ensure_first_token_is

    def __getitem__(self, idx: int) -> Any:
        item = self.dataset[idx]
        is_tuple = isinstance(item, tuple)
        source = (item[0] if is_tuple else item).clone()
        if self.ensure_first_token is not None and source[0] != self.ensure_first_token:
            raise AssertionError(f"item {idx} begins with {int(source[0])}, expected {self.ensure_first_token}")
        source[0] = int(self.prepend_getter(self.dataset, idx))
        return (source, *item[1:]) if is_tuple else source
