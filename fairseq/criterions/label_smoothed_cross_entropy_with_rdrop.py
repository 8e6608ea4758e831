"""Label-smoothed cross entropy with R-Drop (Liang et al. 2021, https://arxiv.org/abs/2106.14448)."""

import math
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Tuple

import torch
from torch import Tensor
from torch.nn import functional as F

from fairseq.criterions import register_criterion
from fairseq.criterions.batch_log import total
from fairseq.criterions.label_smoothed_cross_entropy import (
    LabelSmoothedCrossEntropyCriterion,
    LabelSmoothedCrossEntropyCriterionConfig,
    label_smoothed_nll_loss,
)

__all__ = [
    "RdropLabelSmoothedCrossEntropyCriterion",
    "RdropLabelSmoothedCrossEntropyCriterionConfig",
    "compute_kl_loss",
    "duplicate_input",
]


@dataclass
class RdropLabelSmoothedCrossEntropyCriterionConfig(LabelSmoothedCrossEntropyCriterionConfig):
    """Options of ``--criterion label_smoothed_cross_entropy_with_rdrop``."""

    rdrop_alpha: float = field(
        default=0.0, metadata={"help": "weight of the divergence between two passes with different dropout; 0 is off"}
    )


@register_criterion("label_smoothed_cross_entropy_with_rdrop", dataclass=RdropLabelSmoothedCrossEntropyCriterionConfig)
class RdropLabelSmoothedCrossEntropyCriterion(LabelSmoothedCrossEntropyCriterion):
    """Run every sentence twice, with different dropout, and pull the two predictions together.

    Args:
        task: the running task.
        sentence_avg: divide gradients by the number of sentences instead of tokens.
        label_smoothing: mass given to the other words.
        ignore_prefix_size: tokens at the beginning of each target that do not count.
        report_accuracy: count how often the right word has the best score.
        rdrop_alpha: weight of the divergence; with 0 sentences run once.
    """

    def __init__(
        self,
        task: Any,
        sentence_avg: bool,
        label_smoothing: float,
        ignore_prefix_size: int = 0,
        report_accuracy: bool = False,
        rdrop_alpha: float = 0.0,
    ) -> None:
        super().__init__(task, sentence_avg, label_smoothing, ignore_prefix_size, report_accuracy)
        self.rdrop_alpha = rdrop_alpha

    def forward(  # type: ignore[override]
        self, model: Any, sample: Dict[str, Any], reduce: bool = True, net_output: Any = None
    ) -> Tuple[Tensor, Any, Dict[str, Any]]:
        """Return ``(loss, sample_size, logging_output)``.

        Args:
            model: called with the sentences of the batch twice over.
            sample: a mini-batch; it is not changed.
            reduce: sum the loss.
            net_output: output of a pass that was made already.
        """
        if net_output is None:
            is_single = sample["net_input"]["src_tokens"].size(0) == sample["target"].size(0)
            if self.rdrop_alpha > 0 and is_single:
                sample = duplicate_input(sample)
            net_output = model(**sample["net_input"])
        loss, nll_loss, divergence = self.compute_loss(model, net_output, sample, reduce=reduce)
        size, log = self._size_and_log(model, net_output, sample, loss=loss, nll_loss=nll_loss)
        if self.rdrop_alpha > 0:
            log["rdrop_kl_loss"] = divergence.detach()
        return loss, size, log

    def get_lprobs_and_target(self, model: Any, net_output: Any, sample: Dict[str, Any]) -> Tuple[Tensor, Tensor]:
        """Return ``(tokens, vocab)`` log-probabilities and ``(tokens,)`` targets of both passes."""
        lprobs = self._without_prefix(model.get_normalized_probs(net_output, log_probs=True))
        target = self._without_prefix(model.get_targets(sample, net_output))
        if target.size(0) != lprobs.size(0):
            target = torch.cat([target, target], dim=0)
        return lprobs.reshape(-1, lprobs.size(-1)), target.reshape(-1)

    def compute_loss(  # type: ignore[override]
        self, model: Any, net_output: Any, sample: Dict[str, Any], reduce: bool = True
    ) -> Tuple[Tensor, Tensor, Tensor]:
        """Return ``(loss with the divergence, nll, divergence)``."""
        lprobs, target = self.get_lprobs_and_target(model, net_output, sample)
        loss, nll_loss = label_smoothed_nll_loss(lprobs, target, self.eps, ignore_index=self.padding_idx, reduce=reduce)
        if self.rdrop_alpha <= 0:
            return loss, nll_loss, loss.new_zeros(1)
        is_pad = target[: target.size(0) // 2].eq(self.padding_idx).unsqueeze(-1)
        kl_loss = _symmetric_kl(lprobs, is_pad, reduce=True)
        return loss + self.rdrop_alpha * kl_loss, nll_loss, kl_loss

    @classmethod
    def reduce_metrics(cls, logging_outputs: List[Dict[str, Any]]) -> None:
        """Log what label smoothing logs and ``rdrop_kl_loss`` (base 2, per sample)."""
        from fairseq.logging import metrics

        super().reduce_metrics(logging_outputs)
        if any("rdrop_kl_loss" in log for log in logging_outputs):
            divergence = total(logging_outputs, "rdrop_kl_loss") / total(logging_outputs, "sample_size")
            metrics.log_scalar("rdrop_kl_loss", divergence / math.log(2))


def duplicate_input(sample: Dict[str, Any]) -> Dict[str, Any]:
    """Return a batch whose model input holds every sentence twice: all of them, then all of them again.

    Args:
        sample: a mini-batch, or its ``net_input``; it is not changed.
    """
    inputs = sample.get("net_input", sample)
    doubled = {name: torch.cat([v, v], dim=0) if torch.is_tensor(v) else v for name, v in inputs.items()}
    return {**sample, "net_input": doubled} if "net_input" in sample else doubled


def compute_kl_loss(model: Any, net_output: Any, pad_mask: Optional[Tensor] = None, reduce: bool = True) -> Tensor:
    """Divergence between the two halves of a batch, averaged over both directions.

    Args:
        model: gives the probabilities.
        net_output: output for ``2 * batch`` sentences.
        pad_mask: ``(batch * seq_len, 1)``, true at padding of one half.
        reduce: sum; otherwise ``(batch * seq_len, vocab)``.
    """
    lprobs = model.get_normalized_probs(net_output, log_probs=True)
    return _symmetric_kl(lprobs.reshape(-1, lprobs.size(-1)), pad_mask, reduce)


def _symmetric_kl(lprobs: Tensor, pad_mask: Optional[Tensor], reduce: bool) -> Tensor:
    first, second = lprobs.chunk(2, dim=0)
    forward = F.kl_div(first, second.exp(), reduction="none")
    backward = F.kl_div(second, first.exp(), reduction="none")
    divergence = (forward + backward) / 2
    if pad_mask is not None:
        divergence = divergence.masked_fill(pad_mask, 0.0)
    return divergence.sum() if reduce else divergence
