"""``--ddp-backend fully_sharded``: parameters, gradients and optimizer state spread over the workers (FSDP2).

A model says which of its layers are units by ``layer = fsdp_wrap(layer)``, which only marks them. When the whole model
is wrapped by ``FullyShardedDataParallel``, the marked layers become units of their own: whole parameters then exist
for one of them at a time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fairseq.compat.torch import fsdp as find_fsdp
from fairseq.compat.torch import fsdp_runs_on, own_rows
from fairseq.distributed import groups

__all__ = ["DummyProcessGroup", "FullyShardedDataParallel", "fsdp_enable_wrap", "fsdp_wrap", "has_FSDP"]

has_FSDP = dist.is_available()
FSDP = nn.Module

# Settings that fsdp_wrap puts into its marks: set by fsdp_enable_wrap.
_active: list[dict[str, Any]] = []
MARK = "_unit_of_sharding"


class DummyProcessGroup:
    """A group that knows its size and this process's rank, and moves nothing (for code that only asks)."""

    def __init__(self, rank: int, size: int) -> None:
        self._rank = rank
        self._size = size

    def rank(self) -> int:
        return self._rank

    def size(self) -> int:
        return self._size


def _settings(cfg: Any, compute_dtype: torch.dtype | None = None) -> dict[str, Any]:
    """Arguments of ``fully_shard`` for a ``distributed_training`` section.

    Args:
        compute_dtype: half precision for forward and backward pass; ``None`` reads ``cfg.fp16``.

    Raises:
        ValueError: CPU offload without ``--memory-efficient-fp16`` while training in float16.
    """
    _, precision_policy, offload_policy = find_fsdp()
    is_fp16 = bool(getattr(cfg, "fp16", False))
    half = compute_dtype or (torch.float16 if is_fp16 else None)
    settings: dict[str, Any] = {"reshard_after_forward": not getattr(cfg, "no_reshard_after_forward", False)}
    if half is not None:
        reduce_dtype = torch.float32 if getattr(cfg, "fp32_reduce_scatter", False) else half
        settings["mp_policy"] = precision_policy(param_dtype=half, reduce_dtype=reduce_dtype)
    if getattr(cfg, "cpu_offload", False):
        if is_fp16 and not getattr(cfg, "memory_efficient_fp16", False):
            raise ValueError("--cpu-offload requires --memory-efficient-fp16")
        settings["offload_policy"] = offload_policy()
    return settings


@contextlib.contextmanager
def fsdp_enable_wrap(cfg: Any) -> Iterator[None]:
    """Inside, units marked by ``fsdp_wrap`` also remember the settings of this configuration.

    Args:
        cfg: the ``distributed_training`` section.

    Raises:
        RuntimeError: no process group exists.
    """
    if not groups.is_distributed():
        raise RuntimeError("--ddp-backend fully_sharded needs several processes (or torchrun with one)")
    _active.append(_settings(cfg))
    try:
        yield
    finally:
        _active.pop()


def fsdp_wrap(module: nn.Module, min_num_params: int | None = None, **kwargs: Any) -> nn.Module:
    """Mark a layer as one unit of sharding; returns the same module. Alone (no process group), nothing happens.

    Args:
        min_num_params: leave smaller modules to the unit around them.
        kwargs: arguments of ``torch.distributed.fsdp.fully_shard`` that win over those of the whole model.
    """
    if groups.is_distributed():
        num_params = sum(p.numel() for p in module.parameters())
        if min_num_params is None or num_params >= min_num_params:
            settings = _active[-1] if _active else {}
            setattr(module, MARK, {**settings, **kwargs})
    return module


def _shard(module: nn.Module, settings: dict[str, Any], process_group: Any = None) -> None:
    """Shard the marked layers, inner ones first, then the rest of the module."""
    fully_shard, _, _ = find_fsdp()
    mesh = _mesh(process_group)
    # On the CPU all parameters are in host memory: there is nothing to offload, and torch looks for a device.
    unwanted = {"offload_policy"} if mesh.device_type == "cpu" else set()
    inner = [layer for layer in module.modules() if layer is not module and hasattr(layer, MARK)]
    for layer in reversed(inner):
        own = {**settings, **getattr(layer, MARK)}
        fully_shard(layer, mesh=mesh, **{key: value for key, value in own.items() if key not in unwanted})
        # The mark has done its work; without it the model can be copied and pickled as before.
        delattr(layer, MARK)
    fully_shard(module, mesh=mesh, **{key: value for key, value in settings.items() if key not in unwanted})


