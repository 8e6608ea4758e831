"""End-of-sentence tokens added to or removed from pairs."""

from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from fairseq.data.fairseq_dataset import FairseqDataset

__all__ = ["TransformEosDataset"]


class TransformEosDataset(FairseqDataset):
    """Samples of ``dataset`` with ends of sentence changed when a batch is made.

    Args:
        dataset: samples are dictionaries with ``source`` and ``target``.
        eos: the token.
        append_eos_to_src, remove_eos_from_src: for sources, one of them at most.
        append_eos_to_tgt, remove_eos_from_tgt: for targets, one of them at most.
        has_target: whether samples have a target.

    Raises:
        ValueError: add and remove at once.
        AssertionError: when adding finds an end of sentence, or removing finds none.
    """

    def __init__(
        self,
        dataset: Any,
        eos: int,
        append_eos_to_src: bool = False,
        remove_eos_from_src: bool = False,
        append_eos_to_tgt: bool = False,
        remove_eos_from_tgt: bool = False,
        has_target: bool = True,
    ) -> None:
        super().__init__()
        if not isinstance(dataset, FairseqDataset):
            raise ValueError(f"TransformEosDataset wraps a FairseqDataset, not a {type(dataset).__name__}")
        for side, both in (
            ("src", append_eos_to_src and remove_eos_from_src),
            ("tgt", append_eos_to_tgt and remove_eos_from_tgt),
        ):
            if both:
                raise ValueError(f"append_eos_to_{side} and remove_eos_from_{side} exclude each other")
        self.dataset = dataset
        self.eos = eos
        self.append_eos_to_src = append_eos_to_src
        self.remove_eos_from_src = remove_eos_from_src
        self.append_eos_to_tgt = append_eos_to_tgt
        self.remove_eos_from_tgt = remove_eos_from_tgt
        self.has_target = has_target

    def _changed(self, tokens: Tensor, append: bool, remove: bool) -> Tensor:
        ends = bool(tokens[-1] == self.eos)
        if (append and ends) or (remove and not ends):
            expected = "no end of sentence" if append else "an end of sentence"
            raise AssertionError(f"expected {expected} at the end of {tokens.tolist()}")
        if append:
            return torch.cat([tokens, tokens.new_tensor([self.eos])])
        return tokens[:-1] if remove else tokens

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]

    def __len__(self) -> int:
        return len(self.dataset)

    def collater(self, samples: Sequence[dict[str, Any]]) -> Any:
        # The samples themselves are changed: backtranslation takes its targets from them afterwards.
        for sample in samples:
            sample["source"] = self._changed(sample["source"], self.append_eos_to_src, self.remove_eos_from_src)
            if self.has_target and sample.get("target") is not None:
                sample["target"] = self._changed(sample["target"], self.append_eos_to_tgt, self.remove_eos_from_tgt)
        return self.dataset.collater(samples)

    def num_tokens(self, index: int) -> int:
        return self.dataset.num_tokens(index)

    def size(self, index: int) -> Any:
        return self.dataset.size(index)

    def ordered_indices(self) -> NDArray[Any]:
        # The change is the same for every sample, so it does not affect the order.
        return self.dataset.ordered_indices()

    @property
    def supports_prefetch(self) -> bool:
        return getattr(self.dataset, "supports_prefetch", False)

    def prefetch(self, indices: Any) -> None:
        self.dataset.prefetch(indices)
