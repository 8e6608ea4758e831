"""Ends of sources and beginnings of decoder inputs exchanged for language tokens, in whole batches."""

from collections.abc import Sequence
from typing import Any, Optional

import torch
from numpy.typing import NDArray
from torch import Tensor

from fairseq.data.fairseq_dataset import FairseqDataset

__all__ = ["TransformEosLangPairDataset", "exchange_boundary_tokens"]


def exchange_boundary_tokens(
    batch: Any,
    pad: int,
    left_pad_source: bool,
    left_pad_target: bool,
    src_eos: Optional[int],
    new_src_eos: Optional[int],
    tgt_bos: Optional[int],
    new_tgt_bos: Optional[int],
) -> Any:
    """Change a mini-batch in place: last source tokens, first decoder inputs; ``None`` as new token changes nothing.

    Args:
        batch: with ``net_input.src_tokens`` ``(B, S)`` and possibly ``net_input.prev_output_tokens`` ``(B, T)``.
        pad: padding token; left_pad_source, left_pad_target: where it stands.
        src_eos, tgt_bos: what stands at those places before.
        new_src_eos, new_tgt_bos: what shall stand there.

    Raises:
        AssertionError: something else stands there.
    """
    if not batch:
        return batch
    if new_src_eos is not None:
        tokens = batch["net_input"]["src_tokens"]
        if left_pad_source:
            last = torch.full((len(tokens),), tokens.shape[1] - 1, device=tokens.device)
        else:
            last = tokens.ne(pad).sum(1) - 1
        _exchange(tokens, last, src_eos, new_src_eos, "sources end")
    if new_tgt_bos is not None and "prev_output_tokens" in batch["net_input"]:
        tokens = batch["net_input"]["prev_output_tokens"]
        first = tokens.shape[1] - tokens.ne(pad).sum(1) if left_pad_target else torch.zeros(len(tokens)).long()
        _exchange(tokens, first.to(tokens.device), tgt_bos, new_tgt_bos, "decoder inputs begin")
    return batch


def _exchange(tokens: Tensor, places: Tensor, old: Optional[int], new: int, what: str) -> None:
    rows = torch.arange(len(tokens), device=tokens.device)
    if old is not None and not bool((tokens[rows, places] == old).all()):
        raise AssertionError(f"expected all {what} with token {old}, found {tokens[rows, places].tolist()}")
    tokens[rows, places] = new


class TransformEosLangPairDataset(FairseqDataset):
    """Batches of a :class:`LanguagePairDataset` with other boundary tokens, see :func:`exchange_boundary_tokens`."""

    def __init__(
        self,
        dataset: Any,
        src_eos: int,
        new_src_eos: Optional[int] = None,
        tgt_bos: Optional[int] = None,
        new_tgt_bos: Optional[int] = None,
    ) -> None:
        super().__init__()
        self.dataset = dataset
        self.src_eos = src_eos
        self.new_src_eos = new_src_eos
        self.tgt_bos = tgt_bos
        self.new_tgt_bos = new_tgt_bos

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]

    def __len__(self) -> int:
        return len(self.dataset)

    def collater(self, samples: Sequence[Any], **extra_args: Any) -> Any:
        return exchange_boundary_tokens(
            self.dataset.collater(samples, **extra_args),
            self.dataset.src_dict.pad(),
            self.dataset.left_pad_source,
            self.dataset.left_pad_target,
            self.src_eos,
            self.new_src_eos,
            self.tgt_bos,
            self.new_tgt_bos,
        )

    def num_tokens(self, index: int) -> int:
        return self.dataset.num_tokens(index)

    def num_tokens_vec(self, indices: NDArray[Any]) -> NDArray[Any]:
        return self.dataset.num_tokens_vec(indices)

    def size(self, index: int) -> Any:
        return self.dataset.size(index)

    @property
    def sizes(self) -> Any:
        return self.dataset.sizes

    def ordered_indices(self) -> NDArray[Any]:
        return self.dataset.ordered_indices()

    def filter_indices_by_size(self, indices: NDArray[Any], max_sizes: Any) -> tuple[NDArray[Any], list[int]]:
        return self.dataset.filter_indices_by_size(indices, max_sizes)

    @property
    def supports_prefetch(self) -> bool:
        return getattr(self.dataset, "supports_prefetch", False)

    def prefetch(self, indices: Any) -> None:
        self.dataset.prefetch(indices)