def _mesh(process_group: Any) -> Any:
    from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

    if not groups.is_distributed():
        _form_group_of_one()
    group = groups.get_data_parallel_group() if process_group is None else process_group
    kind = groups.device_of(group).type
    if not fsdp_runs_on(kind):
        raise RuntimeError(
            f"--ddp-backend fully_sharded on {kind} needs a newer PyTorch than {torch.__version__}; "
            "choose another --ddp-backend"
        )
    if group is None or groups.get_world_size(group) == groups.get_global_world_size():
        return init_device_mesh(kind, (groups.get_global_world_size(),))
    return DeviceMesh.from_group(group, kind)


def _form_group_of_one() -> None:
    """A single process may shard too, to keep its parameters in host memory (``--cpu-offload``)."""
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)


class FullyShardedDataParallel(nn.Module):
    """A model whose parameters are spread over the workers.

    Args:
        args: the model, which is changed in place; then the workers (those that see different data by default).
        use_sharded_state: ``state_dict`` gives each worker its own shards instead of whole tensors.
        cfg: the ``distributed_training`` section, for precision, offloading and resharding.
        compute_dtype: half precision in which float32 parameters are used; read from ``cfg`` by default.
        kwargs: arguments of ``torch.distributed.fsdp.fully_shard``.
    """

    def __init__(
        self,
        *args: Any,
        use_sharded_state: bool = False,
        cfg: Any = None,
        compute_dtype: torch.dtype | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        module, process_group = (*args, None)[:2]
        self.use_sharded_state = use_sharded_state
        process_group = kwargs.pop("process_group", process_group)
        settings = {**({} if cfg is None else _settings(cfg, compute_dtype)), **kwargs}
        _cast_buffers(module, getattr(settings.get("mp_policy"), "param_dtype", None))
        _shard(module, settings, process_group)
        self.module = module
        if use_sharded_state:
            for p in module.parameters():
                p.keeps_shards = True  # type: ignore[attr-defined] # optimizers read it when they save

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)

    @property
    def unwrapped_module(self) -> nn.Module:
        """The model."""
        return self.module

    @contextlib.contextmanager
    def no_sync(self) -> Iterator[None]:
        """Inside, backward passes add up gradients without exchanging them."""
        self.module.set_requires_gradient_sync(False)  # type: ignore[operator]
        try:
            yield
        finally:
            self.module.set_requires_gradient_sync(True)  # type: ignore[operator]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def state_dict(self, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:  # type: ignore[override]
        """The model's state, without any prefix of ours.

        Whole tensors on every worker (a collective call), or with ``use_sharded_state`` this worker's shards as plain
        tensors.
        """
        state = self.module.state_dict(destination=destination, prefix=prefix, keep_vars=keep_vars)
        for key, value in state.items():
            if hasattr(value, "full_tensor"):
                state[key] = value.to_local() if self.use_sharded_state else value.full_tensor()
        return state

    def load_state_dict(self, state_dict: Any, strict: bool = True, model_cfg: Any = None) -> Any:  # type: ignore[override]
        """Load whole tensors, which every worker must have, or this worker's shards; shapes tell which is which.

        Raises:
            RuntimeError: missing or unexpected names (with ``strict``), or a tensor that is neither.
        """
        if hasattr(self.module, "upgrade_state_dict"):
            self.module.upgrade_state_dict(state_dict)  # type: ignore[operator]
        own = self.module.state_dict()
        unexpected = [key for key in state_dict if key not in own]
        missing = [key for key in own if key not in state_dict]
        if strict and (unexpected or missing):
            raise RuntimeError(f"state_dict does not match: missing {missing}, unexpected {unexpected}")
        for key, value in state_dict.items():
            if key in own:
                _copy_into(own[key], value, key)
        return nn.modules.module._IncompatibleKeys(missing, unexpected)


def _cast_buffers(module: nn.Module, dtype: torch.dtype | None) -> None:
    """Bring float buffers (tables of positions) to the precision that parameters are gathered in."""
    if dtype is None:
        return
    for layer in module.modules():
        for name, buffer in layer._buffers.items():
            if buffer is not None and buffer.is_floating_point():
                layer._buffers[name] = buffer.to(dtype)


@torch.no_grad()
def _copy_into(target: Tensor, value: Tensor, name: str) -> None:
    """Write a whole tensor, or a shard, into a parameter that may be sharded."""
    if not hasattr(target, "to_local"):
        target.copy_(value)
        return
    local = target.to_local()
    if value.shape == target.shape:
        local.copy_(own_rows(value, target))
    elif value.shape == local.shape:
        local.copy_(value)
    else:
        raise RuntimeError(
            f"{name} is {tuple(value.shape)} in the checkpoint, but {tuple(target.shape)} in the model, of which this "
            f"worker holds {tuple(local.shape)}"
        )
