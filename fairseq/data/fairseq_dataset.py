"""What a data set offers to tasks, iterators and wrappers."""

from collections.abc import Iterator, Sequence
from typing import Any, Optional

import numpy as np
import torch.utils.data
from numpy.typing import NDArray

from fairseq.data.batching import size_limits

__all__ = ["EpochListening", "FairseqDataset", "FairseqIterableDataset"]


class EpochListening:
    """Something that is told when an epoch begins."""

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        """Whether batches made in one epoch are good for the next one.

        True saves work at the beginning of each epoch. It has to be False where ``set_epoch`` changes the number of
        samples or their sizes.
        """
        return True

    def set_epoch(self, epoch: int) -> None:
        """Called at the beginning of every epoch, before batches are read; epochs count from 1."""


class FairseqDataset(torch.utils.data.Dataset[Any], EpochListening):
    """A data set that knows how big its samples are and how to batch them.

    To implement: ``__getitem__``, ``__len__``, ``collater``, ``num_tokens`` and ``size``. Where sizes are known in
    advance, ``num_tokens_vec`` and an array attribute ``sizes`` make batching much faster.
    """

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def collater(self, samples: Sequence[Any]) -> Any:
        """Merge samples (what ``__getitem__`` returned) into a mini-batch; an empty list gives an empty batch."""
        raise NotImplementedError

    def num_tokens(self, index: int) -> int:
        """Tokens of a sample, the measure for ``--max-tokens``."""
        raise NotImplementedError

    def num_tokens_vec(self, indices: NDArray[np.integer]) -> NDArray[Any]:
        """``num_tokens`` of many samples, ``(len(indices),)``."""
        raise NotImplementedError

    def size(self, index: int) -> Any:
        """Size of a sample, a number or a tuple, the measure for ``--max-positions``."""
        raise NotImplementedError

    def ordered_indices(self) -> NDArray[Any]:
        """Sample numbers in batching order; batches are consecutive runs of it. Default: as stored."""
        return np.arange(len(self), dtype=np.int64)

    @property
    def supports_prefetch(self) -> bool:
        """Whether :meth:`prefetch` has to be called, before samples are read."""
        return False

    def attr(self, attr: str, index: int) -> Any:
        """Attribute ``attr`` of the data set that sample ``index`` comes from; ``None`` if it has none."""
        return getattr(self, attr, None)

    def prefetch(self, indices: Any) -> None:
        """Read the samples of an epoch into memory."""
        raise NotImplementedError

    def get_batch_shapes(self) -> Optional[list[tuple[Optional[int], int]]]:
        """All shapes that batches may have, as ``(sentences or None, tokens per sentence)``; ``None`` for any shape."""
        return None

    def batch_by_size(
        self,
        indices: NDArray[Any],
        max_tokens: Optional[int] = None,
        max_sentences: Optional[int] = None,
        required_batch_size_multiple: int = 1,
    ) -> Sequence[Any]:
        """Group ordered indices into batches, see :func:`fairseq.data.data_utils.batch_by_size`."""
        shapes = self.get_batch_shapes()
        if shapes is not None:
            sized = [
                (_batch_size(rows, tokens, max_tokens, max_sentences, required_batch_size_multiple), tokens)
                for rows, tokens in shapes
            ]
            return size_limits.batch_by_size(indices, self.num_tokens, fixed_shapes=sized)
        try:
            vector = np.asarray(self.num_tokens_vec(indices))
        except NotImplementedError:
            vector = None
        return size_limits.batch_by_size(
            indices,
            self.num_tokens,
            num_tokens_vec=vector,
            max_tokens=max_tokens,
            max_sentences=max_sentences,
            required_batch_size_multiple=required_batch_size_multiple,
        )

    def filter_indices_by_size(self, indices: NDArray[Any], max_sizes: Any) -> tuple[NDArray[Any], list[int]]:
        """Split ``indices`` into those whose ``size`` is within ``max_sizes`` and the list of the others."""
        sizes = getattr(self, "sizes", None)
        if isinstance(sizes, list) and len(sizes) == 1:
            sizes = sizes[0]
        if isinstance(max_sizes, (int, float)) and isinstance(sizes, np.ndarray) and sizes.ndim == 1:
            return size_limits.select_by_sizes(indices, [(sizes, max_sizes)])
        return size_limits.select_by_size_fn(indices, self.size, max_sizes)

    @property
    def supports_fetch_outside_dataloader(self) -> bool:
        """Whether samples may be read in the main process, outside of data-loader workers."""
        return True


def _batch_size(
    rows: Optional[int], tokens: int, max_tokens: Optional[int], max_sentences: Optional[int], multiple: int
) -> int:
    """Sentences of a batch of fixed width."""
    if rows is None:
        if max_tokens is None:
            raise ValueError("batches of fixed shapes need --max-tokens: the shapes say only how long sentences are")
        rows = max_tokens // tokens
    if max_sentences is not None:
        return min(rows, max_sentences)
    if rows >= multiple:
        rows -= rows % multiple
    return rows


class FairseqIterableDataset(torch.utils.data.IterableDataset[Any], EpochListening):
    """A stream of samples; ``__iter__`` has to take data-loader workers into account."""

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError
