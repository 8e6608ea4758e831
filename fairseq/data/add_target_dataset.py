"""Audio with labels: another data set's batches get targets."""

from collections.abc import Callable, Sequence
from typing import Any, Optional

import torch
from torch import Tensor

from fairseq.data.base_wrapper_dataset import BaseWrapperDataset
from fairseq.data.batching.collation import collate_tokens
from fairseq.data.batching.size_limits import select_by_size_fn
from fairseq.data.text_compressor import TextCompressionLevel, TextCompressor

__all__ = ["AddTargetDataset"]


class AddTargetDataset(BaseWrapperDataset):
    """Adds a label to each sample of a data set, and targets to its batches.

    Args:
        dataset: what gives the samples.
        labels: one per sample, compressed by ``text_compression_level``.
        pad, eos: token numbers.
        batch_targets: pad targets to one tensor; otherwise they stay a list.
        process_label: label -> tokens ``(length,)``.
        label_len_fn: label -> its length.
        add_to_input: end targets with ``eos``, and put them, with ``eos`` in front, into ``net_input`` as a list
            ``prev_output_tokens``.
        text_compression_level: how labels are kept in memory.
    """

    def __init__(
        self,
        dataset: Any,
        labels: Sequence[Any],
        pad: int,
        eos: int,
        batch_targets: bool,
        process_label: Optional[Callable[[Any], Any]] = None,
        label_len_fn: Optional[Callable[[Any], int]] = None,
        add_to_input: bool = False,
        text_compression_level: TextCompressionLevel = TextCompressionLevel.none,
    ) -> None:
        super().__init__(dataset)
        self.labels = labels
        self.batch_targets = batch_targets
        self.pad, self.eos = pad, eos
        self.process_label = process_label
        self.label_len_fn = label_len_fn
        self.add_to_input = add_to_input
        self.text_compressor = TextCompressor(level=text_compression_level)

    def get_label(self, index: int, process_fn: Optional[Callable[[Any], Any]] = None) -> Any:
        """A label as text, or what ``process_fn`` makes of it."""
        label = self.labels[index]
        if isinstance(label, bytes):
            label = self.text_compressor.decompress(label)
        return label if process_fn is None else process_fn(label)

    def __getitem__(self, index: int) -> Any:
        item = self.dataset[index]
        item["label"] = self.get_label(index, process_fn=self.process_label)
        return item

    def size(self, index: int) -> Any:
        """Size of the sample and length of its label."""
        length = 0 if self.label_len_fn is None else self.get_label(index, process_fn=self.label_len_fn)
        return self.dataset.size(index), length

    def collater(self, samples: Sequence[Any]) -> Any:
        """The batch of the data set with ``target``, ``ntokens`` and, when batched, ``target_lengths``."""
        batch = self.dataset.collater(samples)
        if len(batch) == 0:
            return batch
        used = set(batch["id"].tolist())
        targets: list[Tensor] = [sample["label"] for sample in samples if sample["id"] in used]
        if self.add_to_input:
            eos = torch.tensor([self.eos], dtype=torch.long)
            batch["net_input"]["prev_output_tokens"] = [torch.cat([eos, target]) for target in targets]
            targets = [torch.cat([target, eos]) for target in targets]
        lengths = [len(target) for target in targets]
        if self.batch_targets:
            batch["target_lengths"] = torch.tensor(lengths, dtype=torch.long)
        batch["ntokens"] = sum(lengths)
        batch["target"] = collate_tokens(targets, self.pad) if self.batch_targets else targets
        return batch

    def filter_indices_by_size(self, indices: Any, max_sizes: Any) -> tuple[Any, list[int]]:
        """Keep what is within the limits of size and label length; see :func:`select_by_size_fn`."""
        return select_by_size_fn(indices, self.size, max_sizes)
