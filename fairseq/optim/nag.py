"""Nesterov's accelerated gradient as in Bengio et al. 2013, "Advances in optimizing recurrent networks"."""

from dataclasses import dataclass
from typing import Any, List

import torch

from fairseq.compat.torch import required_parameter as MISSING_LR
from fairseq.dataclass.configs import II, FairseqDataclass
from fairseq.dataclass.fields import option
from fairseq.optim import register_optimizer
from fairseq.optim._update_rule import Float32StateOptimizer, Working, batches_of
from fairseq.optim.fairseq_optimizer import FairseqOptimizer, first_lr

__all__ = ["NAG", "FairseqNAG", "FairseqNAGConfig"]


@dataclass
class FairseqNAGConfig(FairseqDataclass):
    """Options of ``--optimizer nag``."""

    momentum: float = option(0.99, "share of the velocity that is kept")
    weight_decay: float = option(0.0, "decay of all parameters, decoupled from the gradient")
    lr: List[float] = II("optimization.lr")


@register_optimizer("nag", FairseqNAGConfig)
class FairseqNAG(FairseqOptimizer):
    """Nesterov's accelerated gradient."""

    def __init__(self, cfg: Any, params: Any) -> None:
        super().__init__(cfg)
        self._optimizer = NAG(params, **self.optimizer_config)

    @property
    def optimizer_config(self) -> dict[str, Any]:
        return {
            "lr": first_lr(self.cfg.lr),
            "momentum": self.cfg.momentum,
            "weight_decay": self.cfg.weight_decay,
        }


class NAG(Float32StateOptimizer):
    """The update rule. When the learning rate changes, the velocity is rescaled with it.

    State per parameter: ``momentum_buffer``, which holds minus the velocity times the learning rate.

    Raises:
        ValueError: no ``lr``.
    """

    def __init__(self, params: Any, lr: float = MISSING_LR, momentum: float = 0, weight_decay: float = 0) -> None:
        if lr is MISSING_LR:
            raise ValueError("NAG needs a learning rate: NAG(params, lr=...)")
        super().__init__(params, {"lr": lr, "lr_old": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        """Update all parameters; returns what ``closure`` (which recomputes the loss) returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            lr_old = group.get("lr_old", lr)
            correction = lr / lr_old if lr_old > 0 else lr
            for batch in batches_of(self._begin(group, ["momentum_buffer"], counts_steps=False)):
                work = Working(batch)
                buffers = work.state("momentum_buffer")
                if group["weight_decay"] != 0:
                    torch._foreach_mul_(work.params, 1 - lr * group["weight_decay"])
                torch._foreach_add_(work.params, buffers, alpha=momentum**2 * correction)
                torch._foreach_add_(work.params, work.grads, alpha=-(1 + momentum) * lr)
                torch._foreach_mul_(buffers, momentum * correction)
                torch._foreach_add_(buffers, work.grads, alpha=-lr)
                work.write_back()
            group["lr_old"] = lr
        return loss
