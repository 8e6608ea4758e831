"""Cross entropy with label smoothing (Szegedy et al. 2016, https://arxiv.org/abs/1512.00567, sec. 7)."""

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Tuple

import torch
from torch import Tensor

from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.criterions.batch_log import batch_log, log_losses, log_perplexity, total
from fairseq.criterions.fused_loss import is_small, plain_logits, smoothed_cross_entropy
from fairseq.criterions.projected_loss import loss_without_logits
from fairseq.dataclass.configs import II, FairseqDataclass
from fairseq.utils.overrides import uses_default_methods

__all__ = [
    "LabelSmoothedCrossEntropyCriterion",
    "LabelSmoothedCrossEntropyCriterionConfig",
    "label_smoothed_nll_loss",
]

# What calls, or is called by, the loss from features; the accuracy is never counted with it.
_LOSS_PATH = ("forward", "_loss_without_logits", "_size_and_log", "compute_accuracy")
# What calls, or is called by, the loss from logits.
_LOGITS_PATH = (*_LOSS_PATH, "compute_loss", "_without_prefix", "_logits_and_target")


@dataclass
class LabelSmoothedCrossEntropyCriterionConfig(FairseqDataclass):
    """Options of ``--criterion label_smoothed_cross_entropy``."""

    label_smoothing: float = field(
        default=0.0, metadata={"help": "probability mass taken from the right word and shared by all others; 0 is off"}
    )
    report_accuracy: bool = field(default=False, metadata={"help": "log how many tokens have the best score"})
    ignore_prefix_size: int = field(
        default=0, metadata={"help": "leave this many tokens at the beginning of each target out of the loss"}
    )
    sentence_avg: bool = II("optimization.sentence_avg")


def label_smoothed_nll_loss(
    lprobs: Tensor, target: Tensor, epsilon: float, ignore_index: Optional[int] = None, reduce: bool = True
) -> Tuple[Tensor, Tensor]:
    """Cross entropy mixed with a uniform prior over the other words.

    Args:
        lprobs: log-probabilities, ``(..., vocab)``.
        target: word indices, ``(...)`` or ``(..., 1)``.
        epsilon: mass given to the prior, in ``[0, 1)``.
        ignore_index: targets that count as zero.
        reduce: sum; otherwise the shapes are ``(..., 1)`` with an ``ignore_index`` and ``(...)`` without.

    Returns:
        ``(loss, nll)``, in nats.
    """
    if target.dim() == lprobs.dim() - 1:
        target = target.unsqueeze(-1)
    if ignore_index is None:
        nll = -lprobs.gather(-1, target).squeeze(-1)
        prior = -lprobs.sum(-1)
    else:
        ignored = target.eq(ignore_index)
        # The ignored index may be no word (-100).
        nll = -lprobs.gather(-1, target.masked_fill(ignored, 0)).masked_fill(ignored, 0.0)
        prior = -lprobs.sum(-1, keepdim=True).masked_fill(ignored, 0.0)
    if reduce:
        nll, prior = nll.sum(), prior.sum()
    each = epsilon / (lprobs.size(-1) - 1)
    return (1.0 - epsilon - each) * nll + each * prior, nll


