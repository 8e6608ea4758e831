"""Adagrad (Duchi et al. 2011)."""

from __future__ import annotations

from typing import Any

import torch

from fairseq.optim import LegacyFairseqOptimizer, register_optimizer
from fairseq.optim.fairseq_optimizer import first_lr

__all__ = ["Adagrad"]


@register_optimizer("adagrad")
class Adagrad(LegacyFairseqOptimizer):
    """torch's Adagrad; weight decay is added to the gradient."""

    def __init__(self, args: Any, params: Any) -> None:
        super().__init__(args)
        self._optimizer = torch.optim.Adagrad(params, **self.optimizer_config)

    @staticmethod
    def add_args(parser: Any) -> None:
        parser.add_argument("--weight-decay", "--wd", default=0.0, type=float, metavar="WD", help="L2 penalty")

    @property
    def optimizer_config(self) -> dict[str, Any]:
        return {"lr": first_lr(self.args.lr), "weight_decay": self.args.weight_decay}

    @property
    def supports_flat_params(self) -> bool:
        return False
