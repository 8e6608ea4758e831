"""Label-smoothed cross entropy plus supervision of attention (Garg et al. 2019, https://arxiv.org/abs/1909.02074)."""

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Tuple

from torch import Tensor

from fairseq.criterions import register_criterion
from fairseq.criterions.batch_log import log_losses, log_perplexity
from fairseq.criterions.label_smoothed_cross_entropy import (
    LabelSmoothedCrossEntropyCriterion,
    LabelSmoothedCrossEntropyCriterionConfig,
)

__all__ = [
    "LabelSmoothedCrossEntropyCriterionWithAlignment",
    "LabelSmoothedCrossEntropyCriterionWithAlignmentConfig",
]


@dataclass
class LabelSmoothedCrossEntropyCriterionWithAlignmentConfig(LabelSmoothedCrossEntropyCriterionConfig):
    """Options of ``--criterion label_smoothed_cross_entropy_with_alignment``."""

    alignment_lambda: float = field(default=0.05, metadata={"help": "weight of the alignment loss"})


@register_criterion(
    "label_smoothed_cross_entropy_with_alignment", dataclass=LabelSmoothedCrossEntropyCriterionWithAlignmentConfig
)
class LabelSmoothedCrossEntropyCriterionWithAlignment(LabelSmoothedCrossEntropyCriterion):
    """Add the cross entropy between given word alignments and the model's attention.

    Args:
        task: the running task.
        sentence_avg: divide gradients by the number of sentences instead of tokens.
        label_smoothing: mass given to the other words.
        alignment_lambda: weight of the alignment loss.
    """

    def __init__(self, task: Any, sentence_avg: bool, label_smoothing: float, alignment_lambda: float) -> None:
        super().__init__(task, sentence_avg, label_smoothing)
        self.alignment_lambda = alignment_lambda

    def forward(self, model: Any, sample: Dict[str, Any], reduce: bool = True) -> Tuple[Tensor, Any, Dict[str, Any]]:
        """Return ``(loss, sample_size, logging_output)``. Batches without ``alignments`` have the usual loss only."""
        net_output = model(**sample["net_input"])
        loss, nll_loss = self.compute_loss(model, net_output, sample, reduce=reduce)
        size, log = self._size_and_log(model, net_output, sample, loss=loss, nll_loss=nll_loss)
        if sample.get("alignments") is not None:
            alignment_loss = self.compute_alignment_loss(sample, net_output)
            if alignment_loss is not None:
                log["alignment_loss"] = alignment_loss.detach()
                loss = loss + self.alignment_lambda * alignment_loss
        return loss, size, log

    def compute_alignment_loss(self, sample: Dict[str, Any], net_output: Any) -> Optional[Tensor]:
        """Sum ``-weight * log attention`` over the links of a batch; ``None`` without links.

        Args:
            sample: ``alignments`` ``(links, 2)`` has source and target positions in the flattened batch, and
                ``align_weights`` ``(links,)`` their weights, 1 / (links of that target word).
            net_output: its attention, ``(batch, tgt_len, src_len)``, is in ``net_output[1]["attn"][0]``.
        """
        attention = net_output[1]["attn"][0]
        links = sample["alignments"]
        if len(links) == 0:
            return None
        attention = attention.reshape(-1, attention.size(-1))
        return -(attention[links[:, 1], links[:, 0]].log() * sample["align_weights"].float()).sum()

    @staticmethod
    def reduce_metrics(logging_outputs: List[Dict[str, Any]]) -> None:
        """Log ``loss``, ``nll_loss``, ``alignment_loss`` (base 2) and ``ppl``."""
        log_losses(logging_outputs, loss="sample_size", nll_loss="ntokens", alignment_loss="sample_size")
        log_perplexity("nll_loss")

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """They can."""
        return True
