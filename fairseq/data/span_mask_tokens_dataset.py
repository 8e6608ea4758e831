"""Masked spans: the source has a sentinel in place of each, the target holds what they hid (Raffel et al. 2020, T5)."""

from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import torch
from numpy.typing import NDArray

from fairseq.data import data_utils
from fairseq.data.denoising_dataset import collate
from fairseq.data.fairseq_dataset import FairseqDataset

__all__ = ["SpanMaskedTokensDataset", "collate"]

# Marks tokens that their span's sentinel stands for.
HIDDEN = -1


class SpanMaskedTokensDataset(FairseqDataset):
    """Hides random spans of every sentence.

    With sentinels ``S1, S2, ...`` the sentence ``a b c d e`` may become the source ``a S1 d S2`` and the target
    ``S1 b c S2 e``; both end with the end of sentence. The first sentinel is the last word of the dictionary, the
    second the one before it, and so on.

    Args:
        dataset: sentences, each ``(length,)``, ended by the end of sentence; it has ``sizes``.
        vocab: the dictionary, with the sentinels as its last words.
        noise_density: the share of tokens to hide.
        mean_noise_span_length: the average length of a hidden span.
        shuffle: shuffle sentences of equal length.
        seed: spans depend on it, on the epoch and on the number of the sentence.
    """

    def __init__(
        self,
        dataset: Any,
        vocab: Any,
        noise_density: float,
        mean_noise_span_length: float,
        shuffle: bool,
        seed: int = 1,
    ) -> None:
        super().__init__()
        if not 0 < noise_density < 1:
            raise ValueError(f"noise_density is a share between 0 and 1, got {noise_density}")
        if mean_noise_span_length < 1:
            raise ValueError(f"mean_noise_span_length is at least 1 token, got {mean_noise_span_length}")
        self.dataset = dataset
        self.vocab = vocab
        self.seed = seed
        self.noise_density = noise_density
        self.mean_noise_span_length = mean_noise_span_length
        self.shuffle = shuffle
        self.epoch = 0

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        return True  # lengths for batching are those of the whole sentences

    def set_epoch(self, epoch: int, **unused: Any) -> None:
        self.epoch = epoch

    def __getitem__(self, index: int) -> dict[str, Any]:
        tokens = self.dataset[index]
        eos = self.vocab.eos()
        if tokens[-1] != eos:
            raise AssertionError(f"sentence {index} does not end with the end of sentence")
        body = tokens[:-1].numpy()
        with data_utils.numpy_seed(self.seed, self.epoch, index):
            noise = self.random_spans_noise_mask(len(body))
        parts = {}
        for side, hidden in (("source", noise), ("target", ~noise)):
            kept = self.filter_input_ids(body, self.create_sentinel_ids(hidden))
            parts[side] = torch.from_numpy(np.append(kept, eos))
        return {"id": index, **parts}

    def random_spans_noise_mask(self, length: int) -> NDArray[np.bool_]:
        """Which of ``length`` tokens to hide, ``(length,)``; the first is never among them if there are two."""
        if length < 2:
            return np.zeros(length, dtype=bool)
        hidden = min(max(int(np.round(length * self.noise_density)), 1), length - 1)
        spans = max(int(np.round(hidden / self.mean_noise_span_length)), 1)
        spans = min(spans, length - hidden)
        hidden_lengths = _random_parts(hidden, spans)
        kept_lengths = _random_parts(length - hidden, spans)
        return np.repeat(np.arange(2 * spans) % 2 == 1, np.stack([kept_lengths, hidden_lengths], axis=1).reshape(-1))

    def create_sentinel_ids(self, mask_indices: NDArray[np.bool_]) -> NDArray[np.int64]:
        """For each token 0 if it is not hidden, a sentinel if it is the first of a hidden span, else -1.

        Raises:
            IndexError: there are more spans than words in the dictionary.
        """
        mask = np.asarray(mask_indices, dtype=bool)
        starts = mask & ~np.concatenate([[False], mask[:-1]])
        numbers = len(self.vocab) - np.cumsum(starts)
        if len(mask) and numbers[-1] < self.vocab.nspecial:
            raise IndexError(f"{starts.sum()} hidden spans need as many sentinels at the end of the dictionary")
        return np.where(starts, numbers, np.where(mask, HIDDEN, 0))

    @staticmethod
    def filter_input_ids(input_ids: Any, sentinel_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """``input_ids`` with each hidden span replaced by its sentinel."""
        ids = np.where(sentinel_ids != 0, sentinel_ids, np.asarray(input_ids))
        return ids[ids >= 0]

    def __len__(self) -> int:
        return len(self.dataset)

    def collater(
        self, samples: Sequence[dict[str, Any]], pad_to_length: Optional[dict[str, int]] = None
    ) -> dict[str, Any]:
        """See :func:`fairseq.data.denoising_dataset.collate`."""
        return collate(samples, self.vocab.pad(), self.vocab.eos(), self.vocab, pad_to_length=pad_to_length)

    def num_tokens(self, index: int) -> int:
        return int(self.dataset.sizes[index])

    def num_tokens_vec(self, indices: NDArray[np.integer]) -> NDArray[Any]:
        return np.asarray(self.dataset.sizes)[indices]

    def size(self, index: int) -> int:
        return int(self.dataset.sizes[index])

    def ordered_indices(self) -> NDArray[np.int64]:
        """By length, ties at random (``shuffle``) or as stored."""
        order = np.random.permutation(len(self)) if self.shuffle else np.arange(len(self))
        return order[np.argsort(np.asarray(self.dataset.sizes)[order], kind="stable")]

    @property
    def supports_prefetch(self) -> bool:
        return getattr(self.dataset, "supports_prefetch", False)

    def prefetch(self, indices: Any) -> None:
        self.dataset.prefetch(indices)


def _random_parts(total: int, parts: int) -> NDArray[np.int64]:
    """``total`` as a sum of ``parts`` positive numbers, all such sums equally likely."""
    is_cut = np.arange(total - 1) < parts - 1
    np.random.shuffle(is_cut)
    ends = np.append(np.flatnonzero(is_cut), total - 1)
    return np.diff(ends, prepend=-1)
