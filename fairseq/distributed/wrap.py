"""Put the wrapper that ``--ddp-backend`` names around a model."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from fairseq.compat.torch import buffer_settings
from fairseq.distributed.distributed_timeout_wrapper import DistributedTimeoutWrapper
from fairseq.distributed.module_proxy_wrapper import ModuleProxyWrapper

__all__ = ["watched", "wrap_model"]

BUFFER_SIZE = 2**28  # most gradients of the legacy backend that travel at once


def wrap_model(
    cfg: Any,
    model: nn.Module,
    process_group: Any,
    device: torch.device,
    compute_dtype: torch.dtype | None = None,
) -> nn.Module:
    """Wrap a model for training on several workers.

    Args:
        cfg: the ``distributed_training`` section.
        model: the bare model; its attributes and state dictionary stay those of the result.
        process_group: the workers that see different data.
        device: this worker's device (or its name).
        compute_dtype: half precision in which a sharded model's float32 parameters are used.

    Raises:
        ValueError: a backend that does not exist, or that needs packages which are no longer maintained.
    """
    if not isinstance(model, nn.Module):
        raise AssertionError(f"a module is needed, not {type(model).__name__}")
    device = torch.device(device)
    if getattr(cfg, "tpu", False):
        from fairseq.utils.devices import NO_TPU

        raise RuntimeError(NO_TPU)
    backend = str(cfg.ddp_backend)
    if backend in ("c10d", "pytorch_ddp"):
        wrapped: nn.Module = ModuleProxyWrapper(_native(cfg, model, process_group, device))
    elif backend in ("no_c10d", "legacy_ddp"):
        from fairseq.distributed.legacy_distributed_data_parallel import LegacyDistributedDataParallel

        legacy = LegacyDistributedDataParallel(model.to(device), process_group, buffer_size=BUFFER_SIZE)
        wrapped = ModuleProxyWrapper(legacy)
    elif backend == "fully_sharded":
        from fairseq.distributed.fully_sharded_data_parallel import FullyShardedDataParallel

        if isinstance(model, FullyShardedDataParallel):
            return model
        sharded_state = bool(getattr(cfg, "use_sharded_state", False))
        wrapped = FullyShardedDataParallel(
            model, process_group, cfg=cfg, use_sharded_state=sharded_state, compute_dtype=compute_dtype
        )
    elif backend == "slowmo":
        raise ValueError(
            "--ddp-backend slowmo is not supported (it needs fairscale, which is no longer maintained). "
            "--use-bmuf also lets workers train alone between meetings."
        )
    else:
        known = "pytorch_ddp (c10d), legacy_ddp (no_c10d), fully_sharded"
        raise ValueError(f"Unknown --ddp-backend: {backend}; there are {known}")
    return watched(wrapped, cfg)


def watched(model: nn.Module, cfg: Any) -> nn.Module:
    """The model, behind a watch if ``--heartbeat-timeout`` is positive.

    Args:
        cfg: the ``distributed_training`` section.
    """
    timeout = getattr(cfg, "heartbeat_timeout", -1)
    return DistributedTimeoutWrapper(model, timeout=timeout) if timeout > 0 else model


def _native(cfg: Any, model: nn.Module, process_group: Any, device: torch.device) -> nn.Module:
    settings: dict[str, Any] = buffer_settings(cfg.broadcast_buffers)
    ids = [cfg.device_id] if device.type == "cuda" else None
    wrapped = nn.parallel.DistributedDataParallel(
        module=model.to(device),
        device_ids=ids,
        output_device=ids[0] if ids else None,
        process_group=process_group,
        bucket_cap_mb=cfg.bucket_cap_mb,
        find_unused_parameters=cfg.find_unused_parameters,
        gradient_as_bucket_view=cfg.gradient_as_bucket_view,
        **settings,
    )
    if str(cfg.ddp_comm_hook) == "fp16":
        from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook

        wrapped.register_comm_hook(process_group, fp16_compress_hook)
    return wrapped
