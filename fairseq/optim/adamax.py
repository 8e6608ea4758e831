"""Adamax: Adam with the infinity norm (Kingma & Ba 2015, section 7.1)."""

from __future__ import annotations

from typing import Any

import torch

from fairseq.optim import LegacyFairseqOptimizer, register_optimizer
from fairseq.optim._update_rule import Float32StateOptimizer, Working, batches_of, check_ranges, steps_per_count
from fairseq.optim.fairseq_optimizer import decays_of, first_lr

__all__ = ["Adamax", "FairseqAdamax"]


@register_optimizer("adamax")
class FairseqAdamax(LegacyFairseqOptimizer):
    """Adamax with decoupled weight decay."""

    def __init__(self, args: Any, params: Any) -> None:
        super().__init__(args)
        self._optimizer = Adamax(params, **self.optimizer_config)

    @staticmethod
    def add_args(parser: Any) -> None:
        add = parser.add_argument
        add("--adamax-betas", default="(0.9, 0.999)", metavar="B", help="decay of the running mean and of the maximum")
        add("--adamax-eps", default=1e-8, type=float, metavar="EPS", help="added to the maximum")
        add("--weight-decay", "--wd", default=0.0, type=float, metavar="WD", help="decay of all parameters")
        add("--no-bias-correction", action="store_true", help="do not enlarge the first steps")

    @property
    def optimizer_config(self) -> dict[str, Any]:
        return {
            "lr": first_lr(self.args.lr),
            "betas": decays_of(self.args.adamax_betas, "--adamax-betas"),
            "eps": self.args.adamax_eps,
            "weight_decay": self.args.weight_decay,
            "bias_correction": not self.args.no_bias_correction,
        }


class Adamax(Float32StateOptimizer):
    """The update rule. State per parameter: ``step`` (int), ``exp_avg``, ``exp_inf``, float32 for half parameters.

    Raises:
        ValueError: a setting out of range.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 2e-3,
        betas: Any = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        bias_correction: bool = True,
    ) -> None:
        check_ranges(lr, eps, betas, weight_decay)
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**settings, "bias_correction": bias_correction})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        """Update all parameters; returns what ``closure`` (which recomputes the loss) returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for batch in batches_of(self._begin(group, ["exp_avg", "exp_inf"])):
                self._update(group, batch)
        return loss

    @staticmethod
    def _update(group: dict[str, Any], batch: Any) -> None:
        beta1, beta2 = group["betas"]
        size = group["lr"]
        if group["bias_correction"]:
            size = size / (1 - beta1 ** steps_per_count(batch))
        work = Working(batch)
        means = work.state("exp_avg")
        maxima = work.state("exp_inf")
        torch._foreach_mul_(means, beta1)
        torch._foreach_add_(means, work.grads, alpha=1 - beta1)
        torch._foreach_mul_(maxima, beta2)
        torch._foreach_maximum_(maxima, list(torch._foreach_abs(work.grads)))
        if group["weight_decay"] != 0:
            torch._foreach_mul_(work.params, 1 - group["weight_decay"] * group["lr"])
        denominators = list(torch._foreach_add(maxima, group["eps"]))
        torch._foreach_addcdiv_(work.params, means, denominators, value=-size)
        work.write_back()