@register_criterion("label_smoothed_cross_entropy", dataclass=LabelSmoothedCrossEntropyCriterionConfig)
class LabelSmoothedCrossEntropyCriterion(FairseqCriterion):
    """Label-smoothed cross entropy of the targets, padding left out.

    Args:
        task: the running task.
        sentence_avg: divide gradients by the number of sentences instead of tokens.
        label_smoothing: mass given to the other words.
        ignore_prefix_size: tokens at the beginning of each target that do not count.
        report_accuracy: count how often the right word has the best score.
    """

    def __init__(
        self,
        task: Any,
        sentence_avg: bool,
        label_smoothing: float,
        ignore_prefix_size: int = 0,
        report_accuracy: bool = False,
    ) -> None:
        super().__init__(task)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"--label-smoothing {label_smoothing}: a number from 0 to 1 is expected")
        self.sentence_avg = sentence_avg
        self.eps = label_smoothing
        self.ignore_prefix_size = ignore_prefix_size
        self.report_accuracy = report_accuracy

    def forward(self, model: Any, sample: Dict[str, Any], reduce: bool = True) -> Tuple[Tensor, Any, Dict[str, Any]]:
        """Return ``(loss, sample_size, logging_output)``; the loss in nats, summed or one value per token."""
        direct = self._loss_without_logits(model, sample) if reduce else None
        if direct is not None:
            return direct[0], *self._size_and_log(model, None, sample, loss=direct[0], nll_loss=direct[1])
        net_output = model(**sample["net_input"])
        loss, nll_loss = self.compute_loss(model, net_output, sample, reduce=reduce)
        return loss, *self._size_and_log(model, net_output, sample, loss=loss, nll_loss=nll_loss)

    def _size_and_log(
        self, model: Any, net_output: Any, sample: Dict[str, Any], **sums: Tensor
    ) -> Tuple[Any, Dict[str, Any]]:
        """Sample size and logging output of a batch; counts right words if they are to be reported."""
        if self.report_accuracy:
            sums["n_correct"], sums["total"] = self.compute_accuracy(model, net_output, sample)
        size = len(sample["target"]) if self.sentence_avg else sample["ntokens"]
        return size, batch_log(sample, size, **sums)

    def _loss_without_logits(self, model: Any, sample: Dict[str, Any]) -> Optional[Tuple[Tensor, Tensor]]:
        """Loss and nll from the model's features, where nothing but the loss itself looks at the logits."""
        written = uses_default_methods(self, LabelSmoothedCrossEntropyCriterion, _LOSS_PATH)
        if not written or self.report_accuracy or self.ignore_prefix_size > 0:
            return None
        return loss_without_logits(model, sample, self.padding_idx, self.eps)

    def get_lprobs_and_target(self, model: Any, net_output: Any, sample: Dict[str, Any]) -> Tuple[Tensor, Tensor]:
        """Return ``(tokens, vocab)`` log-probabilities and ``(tokens,)`` targets, without the ignored prefix."""
        lprobs = self._without_prefix(model.get_normalized_probs(net_output, log_probs=True))
        target = self._without_prefix(model.get_targets(sample, net_output))
        return lprobs.reshape(-1, lprobs.size(-1)), target.reshape(-1)

    def _without_prefix(self, tensor: Tensor) -> Tensor:
        """Drop the first tokens of ``(batch, seq_len, ...)``."""
        return tensor[:, self.ignore_prefix_size :] if self.ignore_prefix_size > 0 else tensor

    def _logits_and_target(
        self, model: Any, net_output: Any, sample: Dict[str, Any]
    ) -> Optional[Tuple[Tensor, Tensor]]:
        """As ``get_lprobs_and_target`` with logits; ``None`` if a subclass or the model has a say in them."""
        logits = None
        if uses_default_methods(self, LabelSmoothedCrossEntropyCriterion, _LOGITS_PATH):
            logits = plain_logits(model, net_output)
        if logits is None or is_small(logits.numel()):
            return None
        logits = self._without_prefix(logits)
        target = self._without_prefix(model.get_targets(sample, net_output))
        return logits.reshape(-1, logits.size(-1)), target.reshape(-1)

    def compute_loss(
        self, model: Any, net_output: Any, sample: Dict[str, Any], reduce: bool = True
    ) -> Tuple[Tensor, Tensor]:
        """Return ``(loss, nll)``: summed over tokens, or ``(tokens, 1)`` without ``reduce``."""
        direct = self._logits_and_target(model, net_output, sample)
        if direct is None:
            lprobs, target = self.get_lprobs_and_target(model, net_output, sample)
            return label_smoothed_nll_loss(lprobs, target, self.eps, ignore_index=self.padding_idx, reduce=reduce)
        logits, target = direct
        loss, nll = smoothed_cross_entropy(logits, target, self.eps, ignore_index=self.padding_idx, reduce=reduce)
        return (loss, nll) if reduce else (loss.unsqueeze(-1), nll.unsqueeze(-1))

    def compute_accuracy(self, model: Any, net_output: Any, sample: Dict[str, Any]) -> Tuple[Tensor, Tensor]:
        """Return ``(tokens whose target has the best score, tokens)``, two scalar tensors."""
        direct = self._logits_and_target(model, net_output, sample)
        scores, target = direct if direct is not None else self.get_lprobs_and_target(model, net_output, sample)
        counted = target.ne(self.padding_idx)
        n_correct = (scores.argmax(1).eq(target) & counted).sum()
        return n_correct, counted.sum()

    @classmethod
    def reduce_metrics(cls, logging_outputs: List[Dict[str, Any]]) -> None:
        """Log ``loss``, ``nll_loss`` (base 2), ``ppl`` and, if counted, ``accuracy`` in percent."""
        from fairseq.logging import metrics

        log_losses(logging_outputs, loss="sample_size", nll_loss="ntokens")
        log_perplexity("nll_loss")
        counted = torch.as_tensor(total(logging_outputs, "total"))
        # Only the CPU can be asked without waiting; a batch without any word to count does not come up elsewhere.
        if any("total" in log for log in logging_outputs) and (counted.device.type != "cpu" or counted > 0):
            metrics.log_scalar("total", counted)
            metrics.log_scalar("n_correct", torch.as_tensor(total(logging_outputs, "n_correct")))
            metrics.log_derived("accuracy", _accuracy)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """They can."""
        return True


def _accuracy(meters: Dict[str, Any]) -> float:
    total = meters["total"].sum
    return round(float(meters["n_correct"].sum * 100.0 / total), 3) if total > 0 else float("nan")
