"""Sources made up for monolingual targets by a model of the other direction (Sennrich et al. 2016)."""

from collections.abc import Callable, Sequence
from typing import Any, Optional

import torch
from numpy.typing import NDArray

from fairseq.data.fairseq_dataset import FairseqDataset

__all__ = ["BacktranslationDataset", "backtranslate_samples"]


def backtranslate_samples(
    samples: Sequence[dict[str, Any]],
    collate_fn: Callable[[Sequence[Any]], Any],
    generate_fn: Callable[[Any], Any],
    cuda: bool = True,
) -> list[dict[str, Any]]:
    """Exchange the sources of samples for generated ones.

    Args:
        samples: dictionaries with ``id`` and ``source``, the sentences to translate back.
        collate_fn: makes a mini-batch of them.
        generate_fn: mini-batch -> per row a list of hypotheses with ``tokens``; the first counts.
        cuda: move the mini-batch to the GPU, if there is one.

    Returns:
        samples with ``id``, ``target`` (the given sentence) and ``source`` (its translation).
    """
    from fairseq import utils

    batch = collate_fn(samples)
    if cuda and torch.cuda.is_available():
        batch = utils.move_to_cuda(batch)
    generated = generate_fn(batch)
    given = {sample["id"]: sample["source"] for sample in samples}
    pairs = zip(batch["id"].tolist(), generated)
    return [{"id": number, "target": given[number], "source": best[0]["tokens"].cpu()} for number, best in pairs]


class BacktranslationDataset(FairseqDataset):
    """Pairs of generated sources and given targets; generation happens when a batch is collated.

    Args:
        tgt_dataset: the given sentences, as ``source`` of its samples.
        src_dict, tgt_dict: dictionaries of the generated and the given side; the first by default.
        backtranslation_fn: see ``generate_fn`` above; may be set later.
        output_collater: makes the final mini-batch; ``tgt_dataset.collater`` by default.
        cuda: generate on the GPU, if there is one.
        kwargs: passed on to ``backtranslation_fn``.
    """

    def __init__(
        self,
        tgt_dataset: Any,
        src_dict: Any,
        tgt_dict: Any = None,
        backtranslation_fn: Optional[Callable[..., Any]] = None,
        output_collater: Optional[Callable[[Sequence[Any]], Any]] = None,
        cuda: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.tgt_dataset = tgt_dataset
        self.backtranslation_fn = backtranslation_fn
        self.output_collater = output_collater if output_collater is not None else tgt_dataset.collater
        self.cuda = cuda and torch.cuda.is_available()
        self.src_dict = src_dict
        self.tgt_dict = tgt_dict if tgt_dict is not None else src_dict
        self._kwargs = kwargs

    def __getitem__(self, index: int) -> Any:
        """A sample without generated source: that comes with the batch."""
        return self.tgt_dataset[index]

    def __len__(self) -> int:
        return len(self.tgt_dataset)

    def set_backtranslation_fn(self, backtranslation_fn: Callable[..., Any]) -> None:
        """Use another model."""
        self.backtranslation_fn = backtranslation_fn

    def collater(self, samples: Sequence[dict[str, Any]]) -> Any:
        """A mini-batch of generated sources and given targets."""
        if self.backtranslation_fn is None:
            raise RuntimeError("BacktranslationDataset cannot make batches before set_backtranslation_fn was called")
        if len(samples) == 0:
            return {}
        generate = self.backtranslation_fn
        pairs = backtranslate_samples(
            samples, self.tgt_dataset.collater, lambda batch: generate(batch, **self._kwargs), self.cuda
        )
        return self.output_collater(pairs)

    def num_tokens(self, index: int) -> int:
        return self.tgt_dataset.num_tokens(index)

    def ordered_indices(self) -> NDArray[Any]:
        return self.tgt_dataset.ordered_indices()

    def size(self, index: int) -> Any:
        """The given sentence's size for both sides: the other is not known yet."""
        size = self.tgt_dataset.size(index)
        size = size[0] if isinstance(size, tuple) else size
        return (size, size)

    @property
    def supports_prefetch(self) -> bool:
        return getattr(self.tgt_dataset, "supports_prefetch", False)

    def prefetch(self, indices: Any) -> None:
        self.tgt_dataset.prefetch(indices)
