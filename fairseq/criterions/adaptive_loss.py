"""Cross entropy for models whose output layer is an adaptive softmax."""

from dataclasses import dataclass
from typing import Any, Dict, List, Tuple

import torch
from torch import Tensor
from torch.nn import functional as F

from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.criterions.batch_log import batch_log, log_loss_per_sample_and_token
from fairseq.dataclass.configs import II, FairseqDataclass
from fairseq.dataclass.constants import DDP_BACKEND_CHOICES
from fairseq.utils.host import known_on_host, with_host

__all__ = ["AdaptiveLoss", "AdaptiveLossConfig"]


@dataclass
class AdaptiveLossConfig(FairseqDataclass):
    """Options of ``--criterion adaptive_loss``."""

    sentence_avg: bool = II("optimization.sentence_avg")
    ddp_backend: DDP_BACKEND_CHOICES = II("distributed_training.ddp_backend")


@register_criterion("adaptive_loss", dataclass=AdaptiveLossConfig)
class AdaptiveLoss(FairseqCriterion):
    """Cross entropy summed over the head and the bands of an adaptive softmax (Grave et al. 2016).

    Args:
        task: the running task.
        sentence_avg: divide gradients by the number of sentences instead of tokens.
    """

    def __init__(self, task: Any, sentence_avg: bool) -> None:
        super().__init__(task)
        self.sentence_avg = sentence_avg

    @classmethod
    def build_criterion(cls, cfg: Any, task: Any) -> "AdaptiveLoss":
        """Build an instance.

        Raises:
            Exception: the backend is torch's own DDP, which does not allow parameters without gradient; bands that no
                word of a batch falls into have none.
        """
        if str(getattr(cfg, "ddp_backend", "")) in ("c10d", "pytorch_ddp"):
            raise Exception(
                f"AdaptiveLoss is not compatible with --ddp-backend={cfg.ddp_backend}, which needs a gradient for "
                "every parameter; use `--ddp-backend=legacy_ddp` instead"
            )
        return cls(task, cfg.sentence_avg)

    def forward(self, model: Any, sample: Dict[str, Any], reduce: bool = True) -> Tuple[Tensor, Any, Dict[str, Any]]:
        """Return ``(loss, sample_size, logging_output)``; the loss in nats, ``(1,)`` or ``(tokens,)``.

        Raises:
            AssertionError: the model has no adaptive softmax.
        """
        softmax = getattr(model.decoder, "adaptive_softmax", None)
        if softmax is None:
            raise AssertionError(
                "--criterion adaptive_loss needs a model with an adaptive softmax; give --adaptive-softmax-cutoff"
            )
        net_output = model(**sample["net_input"])
        target = model.get_targets(sample, net_output)
        nsentences = target.size(0)
        target = with_host(lambda known: known.reshape(-1), target)
        logits, band_targets = softmax(net_output[0], target)
        loss = net_output[0].new_zeros(1 if reduce else target.numel(), dtype=torch.float32)
        rows = [None] if reduce else [None, *softmax.adapt_target(target)[1]]
        for band, (scores, wanted) in enumerate(zip(logits, band_targets)):
            if wanted is None:
                continue
            reduction = "sum" if reduce else "none"
            part = F.cross_entropy(scores.float(), wanted, ignore_index=self.padding_idx, reduction=reduction)
            if reduce or band == 0:
                loss = loss + part
            else:
                loss = loss.index_add(0, rows[band], part)
        known = known_on_host(target)
        ntokens = target.ne(self.padding_idx).sum() if known is None else int(known.ne(self.padding_idx).sum())
        size = nsentences if self.sentence_avg else ntokens
        return loss, size, {**batch_log(sample, size, loss=loss), "ntokens": ntokens}

    @staticmethod
    def reduce_metrics(logging_outputs: List[Dict[str, Any]]) -> None:
        """Log ``loss`` (base 2) and ``ppl``, and ``nll_loss`` per token where that differs from the loss."""
        log_loss_per_sample_and_token(logging_outputs)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """They can."""
        return True
