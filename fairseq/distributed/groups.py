"""Who belongs together, and who one is. Without a process group, one is alone: rank 0 of 1, group ``None``."""

from __future__ import annotations

from typing import Any

import torch.distributed as dist

__all__ = [
    "device_of",
    "form_model_parallel_groups",
    "forget_groups",
    "get_data_parallel_group",
    "get_data_parallel_rank",
    "get_data_parallel_world_size",
    "get_global_group",
    "get_global_rank",
    "get_global_world_size",
    "get_model_parallel_group",
    "get_model_parallel_rank",
    "get_model_parallel_world_size",
    "get_rank",
    "get_world_size",
    "is_distributed",
    "new_groups",
    "use_xla",
]

# "data" and "model" groups of this process; empty unless the model is spread over several processes.
_formed: dict[str, Any] = {}


def is_distributed() -> bool:
    """Whether a process group exists."""
    return dist.is_available() and dist.is_initialized()


def use_xla() -> bool:
    """Always false: no TPU support."""
    return False


def get_rank(group: Any) -> int:
    """Rank of this process in a group (``None``: among all); 0 when it is alone."""
    return dist.get_rank(group=group) if is_distributed() else 0


def get_world_size(group: Any) -> int:
    """Size of a group (``None``: of all); 1 for a lone process."""
    return dist.get_world_size(group=group) if is_distributed() else 1


def get_global_group() -> Any:
    """The group of all processes, or ``None``."""
    return dist.group.WORLD if is_distributed() else None


def get_global_rank() -> int:
    return get_rank(None)


def get_global_world_size() -> int:
    return get_world_size(None)


def get_data_parallel_group() -> Any:
    """The processes that hold the same part of the model and see different data."""
    return _formed.get("data", get_global_group())


def get_data_parallel_rank() -> int:
    return get_rank(get_data_parallel_group())


def get_data_parallel_world_size() -> int:
    return get_world_size(get_data_parallel_group())


def get_model_parallel_group() -> Any:
    """The processes that hold different parts of one model; ``None`` when each holds all of it."""
    return _formed.get("model")


def get_model_parallel_rank() -> int:
    group = get_model_parallel_group()
    return 0 if group is None else get_rank(group)


def get_model_parallel_world_size() -> int:
    group = get_model_parallel_group()
    return 1 if group is None else get_world_size(group)


def new_groups(grouped_ranks: list[list[int]]) -> Any:
    """Form one group per list of ranks; every process must call this with the same lists.

    Returns:
        the group that this process belongs to, or ``None``.
    """
    own = None
    for ranks in grouped_ranks:
        group = dist.new_group(ranks)
        if get_global_rank() in ranks:
            own = group
    return own


def form_model_parallel_groups(size: int) -> None:
    """Split all processes into blocks of ``size`` neighbours that share one model.

    Raises:
        ValueError: the number of processes is no multiple of ``size``.
    """
    world = get_global_world_size()
    if size < 1 or world % size != 0:
        raise ValueError(f"--model-parallel-size {size} does not divide the number of processes, {world}")
    _formed["model"] = new_groups([list(range(start, start + size)) for start in range(0, world, size)])
    _formed["data"] = new_groups([list(range(offset, world, size)) for offset in range(size)])


def forget_groups() -> None:
    """After the process group is gone."""
    _formed.clear()


def device_of(group: Any) -> Any:
    """The device whose tensors a group's backend can move: the current CUDA device for NCCL, else the CPU."""
    import torch

    if is_distributed() and "nccl" in str(dist.get_backend(group)):
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")
