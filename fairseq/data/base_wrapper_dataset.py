"""A data set around another one, forwarding everything."""

from collections.abc import Sequence
from typing import Any, Optional

from torch.utils.data.dataloader import default_collate

from fairseq.data.fairseq_dataset import FairseqDataset

__all__ = ["BaseWrapperDataset"]


class BaseWrapperDataset(FairseqDataset):
    """Behaves as ``dataset``; a subclass changes what it is about.

    Only what is listed here is forwarded. ``num_tokens_vec`` is not, as a subclass that changes ``num_tokens`` would
    silently disagree with it.
    """

    def __init__(self, dataset: Any) -> None:
        super().__init__()
        self.dataset = dataset

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]

    def __len__(self) -> int:
        return len(self.dataset)

    def collater(self, samples: Sequence[Any]) -> Any:
        if hasattr(self.dataset, "collater"):
            return self.dataset.collater(samples)
        return default_collate(list(samples))

    @property
    def sizes(self) -> Any:
        return self.dataset.sizes

    def num_tokens(self, index: int) -> int:
        return self.dataset.num_tokens(index)

    def size(self, index: int) -> Any:
        return self.dataset.size(index)

    def ordered_indices(self) -> Any:
        return self.dataset.ordered_indices()

    @property
    def supports_prefetch(self) -> bool:
        return getattr(self.dataset, "supports_prefetch", False)

    def attr(self, attr: str, index: int) -> Any:
        return self.dataset.attr(attr, index)

    def prefetch(self, indices: Any) -> None:
        self.dataset.prefetch(indices)

    def get_batch_shapes(self) -> Any:
        return self.dataset.get_batch_shapes()

    def batch_by_size(
        self,
        indices: Any,
        max_tokens: Optional[int] = None,
        max_sentences: Optional[int] = None,
        required_batch_size_multiple: int = 1,
    ) -> Sequence[Any]:
        return self.dataset.batch_by_size(
            indices,
            max_tokens=max_tokens,
            max_sentences=max_sentences,
            required_batch_size_multiple=required_batch_size_multiple,
        )

    def filter_indices_by_size(self, indices: Any, max_sizes: Any) -> tuple[Any, list[int]]:
        return self.dataset.filter_indices_by_size(indices, max_sizes)

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        return self.dataset.can_reuse_epoch_itr_across_epochs

    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(epoch)
