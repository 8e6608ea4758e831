"""Masked language modelling: random tokens hidden from the input (Devlin et al. 2018, BERT)."""

from typing import Any, Optional

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fairseq.data.base_wrapper_dataset import BaseWrapperDataset
from fairseq.data.lru_cache_dataset import LRUCacheDataset

__all__ = ["MaskTokensDataset"]

Mask = NDArray[np.bool_]


class MaskTokensDataset(BaseWrapperDataset):
    """Items of ``dataset``, each ``(length,)``, with some tokens masked; or those tokens, among padding.

    What is masked depends on seed, epoch and index alone, so the masked items and their targets, two objects of this
    class made by :meth:`apply_mask`, fit together.

    Args:
        dataset: items.
        vocab: dictionary.
        pad_idx: padding token.
        mask_idx: the mask token; must not occur in items.
        return_masked_tokens: give the targets: padding except where masked.
        seed: of the choice.
        mask_prob: share of tokens (or words) to choose, in ``(0, 1)``.
        leave_unmasked_prob: share of the chosen ones left as they are.
        random_token_prob: share of the chosen ones replaced by a random token.
        freq_weighted_replacement: random tokens follow their frequency.
        mask_whole_words: per vocabulary entry, whether it begins a word, ``(vocab,)``; then words are chosen.
        mask_multiple_length: choose runs of so many.
        mask_stdev: standard deviation of run lengths.
        skip_masking: give items unchanged.

    Raises:
        AssertionError: shares out of range; and when an item holds the mask token.
    """

    @classmethod
    def apply_mask(cls, dataset: Any, *args: Any, **kwargs: Any) -> tuple[LRUCacheDataset, LRUCacheDataset]:
        """The masked items and their targets."""
        dataset = LRUCacheDataset(dataset)
        return (
            LRUCacheDataset(cls(dataset, *args, **{**kwargs, "return_masked_tokens": False})),
            LRUCacheDataset(cls(dataset, *args, **{**kwargs, "return_masked_tokens": True})),
        )

    def __init__(
        self, dataset: Any, vocab: Any, pad_idx: int, mask_idx: int, return_masked_tokens: bool = False, seed: int = 1,
        mask_prob: float = 0.15, leave_unmasked_prob: float = 0.1, random_token_prob: float = 0.1,
        freq_weighted_replacement: bool = False, mask_whole_words: Optional[Tensor] = None,
        mask_multiple_length: int = 1, mask_stdev: float = 0.0, skip_masking: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(dataset)
        if not 0.0 < mask_prob < 1.0:
            raise AssertionError(f"mask_prob should lie between 0 and 1, got {mask_prob}")
        for name, share in (("random_token_prob", random_token_prob), ("leave_unmasked_prob", leave_unmasked_prob)):
            if not 0.0 <= share <= 1.0:
                raise AssertionError(f"{name} should lie in [0, 1], got {share}")
        if random_token_prob + leave_unmasked_prob > 1.0:
            raise AssertionError("random_token_prob and leave_unmasked_prob should not be above 1 together")
        if mask_multiple_length < 1 or mask_stdev < 0.0:
            raise AssertionError("mask_multiple_length should be at least 1, and mask_stdev at least 0")
        self.leave_unmasked_prob = leave_unmasked_prob
        self.mask_idx = mask_idx
        self.mask_multiple_length = mask_multiple_length
        self.mask_prob = mask_prob
        self.mask_stdev = mask_stdev
        self.mask_whole_words = mask_whole_words
        self.pad_idx = pad_idx
        self.random_token_prob = random_token_prob
        self.return_masked_tokens = return_masked_tokens
        self.seed = seed
        self.skip_masking = skip_masking
        self.vocab = vocab
        self.weights: Optional[NDArray[Any]] = None
        if random_token_prob > 0.0:
            counts = vocab.count if freq_weighted_replacement else np.ones(len(vocab))
            weights = np.array(counts, dtype=np.float64)
            weights[: vocab.nspecial] = 0
            self.weights = weights / weights.sum()
        self.epoch = 0

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        # Masks change with the epoch, sizes do not.
        return True

    def set_epoch(self, epoch: int, **unused: Any) -> None:
        super().set_epoch(epoch)
        self.epoch = epoch

    def __getitem__(self, index: int) -> Tensor:
        item = self.dataset[index]
        if self.skip_masking:
            return item
        if bool((item == self.mask_idx).any()):
            raise AssertionError(f"Dataset contains mask_idx (={self.mask_idx}), this is not expected! (item {index})")
        rng = np.random.default_rng(int(hash((self.seed, self.epoch, index)) % 1e6))
        word_lengths = self._word_lengths(item)
        size = len(item) if word_lengths is None else len(word_lengths)

        def per_token(mask: Mask) -> Mask:
            return mask if word_lengths is None else np.repeat(mask, word_lengths)

        chosen = self._choose(rng, size)
        if self.return_masked_tokens:
            target = torch.full_like(item, self.pad_idx)
            positions = torch.from_numpy(per_token(chosen))
            target[positions] = item[positions]
            return target
        left, replaced = self._exceptions(rng, chosen)
        masked = item.clone()
        masked[torch.from_numpy(per_token(chosen & ~left))] = self.mask_idx
        positions = torch.from_numpy(per_token(replaced))
        count = int(positions.sum())
        if count > 0:
            masked[positions] = torch.from_numpy(rng.choice(len(self.vocab), count, p=self.weights)).to(masked)
        return masked

    def _word_lengths(self, item: Tensor) -> Optional[NDArray[np.int64]]:
        """Tokens per word, if words are to be masked."""
        if self.mask_whole_words is None:
            return None
        begins = self.mask_whole_words.gather(0, item).nonzero().view(-1)
        bounds = np.append(begins.numpy(), len(item))
        if len(begins) == 0 or begins[0] != 0:
            raise AssertionError("with mask_whole_words, the first token of an item has to begin a word")
        return np.diff(bounds)

    def _choose(self, rng: np.random.Generator, size: int) -> Mask:
        """Tokens (or words) to mask; the order of draws is part of the recorded behaviour."""
        run = self.mask_multiple_length
        # Rounded up with the probability of the fraction, so that the expectation is exact.
        count = int(self.mask_prob * size / float(run) + rng.random())
        starts = rng.choice(size, count, replace=False)
        if self.mask_stdev > 0.0:
            lengths = [max(0, round(float(x))) for x in rng.normal(run, self.mask_stdev, size=count)]
            positions = np.asarray([s + i for s, length in zip(starts, lengths) for i in range(length)], dtype=np.int64)
        else:
            positions = np.concatenate([starts + i for i in range(run)])
        mask = np.zeros(size, dtype=bool)
        mask[positions[positions < size]] = True
        return mask

    def _exceptions(self, rng: np.random.Generator, chosen: Mask) -> tuple[Mask, Mask]:
        """Which of the chosen stay as they are, and which become random tokens."""
        nothing = np.zeros(len(chosen), dtype=bool)
        share = self.random_token_prob + self.leave_unmasked_prob
        if share <= 0.0:
            return nothing, nothing
        drawn = chosen & (rng.random(len(chosen)) < share)
        if self.random_token_prob == 0.0:
            return drawn, nothing
        if self.leave_unmasked_prob == 0.0:
            return nothing, drawn
        stays = rng.random(len(chosen)) < self.leave_unmasked_prob / share
        return drawn & stays, drawn & ~stays
