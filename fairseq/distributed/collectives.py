"""Tensors, numbers and objects from one worker to the others.

Every function must be called by all members of the group, in the same order. They work with any backend: tensors that
the backend cannot move are copied to a device it can, and back. Alone (no group), a worker gets its own data.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from fairseq.distributed.groups import device_of, get_global_group, get_rank, get_world_size
from fairseq.utils.tensors import map_tensors, move_to_cpu

__all__ = [
    "all_gather",
    "all_gather_list",
    "all_reduce",
    "all_reduce_dict",
    "all_to_all",
    "broadcast",
    "broadcast_object",
    "broadcast_tensors",
]

_OPERATIONS = {"sum": dist.ReduceOp.SUM, "max": dist.ReduceOp.MAX, "min": dist.ReduceOp.MIN}


def _is_alone(group: Any) -> bool:
    return group is None or get_world_size(group) == 1


def _movable(tensor: Tensor, group: Any) -> Tensor:
    """The tensor, or a copy of it where the group's backend can reach it."""
    device = device_of(group)
    return tensor if tensor.device.type == device.type else tensor.to(device)


def all_reduce(tensor: Tensor, group: Any, op: str = "sum") -> Tensor:
    """Combine a tensor over all workers, in place; returns it.

    Args:
        op: ``sum``, ``max`` or ``min``.
    """
    if op not in _OPERATIONS:
        raise NotImplementedError(f"all_reduce knows {', '.join(_OPERATIONS)}, not {op!r}")
    if _is_alone(group):
        return tensor
    moved = _movable(tensor, group)
    dist.all_reduce(moved, op=_OPERATIONS[op], group=group)
    if moved is not tensor:
        tensor.copy_(moved)
    return tensor


def broadcast(tensor: Tensor, src: int, group: Any) -> Tensor:
    """Overwrite a tensor by that of global rank ``src``; returns it."""
    if _is_alone(group):
        return tensor
    moved = _movable(tensor, group)
    dist.broadcast(moved, src=src, group=group)
    if moved is not tensor:
        tensor.copy_(moved)
    return tensor


def all_to_all(tensor: Tensor, group: Any) -> Tensor:
    """Send the k-th of ``world size`` equal parts of a vector to worker k; returns the received parts, joined.

    Raises:
        AssertionError: not one-dimensional, or its length is no multiple of the world size.
    """
    size = get_world_size(group)
    if tensor.dim() != 1 or tensor.numel() % size != 0:
        raise AssertionError(f"all_to_all takes a vector whose length is a multiple of {size}, got {tensor.shape}")
    if _is_alone(group):
        return tensor
    moved = _movable(tensor, group)
    received = torch.empty_like(moved)
    dist.all_to_all_single(received, moved.contiguous(), group=group)
    return received.to(tensor.device)


def all_gather(tensor: Tensor, group: Any, return_tensor: bool = False) -> Any:
    """The same-shaped tensors of all workers, by rank, as a list or stacked along a new first dimension."""
    if _is_alone(group):
        gathered = [tensor]
    else:
        moved = _movable(tensor, group).contiguous()
        gathered = [torch.empty_like(moved) for _ in range(get_world_size(group))]
        dist.all_gather(gathered, moved, group=group)
        gathered = [part.to(tensor.device) for part in gathered]
    return torch.stack(gathered, dim=0) if return_tensor else gathered


def all_gather_list(data: Any, group: Any = None, max_size: int = 16384) -> list[Any]:
    """Objects of all workers, by rank.

    Args:
        data: anything that can be pickled; tensors arrive on the CPU, half precision as float32.
        group: all workers by default.
        max_size: largest pickle in bytes; a guard against sending a model where a number was meant.

    Raises:
        ValueError: some worker's data is larger. All workers raise it.
        RuntimeError: a worker sent something else; the workers are out of step.
    """
    if group is None:
        group = get_global_group()
    if _is_alone(group):
        return [data]
    payload = pickle.dumps(move_to_cpu(data) if data else data)
    device = device_of(group)
    sizes = all_gather(torch.tensor([len(payload)], device=device), group, return_tensor=True).flatten().tolist()
    if max(sizes) > max_size:
        raise ValueError(
            f"encoded data size ({max(sizes)}) exceeds max_size ({max_size}); "
            "raise --all-gather-list-size if logging outputs are meant to be this large"
        )
    buffer = torch.zeros(max(sizes), dtype=torch.uint8, device=device)
    buffer[: len(payload)] = torch.frombuffer(bytearray(payload), dtype=torch.uint8).to(device)
    parts = all_gather(buffer, group)
    try:
        return [pickle.loads(part[:size].cpu().numpy().tobytes()) for part, size in zip(parts, sizes)]
    except pickle.UnpicklingError as error:
        raise RuntimeError(
            "Unable to unpickle data from other workers: they are out of step. A worker that ran out of memory, or "
            "that has another number of batches, has left this collective call. Look for an earlier error."
        ) from error


