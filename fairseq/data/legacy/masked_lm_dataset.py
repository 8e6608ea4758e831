"""Blocks, or pairs of blocks, with masked tokens, as the first BERT-style tasks batch them."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fairseq.data import data_utils
from fairseq.data.concat_dataset import ConcatDataset
from fairseq.data.fairseq_dataset import FairseqDataset
from fairseq.data.token_block_dataset import TokenBlockDataset

__all__ = ["MaskedLMDataset"]


class MaskedLMDataset(FairseqDataset):
    """Samples are masked when they are put into a batch.

    Args:
        dataset: blocks, or triples ``(first block, second block, whether the second follows)``.
        sizes: tokens per sample, ``(n,)``.
        vocab: the dictionary; special symbols are never drawn as random tokens.
        pad_idx, mask_idx, classif_token_idx, sep_token_idx: padding; the mask; what begins a sample; what ends each
            block of a pair.
        seed: batches are masked by it and the number of their first sample.
        shuffle: mix all samples instead of sorting them by size.
        has_pairs: the data are triples.
        segment_id: segment of a single block. Of a pair, the first is 0 and the second 1.
        masking_ratio: share of a block's tokens to predict.
        masking_prob, random_token_prob: shares of those that become the mask and a random token.

    Raises:
        AssertionError: data of another kind, or shares that make no sense.
    """

    def __init__(
        self, dataset: Any, sizes: Any, vocab: Any, pad_idx: int, mask_idx: int, classif_token_idx: int,
        sep_token_idx: int, seed: int = 1, shuffle: bool = True, has_pairs: bool = True, segment_id: int = 0,
        masking_ratio: float = 0.15, masking_prob: float = 0.8, random_token_prob: float = 0.1,
    ) -> None:  # fmt: skip
        super().__init__()
        if not has_pairs and not isinstance(dataset, (TokenBlockDataset, ConcatDataset)):
            raise AssertionError(f"expected a TokenBlockDataset or a ConcatDataset, got {type(dataset).__name__}")
        if not (0 < masking_ratio <= 1 and masking_prob >= 0 and random_token_prob >= 0):
            raise AssertionError("masking_ratio, masking_prob and random_token_prob are shares")
        if masking_prob + random_token_prob > 1:
            raise AssertionError("masking_prob and random_token_prob together are 1 at most")
        self.dataset = dataset
        self.sizes = np.asarray(sizes)
        self.vocab = vocab
        self.pad_idx, self.mask_idx = pad_idx, mask_idx
        self.classif_token_idx, self.sep_token_idx = classif_token_idx, sep_token_idx
        self.seed = seed
        self.shuffle = shuffle
        self.has_pairs = has_pairs
        self.segment_id = segment_id
        self.masking_ratio = masking_ratio
        self.masking_prob, self.random_token_prob = masking_prob, random_token_prob

    def __getitem__(self, index: int) -> dict[str, Any]:
        first, second, follows = self.dataset[index] if self.has_pairs else (self.dataset[index], None, None)
        return {"id": index, "block_one": first, "block_two": second, "sentence_target": follows}

    def __len__(self) -> int:
        return len(self.dataset)

    def _mask(self, block: Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The block with tokens masked, and those tokens (padding elsewhere)."""
        tokens = block.numpy().astype(np.int64)
        chosen = np.random.choice(len(tokens), math.ceil(len(tokens) * self.masking_ratio), replace=False)
        target = np.full_like(tokens, self.pad_idx)
        target[chosen] = tokens[chosen]
        masked = tokens.copy()
        for place in np.sort(chosen):
            # The draws of one token depend on those before it, so they are made one by one.
            drawn = np.random.random()
            if drawn < self.masking_prob:
                masked[place] = self.mask_idx
            elif drawn < self.masking_prob + self.random_token_prob:
                masked[place] = np.random.randint(self.vocab.nspecial, len(self.vocab))
        return masked, target

    def _assemble(self, sample: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens, segments and targets of a sample with its special symbols."""
        blocks = [self._mask(sample["block_one"])]
        if self.has_pairs:
            blocks.append(self._mask(sample["block_two"]))
        parts, targets, segments = [np.array([self.classif_token_idx])], [np.array([self.pad_idx])], []
        for number, (masked, target) in enumerate(blocks):
            ending = 1 if self.has_pairs else 0
            parts += [masked, np.array([self.sep_token_idx] * ending, dtype=np.int64)]
            targets += [target, np.array([self.pad_idx] * ending, dtype=np.int64)]
            segment = number if self.has_pairs else self.segment_id
            segments.append(np.full(len(masked) + ending + (number == 0), segment, dtype=np.int64))
        return tuple(torch.from_numpy(np.concatenate(rows)) for rows in (parts, segments, targets))  # type: ignore[return-value]

    def collater(self, samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Masked samples padded on the right.

        Returns:
            ``id`` ``(B,)``, ``ntokens``, ``net_input`` with ``src_tokens`` and ``segment_labels`` ``(B, T)``,
            ``lm_target`` ``(B, T)``, ``sentence_target`` ``(B,)`` or ``None``, ``nsentences``; ``{}`` for no samples.
        """
        if len(samples) == 0:
            return {}
        with data_utils.numpy_seed(self.seed + samples[0]["id"]):
            rows = [self._assemble(sample) for sample in samples]
        tokens, segments, targets = (data_utils.collate_tokens(list(column), self.pad_idx) for column in zip(*rows))
        follows = torch.tensor([int(sample["sentence_target"]) for sample in samples]) if self.has_pairs else None
        return {
            "id": torch.tensor([int(sample["id"]) for sample in samples]),
            "ntokens": sum(len(row[0]) for row in rows),
            "net_input": {"src_tokens": tokens, "segment_labels": segments},
            "lm_target": targets,
            "sentence_target": follows,
            "nsentences": len(samples),
        }

    def num_tokens(self, index: int) -> int:
        """With the special symbols."""
        return int(self.sizes[index]) + (3 if self.has_pairs else 1)

    def num_tokens_vec(self, indices: NDArray[np.integer]) -> NDArray[Any]:
        return self.sizes[indices] + (3 if self.has_pairs else 1)

    def size(self, index: int) -> int:
        return self.num_tokens(index)

    def ordered_indices(self) -> NDArray[np.int64]:
        """At random (``shuffle``), or by size."""
        if self.shuffle:
            return np.random.permutation(len(self))
        return np.argsort(self.sizes, kind="stable")

    @property
    def supports_prefetch(self) -> bool:
        return getattr(self.dataset, "supports_prefetch", False)

    def prefetch(self, indices: Any) -> None:
        self.dataset.prefetch(indices)
