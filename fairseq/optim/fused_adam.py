"""Adam with the interface of apex's fused kernel: divides gradients by a scale, and can keep its moments in half.

There is no apex here: the arithmetic is that of ``fairseq.optim.adam``, which uses torch's fused kernel.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fairseq.compat.torch import local_part
from fairseq.optim._update_rule import Working, batches_of, steps_per_count
from fairseq.optim.adam import Adam, adam_update

__all__ = ["FusedAdamV1", "compress", "expand", "get_fused_adam_class"]


def get_fused_adam_class() -> Any:
    """``FusedAdamV1`` where CUDA is available, else ``None``."""
    return FusedAdamV1 if torch.cuda.is_available() else None


def expand(state: dict[str, Any], name: str) -> Tensor:
    """A moment kept as float16 and a scale, in float32."""
    stored = local_part(state[name])
    scale = state.get(f"{name}_scale")
    return stored.float() if scale is None else stored.float().mul_(scale)


def compress(state: dict[str, Any], name: str, value: Tensor) -> None:
    """Keep a float32 moment as float16, scaled so that its largest number is the largest of float16."""
    scale = (value.abs().amax() / FusedAdamV1.FLOAT16_MAX).clamp_(min=torch.finfo(torch.float32).tiny)
    local_part(state[name]).copy_(value / scale)
    state[f"{name}_scale"] = scale


class FusedAdamV1(Adam):
    """Adam whose ``step`` takes a scale.

    Args:
        bias_correction: enlarge the first steps.
        eps_inside_sqrt: add ``eps`` under the root.
        max_grad_norm: clip gradients by their common norm first, when ``step`` is given ``grad_norms``; 0: never.
        use_fp16_stats: keep both moments in float16 with one scale per tensor (half the memory).
        params, lr, betas, eps, weight_decay: as for ``Adam``.

    Raises:
        RuntimeError: ``amsgrad``.
    """

    FLOAT16_MAX = 65504.0

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        bias_correction: bool = True,
        betas: Any = (0.9, 0.999),
        eps: float = 1e-8,
        eps_inside_sqrt: bool = False,
        weight_decay: float = 0.0,
        max_grad_norm: float = 0.0,
        amsgrad: bool = False,
        use_fp16_stats: bool = False,
    ) -> None:
        if amsgrad:
            raise RuntimeError("FusedAdam does not support the AMSGrad variant.")
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)
        self.eps_mode = 0 if eps_inside_sqrt else 1
        self.use_fp16_stats = use_fp16_stats
        self.keeps_half_state = use_fp16_stats
        for group in self.param_groups:
            group["bias_correction"] = bias_correction
            group["eps_inside_sqrt"] = eps_inside_sqrt
            group["max_grad_norm"] = max_grad_norm

    @property
    def supports_step_with_scale(self) -> bool:
        return True

    @torch.no_grad()
    def step(  # type: ignore[override]
        self, closure: Any = None, grads: Any = None, scale: Any = 1.0, grad_norms: Any = None
    ) -> Any:
        """Update all parameters; returns what ``closure`` returns.

        Args:
            grads: gradients to use instead of the parameters' own, in the same order.
            scale: what the gradients must be divided by.
            grad_norms: norm of the (still scaled) gradients of each group.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if grads is not None:
            for p, grad in zip((p for group in self.param_groups for p in group["params"]), grads):
                p.grad = None if grad is None else grad.to(p.dtype)
        for index, group in enumerate(self.param_groups):
            divisor = scale
            if group["max_grad_norm"] > 0 and grad_norms is not None:
                excess = (grad_norms[index] / scale + 1e-6) / group["max_grad_norm"]
                divisor = scale * torch.as_tensor(excess).clamp(min=1)
            for batch in batches_of(self._begin(group, ["exp_avg", "exp_avg_sq"])):
                # One tensor at a time with moments in half, so that only one is ever expanded.
                for part in [[entry] for entry in batch] if self.use_fp16_stats else [batch]:
                    self._update_scaled(group, part, divisor)
        return loss

    def _update_scaled(self, group: dict[str, Any], batch: Any, divisor: Any) -> None:
        work = Working(batch)
        grads = work.grads
        if isinstance(divisor, Tensor) or divisor != 1.0:
            grads = [grad / divisor for grad in grads]
        if self.use_fp16_stats:
            state = batch[0][1]
            first, second = [expand(state, "exp_avg")], [expand(state, "exp_avg_sq")]
        else:
            first, second = work.state("exp_avg"), work.state("exp_avg_sq")
        moments = (first, second, None)
        adam_update(work.params, grads, moments, group, steps_per_count(batch), self.use_fused, self.found_inf)
        if self.use_fp16_stats:
            compress(state, "exp_avg", first[0])
            compress(state, "exp_avg_sq", second[0])
        work.write_back()