def all_reduce_dict(data: Mapping[str, Any], device: Any, group: Any) -> dict[str, Any]:
    """Sum every value of a dict over all workers, in one collective call.

    Args:
        data: numbers or tensors; the same keys, in the same order and with the same shapes, on every worker.
        device: where the sums shall be.

    Returns:
        float64 tensors, 0-dim for numbers, in the order of ``data``. Nothing waits for the device.
    """
    if not data:
        return OrderedDict()
    numbers = [value for value in data.values() if not (isinstance(value, Tensor) and value.device.type != "cpu")]
    shapes = {key: value.shape if isinstance(value, Tensor) else torch.Size() for key, value in data.items()}
    # Everything from the host travels in one copy.
    flat_numbers = [torch.as_tensor(value, dtype=torch.float64).detach().reshape(-1) for value in numbers]
    from_host = iter(())
    if flat_numbers:
        joined = torch.cat(flat_numbers).to(device, non_blocking=True)
        from_host = iter(joined.split([part.numel() for part in flat_numbers]))
    parts = []
    for value in data.values():
        on_device = isinstance(value, Tensor) and value.device.type != "cpu"
        parts.append(
            value.detach().to(device=device, dtype=torch.float64).reshape(-1) if on_device else next(from_host)
        )
    total = all_reduce(torch.cat(parts), group)
    sums = total.split([part.numel() for part in parts])
    return OrderedDict((key, part.reshape(shapes[key])) for key, part in zip(data, sums))


def _target(group: Any, dist_device: Any) -> torch.device:
    if dist_device is not None:
        return torch.device(dist_device)
    return device_of(group)


def _broadcast_bytes(payload: bytes | None, src_rank: int, group: Any) -> bytes:
    device = device_of(group)
    length = torch.tensor([0 if payload is None else len(payload)], dtype=torch.int64, device=device)
    broadcast(length, src_rank, group)
    if payload is None:
        buffer = torch.empty(int(length.item()), dtype=torch.uint8, device=device)
    else:
        buffer = torch.frombuffer(bytearray(payload), dtype=torch.uint8).to(device)
    return broadcast(buffer, src_rank, group).cpu().numpy().tobytes()


def broadcast_tensors(tensors: list[Tensor] | None, src_rank: int, group: Any, dist_device: Any = None) -> list[Tensor]:
    """Tensors from one worker to all.

    Args:
        tensors: any shapes and dtypes; ignored on the others, which may pass ``None``.
        src_rank: global rank of the sender.
        dist_device: where they shall arrive; default: where the backend works.
    """
    device = _target(group, dist_device)
    if _is_alone(group):
        return [tensor.to(device) for tensor in tensors or []]
    is_source = get_rank(None) == src_rank
    described = pickle.dumps([(tensor.shape, tensor.dtype) for tensor in tensors or []]) if is_source else None
    shapes = pickle.loads(_broadcast_bytes(described, src_rank, group))
    result = []
    for index, (shape, dtype) in enumerate(shapes):
        if is_source and tensors is not None:
            tensor = tensors[index].detach().to(device).contiguous()
        else:
            tensor = torch.empty(shape, dtype=dtype, device=device)
        result.append(broadcast(tensor, src_rank, group))
    return result


class _Slot:
    """Where a tensor stood in a broadcast object."""

    def __init__(self, index: int) -> None:
        self.index = index


def broadcast_object(obj: Any, src_rank: int, group: Any, dist_device: Any = None) -> Any:
    """Any object from one worker to all; its tensors travel as tensors, not as pickles.

    Args:
        obj: nested dicts, lists, tuples of tensors and of whatever can be pickled; ignored on the others.
        src_rank: global rank of the sender.
        dist_device: where its tensors shall arrive; default: where the backend works.
    """
    if _is_alone(group):
        return obj
    if get_rank(None) != src_rank:
        skeleton = pickle.loads(_broadcast_bytes(None, src_rank, group))
        received = broadcast_tensors(None, src_rank, group, dist_device)
        return _filled(skeleton, received)
    tensors: list[Tensor] = []

    def take(tensor: Tensor) -> _Slot:
        tensors.append(tensor)
        return _Slot(len(tensors) - 1)

    skeleton = map_tensors(take, obj)
    buffer = io.BytesIO()
    pickle.dump(skeleton, buffer)
    _broadcast_bytes(buffer.getvalue(), src_rank, group)
    return _filled(skeleton, broadcast_tensors(tensors, src_rank, group, dist_device))


def _filled(x: Any, tensors: list[Tensor]) -> Any:
    """Put tensors back into their slots."""
    if isinstance(x, _Slot):
        return tensors[x.index]
    if isinstance(x, OrderedDict):
        return OrderedDict((key, _filled(value, tensors)) for key, value in x.items())
    if isinstance(x, dict):
        return {key: _filled(value, tensors) for key, value in x.items()}
    if isinstance(x, tuple):
        values = [_filled(value, tensors) for value in x]
        return type(x)(*values) if hasattr(x, "_fields") else tuple(values)
    if isinstance(x, list):
        return [_filled(value, tensors) for value in x]
    return x
