"""Wrap a model so that workers exchange gradients (or share parameters), as ``--ddp-backend`` says."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

__all__ = ["DistributedFairseqModel"]

logger = logging.getLogger(__name__)


def _torch_ddp(args: Any, model: nn.Module, process_group: Any, device: torch.device) -> nn.Module:
    from torch.nn.parallel import DistributedDataParallel

    from fairseq.distributed import ModuleProxyWrapper

    on_gpu = device.type == "cuda"
    wrapped = DistributedDataParallel(
        model.to(device),
        device_ids=[device] if on_gpu else None,
        output_device=device if on_gpu else None,
        broadcast_buffers=args.broadcast_buffers,
        bucket_cap_mb=args.bucket_cap_mb,
        process_group=process_group,
        find_unused_parameters=args.find_unused_parameters,
        gradient_as_bucket_view=args.gradient_as_bucket_view,
    )
    if str(args.ddp_comm_hook) == "fp16":
        from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook

        logger.info("gradients travel as float16")
        wrapped.register_comm_hook(process_group, fp16_compress_hook)
    return ModuleProxyWrapper(wrapped)


def _once_per_update(args: Any, model: nn.Module, process_group: Any, device: torch.device) -> nn.Module:
    from fairseq.distributed import LegacyDistributedDataParallel, ModuleProxyWrapper

    return ModuleProxyWrapper(LegacyDistributedDataParallel(model.to(device), process_group, buffer_size=2**28))


def _fully_sharded(args: Any, model: nn.Module, process_group: Any, device: torch.device) -> nn.Module:
    from fairseq.distributed import FullyShardedDataParallel

    if isinstance(model, FullyShardedDataParallel):
        return model
    use_sharded_state = getattr(args, "use_sharded_state", False)
    return FullyShardedDataParallel(model, process_group, use_sharded_state=use_sharded_state, cfg=args)


def _no_slowmo(args: Any, model: nn.Module, process_group: Any, device: torch.device) -> nn.Module:
    raise ValueError(
        "--ddp-backend slowmo needs fairscale, which is not maintained any more; take pytorch_ddp, legacy_ddp or "
        "fully_sharded"
    )


_BACKENDS: dict[str, Callable[[Any, nn.Module, Any, torch.device], nn.Module]] = {
    "c10d": _torch_ddp,
    "pytorch_ddp": _torch_ddp,
    "no_c10d": _once_per_update,
    "legacy_ddp": _once_per_update,
    "fully_sharded": _fully_sharded,
    "slowmo": _no_slowmo,
}


def DistributedFairseqModel(args: Any, model: nn.Module, process_group: Any, device: Any) -> nn.Module:
    """Wrap a model (or a criterion with parameters) for training by several workers.

    Args:
        args: the ``distributed_training`` section.
        model: the bare model.
        process_group: the workers that see different data.
        device: where this worker computes.

    Returns:
        A module that is called like the model. Attributes that it lacks are looked up in the model, and its state dict
        is that of the bare model.

    Raises:
        ValueError: an unknown backend, or one that is not available.
    """
    if not isinstance(model, nn.Module):
        raise AssertionError(f"a module is needed, not {type(model).__name__}")
    name = str(args.ddp_backend)
    if name not in _BACKENDS:
        raise ValueError(f"--ddp-backend {name}: unknown; there are {', '.join(_BACKENDS)}")
    wrapped = _BACKENDS[name](args, model, process_group, torch.device(device))
    timeout = getattr(args, "heartbeat_timeout", -1)
    if timeout is not None and timeout > 0:
        from fairseq.distributed import DistributedTimeoutWrapper

        wrapped = DistributedTimeoutWrapper(wrapped, timeout)
    return wrapped
