"""Blocks of text with the end of the block before as context, for evaluating language models."""

from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray

from fairseq.data.data_utils import collate_tokens
from fairseq.data.fairseq_dataset import FairseqDataset
from fairseq.data.monolingual_dataset import MonolingualDataset

__all__ = ["LMContextWindowDataset"]


class LMContextWindowDataset(FairseqDataset):
    """Rows of ``dataset`` preceded by up to ``context_window`` tokens of the row before, which are not scored.

    Batches have to be collated in the order of the data set, by one process.

    Args:
        dataset: blocks and how to batch them.
        tokens_per_sample: longest row without context.
        context_window: tokens of context, above 0.
        pad_idx: padding token.
    """

    def __init__(self, dataset: MonolingualDataset, tokens_per_sample: int, context_window: int, pad_idx: int) -> None:
        super().__init__()
        if context_window <= 0:
            raise AssertionError(f"context_window should be above 0, got {context_window}")
        self.dataset = dataset
        self.tokens_per_sample = tokens_per_sample
        self.context_window = context_window
        self.pad_idx = pad_idx
        self.prev_tokens: torch.Tensor = torch.empty(0, dtype=torch.long)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]

    def __len__(self) -> int:
        return len(self.dataset)

    def collater(self, samples: Sequence[Any]) -> dict[str, Any]:
        """The wrapped batch with context; ``start_indices`` says where the scored part of each row begins."""
        batch = self.dataset.collater(samples)
        if not batch:
            return batch
        pad = self.pad_idx
        longest = self.tokens_per_sample + self.context_window
        rows, targets, starts = [], [], []
        for tokens, target, length in zip(
            batch["net_input"]["src_tokens"], batch["target"], batch["net_input"]["src_lengths"].tolist()
        ):
            tokens, target = tokens[:length], target[:length]
            room = max(longest - length, 0)
            context = self.prev_tokens[max(len(self.prev_tokens) - room, 0) :] if room else self.prev_tokens[:0]
            row = torch.cat([context.to(tokens), tokens])
            rows.append(row)
            targets.append(torch.cat([target.new_full((len(context),), pad), target]))
            starts.append(len(context))
            self.prev_tokens = row[max(len(row) - self.context_window, 0) :]
        width = batch["net_input"]["src_tokens"].shape[1] + self.context_window
        batch["net_input"]["src_tokens"] = collate_tokens(rows, pad, pad_to_length=width)
        batch["target"] = collate_tokens(targets, pad, pad_to_length=width)
        batch["net_input"]["src_lengths"] = torch.tensor([len(row) for row in rows])
        batch["start_indices"] = starts
        return batch

    def num_tokens(self, index: int) -> int:
        return self.dataset.num_tokens(index)

    def size(self, index: int) -> Any:
        return self.dataset.size(index)

    def ordered_indices(self) -> NDArray[Any]:
        """As stored: context comes from the row before."""
        return FairseqDataset.ordered_indices(self)

    @property
    def supports_prefetch(self) -> bool:
        return getattr(self.dataset, "supports_prefetch", False)

    def prefetch(self, indices: Any) -> None:
        self.dataset.prefetch(indices)
