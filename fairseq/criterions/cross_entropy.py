"""Cross entropy."""

from dataclasses import dataclass
from typing import Any, Dict, List, Tuple

from torch import Tensor
from torch.nn import functional as F

from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.criterions.batch_log import batch_log, log_loss_per_sample_and_token
from fairseq.criterions.fused_loss import is_small, plain_logits, smoothed_cross_entropy
from fairseq.criterions.projected_loss import loss_without_logits
from fairseq.dataclass.configs import II, FairseqDataclass
from fairseq.utils.overrides import uses_default_methods

__all__ = ["CrossEntropyCriterion", "CrossEntropyCriterionConfig"]


@dataclass
class CrossEntropyCriterionConfig(FairseqDataclass):
    """Options of ``--criterion cross_entropy``."""

    sentence_avg: bool = II("optimization.sentence_avg")


@register_criterion("cross_entropy", dataclass=CrossEntropyCriterionConfig)
class CrossEntropyCriterion(FairseqCriterion):
    """Negative log-likelihood of the targets, padding left out.

    Args:
        task: the running task.
        sentence_avg: divide gradients by the number of sentences instead of tokens.
    """

    def __init__(self, task: Any, sentence_avg: bool) -> None:
        super().__init__(task)
        self.sentence_avg = sentence_avg

    def forward(self, model: Any, sample: Dict[str, Any], reduce: bool = True) -> Tuple[Tensor, Any, Dict[str, Any]]:
        """Return ``(loss, sample_size, logging_output)``; the loss in nats, summed or one value per token."""
        direct = None
        if reduce and uses_default_methods(self, CrossEntropyCriterion, ("forward",)):
            direct = loss_without_logits(model, sample, self.padding_idx)
        if direct is not None:
            loss = direct[0]
        else:
            net_output = model(**sample["net_input"])
            loss = self.compute_loss(model, net_output, sample, reduce=reduce)[0]
        size = len(sample["target"]) if self.sentence_avg else sample["ntokens"]
        return loss, size, batch_log(sample, size, loss=loss)

    def compute_loss(
        self, model: Any, net_output: Any, sample: Dict[str, Any], reduce: bool = True
    ) -> Tuple[Tensor, Tensor]:
        """Return the loss twice: summed over tokens, or ``(batch * seq_len,)`` without ``reduce``."""
        target = model.get_targets(sample, net_output).reshape(-1)
        logits = plain_logits(model, net_output)
        if logits is not None and not is_small(logits.numel()):
            loss, _ = smoothed_cross_entropy(
                logits.reshape(-1, logits.size(-1)), target, ignore_index=self.padding_idx, reduce=reduce
            )
        else:
            lprobs = model.get_normalized_probs(net_output, log_probs=True)
            lprobs = lprobs.reshape(-1, lprobs.size(-1))
            reduction = "sum" if reduce else "none"
            loss = F.nll_loss(lprobs, target, ignore_index=self.padding_idx, reduction=reduction)
        return loss, loss

    @staticmethod
    def reduce_metrics(logging_outputs: List[Dict[str, Any]]) -> None:
        """Log ``loss`` (base 2) and ``ppl``, and ``nll_loss`` per token where that differs from the loss."""
        log_loss_per_sample_and_token(logging_outputs)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """They can."""
        return True
