"""Adam (Kingma & Ba 2015) with decoupled weight decay (Loshchilov & Hutter 2019), for half precision too."""

import math
from dataclasses import dataclass
from typing import Any, List, Optional

import torch
from torch import Tensor

from fairseq.compat.torch import fused_adamw
from fairseq.dataclass.configs import II, FairseqDataclass
from fairseq.dataclass.fields import option
from fairseq.optim import register_optimizer
from fairseq.optim._update_rule import Float32StateOptimizer, Working, batches_of, steps_per_count
from fairseq.optim.fairseq_optimizer import FairseqOptimizer, decays_of, first_lr

__all__ = ["Adam", "FairseqAdam", "FairseqAdamConfig", "adam_update"]


@dataclass
class FairseqAdamConfig(FairseqDataclass):
    """Options of ``--optimizer adam``."""

    adam_betas: Any = option((0.9, 0.999), 'decay of the two running means: "(B1, B2)"')
    adam_eps: float = option(1e-8, "added to the root of the second moment")
    weight_decay: float = option(0.0, "decay of all parameters, decoupled from the gradient")
    use_old_adam: bool = option(False, "use this project's own multi-tensor code, never a fused kernel of torch")
    fp16_adam_stats: bool = option(False, "keep both moments in half precision, with one scale per tensor")
    tpu: bool = II("common.tpu")
    lr: List[float] = II("optimization.lr")


@register_optimizer("adam", dataclass=FairseqAdamConfig)
class FairseqAdam(FairseqOptimizer):
    """Adam whose weight decay is not mixed into the gradient and whose epsilon is not bias-corrected."""

    def __init__(self, cfg: Any, params: Any) -> None:
        super().__init__(cfg)
        if getattr(cfg, "fp16_adam_stats", False):
            from fairseq.optim.fused_adam import FusedAdamV1

            self._optimizer: torch.optim.Optimizer = FusedAdamV1(params, use_fp16_stats=True, **self.optimizer_config)
        else:
            self._optimizer = Adam(params, **self.optimizer_config)
            self._optimizer.use_fused = not getattr(cfg, "use_old_adam", False)

    @property
    def optimizer_config(self) -> dict[str, Any]:
        return {
            "lr": first_lr(self.cfg.lr),
            "betas": decays_of(self.cfg.adam_betas, "--adam-betas"),
            "eps": self.cfg.adam_eps,
            "weight_decay": self.cfg.weight_decay,
        }

    def average_params(self) -> None:
        """Average parameters over workers (for training without gradient exchange); moments are averaged with them."""
        from fairseq.distributed import utils as distributed

        count = float(distributed.get_global_world_size())
        if count == 1:
            return
        group = distributed.get_data_parallel_group()
        for state in self.optimizer.state.values():
            for name in ("exp_avg", "exp_avg_sq"):
                state[name] /= count
                distributed.all_reduce(state[name], group=group)


class Adam(Float32StateOptimizer):
    """The update rule.

    State per parameter: ``step`` (int), ``exp_avg``, ``exp_avg_sq`` and, with ``amsgrad``, ``max_exp_avg_sq``; moments
    are float32 for half-precision parameters. One fused kernel of torch does the work where it can (same formula, see
    ``adam_update``), multi-tensor operations elsewhere.

    Args:
        params: parameters or groups.
        lr: learning rate.
        betas: decay of the first and second moment.
        eps: added to the root of the second moment, without bias correction.
        weight_decay: parameters shrink by ``lr * weight_decay`` before each step.
        amsgrad: divide by the largest second moment so far (Reddi et al. 2018).

    Raises:
        RuntimeError: at ``step``, for sparse gradients.
    """

    use_fused = True
    # As torch's own: ``step`` changes nothing where ``found_inf``, a 0-dim float32 tensor on the device, is 1.
    takes_found_inf = True
    found_inf: Optional[Tensor] = None

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: Any = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
    ) -> None:
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad}
        super().__init__(params, settings)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        """Update all parameters; returns what ``closure`` (which recomputes the loss) returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            names = ["exp_avg", "exp_avg_sq"] + (["max_exp_avg_sq"] if group.get("amsgrad") else [])
            for batch in batches_of(self._begin(group, names)):
                self._update(group, batch)
        return loss

    def _update(self, group: dict[str, Any], batch: Any) -> None:
        work = Working(batch)
        largest = work.state("max_exp_avg_sq") if group.get("amsgrad") else None
        moments = (work.state("exp_avg"), work.state("exp_avg_sq"), largest)
        adam_update(work.params, work.grads, moments, group, steps_per_count(batch), self.use_fused, self.found_inf)
        work.write_back()


def adam_update(
    params: list[Tensor],
    grads: list[Tensor],
    moments: tuple[list[Tensor], list[Tensor], Optional[list[Tensor]]],
    group: dict[str, Any],
    t: int,
    use_fused: bool = True,
    found_inf: Optional[Tensor] = None,
) -> None:
    """One update of tensors of one device and one dtype (float32 or wider), in place.

    Args:
        moments: first, second and (``amsgrad``) largest second moments.
        group: ``lr``, ``betas``, ``eps``, ``weight_decay``; optionally ``bias_correction`` (default true) and
            ``eps_inside_sqrt`` (default false).
        t: number of this update, from 1.
        found_inf: where this 0-dim float32 tensor is 1, the gradients are not finite: the fused kernel changes nothing
            then, the other way makes the update with gradients of zero.
    """
    first, second, largest = moments
    beta1, beta2 = group["betas"]
    corrects = group.get("bias_correction", True)
    bias1, root_bias2 = (1 - beta1**t, math.sqrt(1 - beta2**t)) if corrects else (1.0, 1.0)
    eps, decay, lr = group["eps"], group["weight_decay"], group["lr"]
    inside = group.get("eps_inside_sqrt", False)
    if use_fused and corrects and largest is None and not inside and root_bias2 > 0:
        # torch divides sqrt(v) by sqrt(1 - b2^t) before it adds eps; a larger eps makes that our formula.
        done = fused_adamw(
            params,
            grads,
            first,
            second,
            step=t,
            lr=float(lr),
            beta1=beta1,
            beta2=beta2,
            eps=eps / root_bias2,
            weight_decay=decay,
            found_inf=found_inf,
        )
        if done:
            return
    if found_inf is not None:
        grads = [grad.masked_fill(found_inf.to(grad.device).bool(), 0.0) for grad in grads]
    torch._foreach_mul_(first, beta1)
    torch._foreach_add_(first, grads, alpha=1 - beta1)
    torch._foreach_mul_(second, beta2)
    torch._foreach_addcmul_(second, grads, grads, value=1 - beta2)
    if largest is not None:
        torch._foreach_maximum_(largest, second)
        second = largest
    if inside:
        denominators = list(torch._foreach_sqrt(torch._foreach_add(second, eps)))
    else:
        denominators = list(torch._foreach_sqrt(second))
        torch._foreach_add_(denominators, eps)
    if decay != 0:
        torch._foreach_mul_(params, 1 - decay * lr)
    torch._foreach_addcdiv_(params, first, denominators, value=-lr * root_bias2 / bias1)
