"""One name for each thing that moved, or came, between PyTorch releases (2.4 to today)."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "buffer_settings",
    "fsdp",
    "fsdp_runs_on",
    "fused_adamw",
    "grad_scaler",
    "is_sharded",
    "local_part",
    "own_rows",
    "required_parameter",
    "scale_on_device",
    "shard_of",
    "whole",
]

# The default of an optimizer argument that must be given. Public in torch.optim.optimizer, though documented nowhere.
required_parameter: Any = getattr(sys.modules[torch.optim.Optimizer.__module__], "required", "<required parameter>")

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
    found_inf: Tensor | None = None,
) -> bool:
    """One AdamW update in a single kernel.

    Args:
        params, grads, exp_avgs, exp_avg_sqs: same length, dtype (float32 or float64) and device.
        step: number of this update, from 1.
        found_inf: 0-dim float32 tensor on the same device; the kernel does nothing where it is 1.

    Returns:
        ``False``, and nothing done, where the kernel does not apply (device, layout, torch release).
    """
    if _fused_adamw is None or params[0].device.type not in ("cpu", "cuda"):
        return False
    tensors = params + exp_avgs + exp_avg_sqs
    if any(type(tensor) not in (Tensor, torch.nn.Parameter) or not tensor.is_contiguous() for tensor in tensors):
        return False
    count = torch.full((), float(step), dtype=torch.float32, device=params[0].device)
    try:
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
            found_inf=found_inf,
        )
    except NotImplementedError:
        # Builds of torch without the kernel for this device say so before they touch anything.
        return False
    return True


def grad_scaler(device: str, **settings: Any) -> Any:
    """``torch.amp.GradScaler`` for a device type (``"cuda"``, ``"cpu"``)."""
    return torch.amp.GradScaler(device, **settings)


def scale_on_device(scaler: Any) -> Any:
    """The scale of a ``GradScaler`` as a tensor on its device, where the release keeps it so; ``get_scale`` waits."""
    scale = getattr(scaler, "_scale", None)
    return scaler.get_scale() if scale is None else scale.detach().clone()


def buffer_settings(broadcasts: bool) -> dict[str, bool]:
    """The argument of ``DistributedDataParallel`` that says whether buffers are copied from rank 0 at each forward
    pass; renamed in 2.13."""
    known = inspect.signature(torch.nn.parallel.DistributedDataParallel.__init__).parameters
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    return {name: broadcasts}


def fsdp() -> tuple[Any, Any, Any]:
    """``(fully_shard, MixedPrecisionPolicy, CPUOffloadPolicy)``: public since 2.6, under a private name before."""
    try:
        from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, fully_shard
    except ImportError:
        from torch.distributed._composable.fsdp import (  # type: ignore[no-redef]
            CPUOffloadPolicy,
            MixedPrecisionPolicy,
            fully_shard,
        )
    return fully_shard, MixedPrecisionPolicy, CPUOffloadPolicy


def fsdp_runs_on(kind: str) -> bool:
    """Whether ``fully_shard`` works on a device type; the CPU needs streams with events, which 2.6 still lacks."""
    return kind != "cpu" or hasattr(torch.cpu.Stream, "record_event")


def own_rows(whole: Tensor, target: Any) -> Tensor:
    """The part of a whole tensor that this worker keeps, for a ``DTensor`` split along its first dimension.

    Nothing is sent: every worker must have the whole tensor.
    """
    mesh = target.device_mesh
    per_worker = -(-whole.shape[0] // mesh.size())
    start = min(mesh.get_local_rank() * per_worker, whole.shape[0])
    return whole[start : start + per_worker]


def is_sharded(value: Any) -> bool:
    """Whether this is a ``DTensor``, a tensor that is spread over workers."""
    return isinstance(value, Tensor) and hasattr(value, "to_local")


def shard_of(local: Tensor, whole: Any) -> Any:
    """This worker's shard as a ``DTensor`` that is spread like ``whole``."""
    placements = whole.placements
    return type(whole).from_local(
        local, whole.device_mesh, placements, run_check=False, shape=whole.shape, stride=whole.stride()
    )


def local_part(tensor: Tensor) -> Tensor:
    """This process's shard of a ``DTensor`` (sharing its memory); any other tensor itself."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def whole(value: Any) -> Any:
    """All rows of a ``DTensor`` (a collective call); anything else itself."""
    return value.full_tensor() if is_sharded(value) else value
