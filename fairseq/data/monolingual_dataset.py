"""Text of one language with the targets of a language model."""

from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fairseq.data import data_utils
from fairseq.data.batching.size_limits import take_sizes
from fairseq.data.data_utils_fast import shuffle, stable_order
from fairseq.data.fairseq_dataset import FairseqDataset

__all__ = ["MonolingualDataset", "collate"]

TARGETS = ("self", "future", "past")


def collate(
    samples: Sequence[dict[str, Any]],
    pad_idx: int,
    eos_idx: int,
    fixed_pad_length: Optional[int] = None,
    pad_to_bsz: Optional[int] = None,
) -> dict[str, Any]:
    """Make a mini-batch, padded on the right.

    Args:
        samples: dictionaries with ``id``, ``source`` ``(length,)`` and ``target``: the same shape, a list of such, or
            ``None`` (then the batch's target is its source).
        pad_idx: padding token.
        eos_idx: accepted for symmetry with the other data sets.
        fixed_pad_length: minimal width.
        pad_to_bsz: minimal number of rows.

    Returns:
        ``id``, ``nsentences``, ``ntokens`` (of the sources), ``net_input`` with ``src_tokens`` ``(B, T)`` and
        ``src_lengths`` ``(B,)``, and ``target`` ``(B, T)`` or a list of such. No samples give ``{}``.
    """
    if len(samples) == 0:
        return {}

    def merge(values: Sequence[Tensor]) -> Tensor:
        return data_utils.collate_tokens(values, pad_idx, pad_to_length=fixed_pad_length, pad_to_bsz=pad_to_bsz)

    source = merge([sample["source"] for sample in samples])
    target: Any = source
    first = samples[0]["target"]
    if isinstance(first, list):
        target = [merge([sample["target"][number] for sample in samples]) for number in range(len(first))]
    elif first is not None:
        target = merge([sample["target"] for sample in samples])
    lengths = [sample["source"].numel() for sample in samples]
    return {
        "id": torch.tensor([int(sample["id"]) for sample in samples], dtype=torch.long),
        "nsentences": len(samples),
        "ntokens": sum(lengths),
        "net_input": {"src_tokens": source, "src_lengths": torch.tensor(lengths, dtype=torch.long)},
        "target": target,
    }


class MonolingualDataset(FairseqDataset):
    """Blocks of text for language modelling.

    Args:
        dataset: with ``targets``, items ``(source, future, past)`` (see ``TokenBlockDataset``), else tensors.
        sizes: lengths of blocks.
        src_vocab: dictionary of the input.
        tgt_vocab: dictionary of the output, if that is a shorter one; what it lacks becomes unknown.
        add_eos_for_other_targets: end sources with the end of sentence where targets are ``self`` or ``past``.
        shuffle: shuffle blocks of equal length.
        targets: of ``self``, ``future``, ``past``; one gives a tensor, several a list.
        add_bos_token: begin with the beginning of sentence, or the language token.
        fixed_pad_length, pad_to_bsz: see :func:`collate`.
        src_lang_idx, tgt_lang_idx: language tokens that take the place of the beginning of sentence.
    """

    def __init__(
        self,
        dataset: Any,
        sizes: Any,
        src_vocab: Any,
        tgt_vocab: Any = None,
        add_eos_for_other_targets: bool = False,
        shuffle: bool = False,
        targets: Optional[Sequence[str]] = None,
        add_bos_token: bool = False,
        fixed_pad_length: Optional[int] = None,
        pad_to_bsz: Optional[int] = None,
        src_lang_idx: Optional[int] = None,
        tgt_lang_idx: Optional[int] = None,
    ) -> None:
        super().__init__()
        if targets is not None and not all(target in TARGETS for target in targets):
            raise AssertionError(f"targets are of self, future and past; got {list(targets)}")
        self.dataset = dataset
        self.sizes = np.asarray(sizes)
        self.add_bos_token = add_bos_token
        self.add_eos_for_other_targets = add_eos_for_other_targets
        self.fixed_pad_length = fixed_pad_length
        self.pad_to_bsz = pad_to_bsz
        self.shuffle = shuffle
        self.src_lang_idx = src_lang_idx
        self.tgt_lang_idx = tgt_lang_idx
        self.tgt_vocab = tgt_vocab or src_vocab
        self.vocab = src_vocab
        self.targets = targets or None

    def __getitem__(self, index: int) -> dict[str, Any]:
        target: Any = None
        if self.targets is None:
            source = self.dataset[index]
        else:
            source, target = self._with_targets(*self.dataset[index])
        if self.add_bos_token:
            source = _in_front(self.src_lang_idx or self.vocab.bos(), source)
            begin = self.tgt_lang_idx or self.tgt_vocab.bos()
            if isinstance(target, list):
                target = [_in_front(begin, one) for one in target]
            elif target is not None:
                target = _in_front(begin, target)
        return {"id": index, "source": source, "target": target}

    def __len__(self) -> int:
        return len(self.dataset)

    def _with_targets(self, source: Tensor, future: Tensor, past: Tensor) -> tuple[Tensor, Any]:
        targets = self.targets or ()
        eos = self.vocab.eos()
        if self.add_eos_for_other_targets and ("self" in targets or "past" in targets) and source[-1] != eos:
            # One more position: what follows is unknown, what came before moves along.
            source = torch.cat([source, source.new_tensor([eos])])
            if "future" in targets:
                future = torch.cat([future, future.new_tensor([self.vocab.pad()])])
            if "past" in targets:
                past = torch.cat([past.new_tensor([self.vocab.pad()]), past[1:], source[-2:-1]])
        known = {"self": source, "future": future, "past": past}
        chosen = [self._known_to_target(known[name]) for name in targets]
        return source, chosen[0] if len(chosen) == 1 else chosen

    def _known_to_target(self, target: Tensor) -> Tensor:
        """Tokens outside a shorter output dictionary become unknown."""
        size = len(self.tgt_vocab)
        if size == len(self.vocab):
            return target
        return target.masked_fill(target >= size, self.tgt_vocab.unk())

    def num_tokens(self, index: int) -> int:
        return int(self.sizes[index])

    def num_tokens_vec(self, indices: NDArray[np.integer]) -> NDArray[Any]:
        return take_sizes(indices, self.sizes)

    def size(self, index: int) -> int:
        return int(self.sizes[index])

    def ordered_indices(self) -> NDArray[np.integer]:
        """By length, ties at random (``shuffle``) or as stored."""
        order = np.arange(len(self), dtype=np.int32 if len(self) < 2**31 else np.int64)
        if self.shuffle:
            shuffle(order)
        # A sort with the order as the less important key puts blocks of equal length in the order's *ranks*.
        ranks = np.empty_like(order)
        ranks[order] = np.arange(len(order), dtype=order.dtype)
        del order
        return stable_order(ranks, self.sizes, is_permutation=True)

    def collater(self, samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """See :func:`collate`."""
        return collate(samples, self.vocab.pad(), self.vocab.eos(), self.fixed_pad_length, self.pad_to_bsz)

    @property
    def supports_prefetch(self) -> bool:
        return getattr(self.dataset, "supports_prefetch", False)

    def prefetch(self, indices: Any) -> None:
        self.dataset.prefetch(indices)


def _in_front(token: int, tokens: Tensor) -> Tensor:
    return torch.cat([tokens.new_tensor([token]), tokens])
