"""One name for each thing that moved, or came, between PyTorch releases (2.4 to today)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["fused_adamw", "grad_scaler"]

# A private operator, though steady since 2.0 (CPU: since 2.4). Without it the callers' multi-tensor code does the job.
_fused_adamw: Callable[..., Any] | None = getattr(torch, "_fused_adamw_", None)


def fused_adamw(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    *,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> bool:
    """One AdamW update in a single kernel.

    Args:
        params, grads, exp_avgs, exp_avg_sqs: same length, dtype (float32 or float64) and device.
        step: number of this update, from 1.

    Returns:
        ``False``, and nothing done, where the kernel does not apply (device, layout, torch release).
    """
    if _fused_adamw is None or params[0].device.type not in ("cpu", "cuda"):
        return False
    tensors = params + exp_avgs + exp_avg_sqs
    if any(type(tensor) not in (Tensor, torch.nn.Parameter) or not tensor.is_contiguous() for tensor in tensors):
        return False
    count = torch.full((), float(step), dtype=torch.float32, device=params[0].device)
    _fused_adamw(
        params,
        [grad.contiguous() for grad in grads],
        exp_avgs,
        exp_avg_sqs,
        [],
        [count] * len(params),
        lr=lr,
        beta1=beta1,
        beta2=beta2,
        weight_decay=weight_decay,
        eps=eps,
        amsgrad=False,
        maximize=False,
        grad_scale=None,
        found_inf=None,
    )
    return True


def grad_scaler(device: str, **settings: Any) -> Any:
    """``torch.amp.GradScaler`` for a device type (``"cuda"``, ``"cpu"``)."""
    return torch.amp.GradScaler(device, **settings)
