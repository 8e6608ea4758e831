"""Adadelta (Zeiler 2012)."""

from __future__ import annotations

import logging
from typing import Any

import torch

from fairseq.optim import LegacyFairseqOptimizer, register_optimizer
from fairseq.optim.fairseq_optimizer import first_lr

__all__ = ["Adadelta"]

logger = logging.getLogger(__name__)


@register_optimizer("adadelta")
class Adadelta(LegacyFairseqOptimizer):
    """torch's Adadelta; weight decay is added to the gradient."""

    def __init__(self, args: Any, params: Any) -> None:
        super().__init__(args)
        if getattr(args, "anneal_eps", False):
            logger.warning("--anneal-eps has no effect: Adadelta has no such step")
        self._optimizer = torch.optim.Adadelta(params, **self.optimizer_config)

    @staticmethod
    def add_args(parser: Any) -> None:
        add = parser.add_argument
        add("--adadelta-rho", default=0.9, type=float, metavar="RHO", help="decay of the mean of squared gradients")
        add("--adadelta-eps", default=1e-6, type=float, metavar="EPS", help="added under the root")
        add("--weight-decay", "--wd", default=0.0, type=float, metavar="WD", help="L2 penalty")
        add("--anneal-eps", action="store_true", help="accepted for old scripts; the method has no such step")

    @property
    def optimizer_config(self) -> dict[str, Any]:
        return {
            "lr": first_lr(self.args.lr),
            "rho": self.args.adadelta_rho,
            "eps": self.args.adadelta_eps,
            "weight_decay": self.args.weight_decay,
        }

    @property
    def supports_flat_params(self) -> bool:
        return True
