"""LAMB (You et al. 2020): Adam with a trust ratio per tensor, for very large batches."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from fairseq.optim import LegacyFairseqOptimizer, register_optimizer
from fairseq.optim._update_rule import Float32StateOptimizer, Working, batches_of, check_ranges, steps_per_count
from fairseq.optim.fairseq_optimizer import first_lr, floats_of
from fairseq.utils.tensors import total_grad_norm

__all__ = ["LAMB", "FairseqLAMB"]


@register_optimizer("lamb")
class FairseqLAMB(LegacyFairseqOptimizer):
    """LAMB with the settings of apex's kernel; apex is not needed."""

    def __init__(self, args: Any, params: Any) -> None:
        super().__init__(args)
        self._optimizer = LAMB(params, **self.optimizer_config)

    @staticmethod
    def add_args(parser: Any) -> None:
        add = parser.add_argument
        add("--lamb-betas", default="(0.9, 0.999)", metavar="B", help="decay of the two running means")
        add("--lamb-eps", type=float, default=1e-8, metavar="EPS", help="added to the root of the second moment")
        add("--weight-decay", "--wd", default=0.0, type=float, metavar="WD", help="decay of all parameters")

    @property
    def optimizer_config(self) -> dict[str, Any]:
        return {
            "lr": first_lr(self.args.lr),
            "betas": floats_of(self.args.lamb_betas),
            "eps": self.args.lamb_eps,
            "weight_decay": self.args.weight_decay,
        }

    @property
    def supports_flat_params(self) -> bool:
        return False


class LAMB(Float32StateOptimizer):
    """The update rule. With ``g`` clipped to a common norm of ``max_grad_norm``::

        m = b1 m + (1 - b1) g ;  v = b2 v + (1 - b2) g^2
        u = (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps) + weight_decay * p
        p -= lr * ratio * u ,  ratio = ||p|| / ||u|| if weight_decay > 0 and both are positive, else 1

    State per parameter: ``step`` (int), ``exp_avg``, ``exp_avg_sq``, float32 for half parameters.

    Raises:
        ValueError: a setting out of range.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: Any = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        max_grad_norm: float = 1.0,
    ) -> None:
        check_ranges(lr, eps, betas, weight_decay)
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**settings, "max_grad_norm": max_grad_norm})

    @property
    def supports_flat_params(self) -> bool:
        """The trust ratio is per tensor."""
        return False

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        """Update all parameters; returns what ``closure`` (which recomputes the loss) returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        grads = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        norm = total_grad_norm(grads)
        for group in self.param_groups:
            limit = group["max_grad_norm"]
            divisor = (norm / limit).clamp(min=1) if limit > 0 else torch.ones_like(norm)
            for batch in batches_of(self._begin(group, ["exp_avg", "exp_avg_sq"])):
                self._update(group, batch, divisor)
        return loss

    @staticmethod
    def _update(group: dict[str, Any], batch: Any, divisor: Tensor) -> None:
        beta1, beta2 = group["betas"]
        t = steps_per_count(batch)
        work = Working(batch)
        grads = list(torch._foreach_mul(work.grads, (1.0 / divisor).to(work.grads[0].device)))
        first, second = work.state("exp_avg"), work.state("exp_avg_sq")
        torch._foreach_mul_(first, beta1)
        torch._foreach_add_(first, grads, alpha=1 - beta1)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, grads, grads, value=1 - beta2)
        denominators = list(torch._foreach_sqrt(second))
        torch._foreach_div_(denominators, math.sqrt(1 - beta2**t))
        torch._foreach_add_(denominators, group["eps"])
        updates = list(torch._foreach_div(first, denominators))
        torch._foreach_div_(updates, 1 - beta1**t)
        decay = group["weight_decay"]
        if decay != 0:
            torch._foreach_add_(updates, work.params, alpha=decay)
            ratios = [_trust_ratio(p, update) for p, update in zip(work.params, updates)]
            torch._foreach_mul_(updates, ratios)
        torch._foreach_add_(work.params, updates, alpha=-group["lr"])
        work.write_back()


def _trust_ratio(p: Tensor, update: Tensor) -> Tensor:
    """Norm of the parameter over that of its update; 1 where one of them is zero."""
    ours, theirs = p.norm(), update.norm()
    return torch.where((ours > 0) & (theirs > 0), ours / theirs, torch.ones_like(ours))
