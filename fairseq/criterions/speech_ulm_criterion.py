"""The loss of unit language models: units, their durations and their pitch (Kharitonov et al. 2021,
https://arxiv.org/abs/2109.03264).

Shapes in this file:  B = batch, T = length
"""

from dataclasses import dataclass
from typing import Any, Dict, List, Tuple

import torch
from torch import Tensor
from torch.nn import functional as F

from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.criterions.batch_log import batch_log, total
from fairseq.dataclass.configs import II, FairseqDataclass
from fairseq.dataclass.fields import option

__all__ = ["SpeechUnitLmCriterion", "SpeechUnitLmCriterionConfig", "mae_loss", "nll_loss"]

_STREAMS = ("token_loss", "dur_loss", "f0_loss")


@dataclass
class SpeechUnitLmCriterionConfig(FairseqDataclass):
    """Options of ``--criterion speech_unit_lm_criterion``."""

    sentence_avg: bool = II("optimization.sentence_avg")
    loss_weights: str = option("1.;0.0;0.0", "what the losses of units, durations and pitch count, with ; between them")
    discrete_duration: bool = II("task.discrete_duration")
    discrete_f0: bool = II("task.discrete_f0")


def mae_loss(pred: Tensor, targ: Tensor, mask: Tensor, reduce: bool = True) -> Tensor:
    """Absolute error.

    Args:
        pred: ``(B, T, 1)`` or ``(B, T)``, real numbers; ``targ``: ``(B, T)``.
        mask: ``(B, T)``, true where nothing is to be predicted; counts as 0.
        reduce: sum over everything instead of ``(B, T)``.
    """
    if pred.dim() > targ.dim():
        pred = pred.squeeze(-1)
    loss = (pred.float() - targ.float()).abs().masked_fill(mask, 0.0)
    return loss.sum() if reduce else loss


def nll_loss(pred: Tensor, targ: Tensor, mask: Tensor, reduce: bool = True) -> Tensor:
    """Negative log-likelihood in nats.

    Args:
        pred: ``(B, T, classes)``, scores before the softmax; ``targ``: ``(B, T)``, class numbers.
        mask: ``(B, T)``, true where nothing is to be predicted; counts as 0.
        reduce: sum over everything instead of ``(B, T)``.
    """
    loss = F.cross_entropy(pred.flatten(0, 1).float(), targ.flatten().long(), reduction="none")
    loss = loss.view_as(targ).masked_fill(mask, 0.0)
    return loss.sum() if reduce else loss


@register_criterion("speech_unit_lm_criterion", dataclass=SpeechUnitLmCriterionConfig)
class SpeechUnitLmCriterion(FairseqCriterion):
    """Weighted sum of the losses of three streams.

    Args:
        cfg: the options.
        task: the running task.

    Raises:
        ValueError: ``loss_weights`` is not three numbers.
    """

    def __init__(self, cfg: SpeechUnitLmCriterionConfig, task: Any) -> None:
        super().__init__(task)
        self.sentence_avg = cfg.sentence_avg
        self.weights = torch.tensor(_three_numbers(cfg.loss_weights))
        self.dur_loss_fn = nll_loss if cfg.discrete_duration else mae_loss
        self.f0_loss_fn = nll_loss if cfg.discrete_f0 else mae_loss

    def forward(self, model: Any, sample: Dict[str, Any], reduce: bool = True) -> Tuple[Tensor, Any, Dict[str, Any]]:
        """Return ``(loss, sample_size, logging_output)``.

        The model returns a dictionary of streams ``token``, ``duration`` and ``f0``. The sample has a target and a mask
        for each: ``target`` and ``mask``, ``dur_target`` and ``dur_mask``, ``f0_target`` and ``f0_mask``.
        """
        output = model(**sample["net_input"])
        losses = {
            "token_loss": nll_loss(output["token"], sample["target"], sample["mask"], reduce),
            "dur_loss": self.dur_loss_fn(output["duration"], sample["dur_target"], sample["dur_mask"], reduce),
            "f0_loss": self.f0_loss_fn(output["f0"], sample["f0_target"], sample["f0_mask"], reduce),
        }
        weights = self.weights.tolist()
        loss = sum(weight * losses[name] for name, weight in zip(_STREAMS, weights))
        assert isinstance(loss, Tensor)
        sample_size = sample["target"].size(0) if self.sentence_avg else sample["ntokens"]
        sums = {"loss": loss, **losses}
        return loss, sample_size, batch_log(sample, sample_size, **{name: value.sum() for name, value in sums.items()})

    @staticmethod
    def reduce_metrics(logging_outputs: List[Dict[str, Any]]) -> None:
        """Log the loss and its parts per sample; in nats, as errors of real numbers are among them."""
        from fairseq.logging import metrics

        sample_size = total(logging_outputs, "sample_size")
        for name in ("loss", *_STREAMS):
            metrics.log_scalar(name, total(logging_outputs, name) / sample_size, sample_size, round=3)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """They can."""
        return True


def _three_numbers(text: str) -> List[float]:
    try:
        weights = [float(part) for part in text.split(";")]
    except ValueError:
        weights = []
    if len(weights) != len(_STREAMS):
        raise ValueError(f'--loss-weights {text}: expected three numbers with ; between them, such as "1.;0.5;0.5"')
    return weights
