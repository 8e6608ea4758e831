"""Tensor helpers: nested samples, padding, positions, dtype-safe softmax, gradient norms.

Shapes in this file:  B = batch, T = length of the longest sentence
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fairseq.utils.host import known_on_host, remember_on_host

__all__ = [
    "apply_to_sample",
    "buffered_arange",
    "clip_grad_norm_",
    "convert_padding_direction",
    "fill_with_neg_inf",
    "index_put",
    "item",
    "log_softmax",
    "make_positions",
    "map_tensors",
    "move_to_cpu",
    "move_to_cuda",
    "move_to_device",
    "move_to_tpu",
    "multi_tensor_l2norm_available",
    "multi_tensor_total_norm",
    "new_arange",
    "resolve_max_positions",
    "softmax",
    "strip_pad",
    "total_grad_norm",
]

# Upstream's name for "norms of many tensors in one call"; torch._foreach_norm gives that on every device.
multi_tensor_l2norm_available = True


# ---------------------------------------------------------------------------------------------------- nested samples
def map_tensors(f: Callable[[Tensor], Any], x: Any) -> Any:
    """Copy a nested structure (dict, OrderedDict, list, tuple, set) with ``f`` applied to every tensor."""
    if isinstance(x, Tensor):
        return f(x)
    if isinstance(x, OrderedDict):
        return OrderedDict((key, map_tensors(f, value)) for key, value in x.items())
    if isinstance(x, dict):
        return {key: map_tensors(f, value) for key, value in x.items()}
    if isinstance(x, tuple):
        values = [map_tensors(f, value) for value in x]
        return type(x)(*values) if hasattr(x, "_fields") else tuple(values)
    if isinstance(x, list):
        return [map_tensors(f, value) for value in x]
    if isinstance(x, set):
        return {map_tensors(f, value) for value in x}
    return x


def apply_to_sample(f: Callable[[Tensor], Any], sample: Any) -> Any:
    """``map_tensors``, except that anything of length 0 gives ``{}`` (the empty batch)."""
    is_scalar = isinstance(sample, Tensor) and sample.dim() == 0
    if hasattr(sample, "__len__") and not is_scalar and len(sample) == 0:
        return {}
    return map_tensors(f, sample)


def move_to_device(sample: Any, device: torch.device | int | str) -> Any:
    """Copy a sample to a device; copies from pinned memory do not wait.

    Whole numbers (tokens, lengths) stay known to the host, see :mod:`fairseq.utils.host`.
    """

    def move(tensor: Tensor) -> Tensor:
        moved = tensor.to(device=device, non_blocking=True)
        is_known = tensor.device.type == "cpu" and not (tensor.is_floating_point() or tensor.is_complex())
        return remember_on_host(moved, tensor) if is_known else moved

    return apply_to_sample(move, sample)


def move_to_cuda(sample: Any, device: torch.device | int | str | None = None) -> Any:
    """Copy a sample to a CUDA device, the current one by default."""
    return move_to_device(sample, torch.cuda.current_device() if device is None else device)


def move_to_cpu(sample: Any) -> Any:
    """Copy a sample to the CPU; half precision becomes float32, for which the CPU has all operations."""

    def to_cpu(tensor: Tensor) -> Tensor:
        is_half = tensor.dtype in (torch.float16, torch.bfloat16)
        return tensor.to(device="cpu", dtype=torch.float32 if is_half else tensor.dtype)

    return apply_to_sample(to_cpu, sample)


def move_to_tpu(sample: Any) -> Any:
    """Raises ``RuntimeError``: no TPU support."""
    from fairseq.utils.devices import get_tpu_device

    return move_to_device(sample, get_tpu_device())


def item(tensor: Any) -> Any:
    """The Python number inside a one-element tensor or array; ``x[0]`` of a sequence; anything else unchanged.

    On a CUDA tensor this waits for the device.
    """
    if hasattr(tensor, "item"):
        return tensor.item()
    return tensor[0] if hasattr(tensor, "__getitem__") else tensor


# ---------------------------------------------------------------------------------------------- padding and positions
def strip_pad(tensor: Tensor, pad: int) -> Tensor:
    """The entries that are not ``pad``, as a vector."""
    return tensor[tensor.ne(pad)]


def make_positions(tensor: Tensor, padding_idx: int, onnx_trace: bool = False) -> Tensor:
    """Positions of tokens ``(B, T)``: ``padding_idx + 1, + 2, ...`` for words, ``padding_idx`` for padding.

    Either padding side works. Returns int64, ``(B, T)``.
    """
    is_token = tensor.ne(padding_idx).int()
    return (is_token.cumsum(dim=1).type_as(is_token) * is_token).long() + padding_idx


def convert_padding_direction(
    src_tokens: Tensor, padding_idx: int, right_to_left: bool = False, left_to_right: bool = False
) -> Tensor:
    """Move the padding of tokens ``(B, T)`` to the other side; the words keep their order.

    Args:
        right_to_left: padding is on the right and shall be on the left.
        left_to_right: the other way round. Exactly one of the two must be set.

    Returns:
        ``(B, T)``; the input itself when it has no padding or has it on the wanted side already.

    Raises:
        AssertionError: not exactly one direction is given.
    """
    if bool(right_to_left) == bool(left_to_right):
        raise AssertionError("give exactly one of right_to_left and left_to_right")
    is_pad = src_tokens.eq(padding_idx)
    known = known_on_host(src_tokens)
    seen = is_pad if known is None else known.eq(padding_idx)
    if not bool(seen.any()):
        return src_tokens
    wanted_edge = seen[:, 0] if right_to_left else seen[:, -1]
    other_edge = seen[:, -1] if right_to_left else seen[:, 0]
    if bool(wanted_edge.any()) and not bool(other_edge.any()):
        return src_tokens
    # Rotate each row by its number of pads: position t of the result comes from t -+ pads, round the end.
    num_pads = is_pad.long().sum(dim=1, keepdim=True)
    positions = torch.arange(src_tokens.size(1), device=src_tokens.device).expand_as(src_tokens)
    shift = -num_pads if right_to_left else num_pads
    return src_tokens.gather(1, torch.remainder(positions + shift, src_tokens.size(1)))


def new_arange(x: Tensor, *size: int) -> Tensor:
    """``0, 1, ...`` along the last dimension, repeated to ``size`` (default: the shape of ``x``), on its device."""
    shape = size or tuple(x.size())
    return torch.arange(shape[-1], device=x.device).expand(*shape).contiguous()


_aranges: dict[torch.device, Tensor] = {}


def buffered_arange(max: int, device: torch.device | str | int = "cpu") -> Tensor:
    """``0 .. max-1`` as int64, a view of a buffer kept per device. Do not write to it."""
    key = torch.device(device)
    buffer = _aranges.get(key)
    if buffer is None or buffer.numel() < max:
        # A buffer made in inference mode could not be used in training later.
        with torch.inference_mode(False):
            buffer = torch.arange(2 * max, device=key)
        _aranges[key] = buffer
    return buffer[:max]


def index_put(tensor: Tensor, indices: Any, value: Any) -> Tensor:
    """``tensor[indices] = value`` in place; returns the tensor."""
    tensor[indices] = value
    return tensor


def resolve_max_positions(*args: Any) -> Any:
    """The strictest of several length limits.

    Each limit is a number, a tuple (one number per side), a dict (limit per key) or ``None`` (no limit, also inside
    tuples). A number limits every element of a tuple.

    Returns:
        ``None`` if nothing is limited.
    """
    result: Any = None
    for limit in args:
        result = _stricter(result, limit)
    return result


def _stricter(a: Any, b: Any) -> Any:
    if a is None or b is None:
        return b if a is None else a
    if isinstance(a, dict) or isinstance(b, dict):
        left = a if isinstance(a, dict) else dict.fromkeys(b, a)
        right = b if isinstance(b, dict) else dict.fromkeys(a, b)
        return {key: _stricter(left.get(key), right.get(key)) for key in [*left, *(k for k in right if k not in left)]}
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return min(a, b)
    if isinstance(a, (int, float)):
        a = (a,) * len(b)
    elif isinstance(b, (int, float)):
        b = (b,) * len(a)
    return tuple(_stricter(x, y) for x, y in zip(a, b))


# ------------------------------------------------------------------------------------------------------------ numbers
def fill_with_neg_inf(t: Tensor) -> Tensor:
    """A tensor of the same shape, dtype and device, filled with minus infinity."""
    return torch.full_like(t, float("-inf"))


def softmax(x: Tensor, dim: int, onnx_trace: bool = False) -> Tensor:
    """Softmax computed and returned in float32."""
    if onnx_trace:
        return F.softmax(x.float(), dim=dim)
    return F.softmax(x, dim=dim, dtype=torch.float32)


def log_softmax(x: Tensor, dim: int, onnx_trace: bool = False) -> Tensor:
    """Log-softmax computed and returned in float32."""
    if onnx_trace:
        return F.log_softmax(x.float(), dim=dim)
    return F.log_softmax(x, dim=dim, dtype=torch.float32)


# ---------------------------------------------------------------------------------------------------------- gradients
def multi_tensor_total_norm(grads: Iterable[Tensor], chunk_size: int = 65536) -> Tensor:
    """L2 norm of all tensors taken as one vector, float32, on the device of the first.

    ``chunk_size`` is accepted for old callers; torch chooses its own.
    """
    return total_grad_norm(list(grads))


def total_grad_norm(grads: list[Tensor]) -> Tensor:
    """L2 norm of all tensors taken as one vector.

    Args:
        grads: any shapes, floating dtypes and devices; sharded tensors (``DTensor``) count with all their shards.

    Returns:
        0-dim float32 tensor on the device of the first one (0.0 on the CPU for an empty list). Nothing waits.
    """
    if not grads:
        return torch.tensor(0.0)
    device = grads[0].device
    groups: dict[tuple[torch.device, torch.dtype, bool], list[Tensor]] = {}
    for grad in grads:
        groups.setdefault((grad.device, grad.dtype, hasattr(grad, "full_tensor")), []).append(grad)
    parts = []
    for (_, dtype, is_sharded), members in groups.items():
        if dtype in (torch.float16, torch.bfloat16) or is_sharded:
            # The squares of half numbers overflow: reduce in float32.
            norms = [torch.linalg.vector_norm(member, dtype=torch.float32) for member in members]
        else:
            norms = list(torch._foreach_norm(members, 2.0))
        total = torch.linalg.vector_norm(torch.stack(norms))
        if is_sharded:
            total = total.full_tensor()  # type: ignore[attr-defined]
        parts.append(total.to(device=device, dtype=torch.float32, non_blocking=True))
    return parts[0] if len(parts) == 1 else torch.linalg.vector_norm(torch.stack(parts))


@torch.no_grad()
def clip_grad_norm_(
    params: Tensor | Iterable[Tensor], max_norm: float, aggregate_norm_fn: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Scale gradients in place so that their common L2 norm is at most ``max_norm``; nothing waits for the device.

    Args:
        params: a parameter or an iterable of them; those without gradient are left out. Parameters with an
            attribute ``expert`` are scaled but do not count towards the norm, as each worker holds others of them.
        max_norm: 0 or less means: measure only.
        aggregate_norm_fn: from the local norm to the one to clip by (for models spread over workers).

    Returns:
        0-dim float32 tensor: the norm before clipping.
    """
    owners = [params] if isinstance(params, Tensor) else list(params)
    owners = [owner for owner in owners if owner.grad is not None]
    measured = [owner.grad for owner in owners if owner.grad is not None and not hasattr(owner, "expert")]
    grads = [owner.grad for owner in owners if owner.grad is not None]
    norm = total_grad_norm(measured)
    if not measured and owners:
        norm = norm.to(owners[0].device)
    if aggregate_norm_fn is not None:
        norm = aggregate_norm_fn(norm)
    if max_norm > 0 and grads:
        factor = (float(max_norm) / (norm + 1e-6)).clamp_(max=1)
        scale_(grads, factor)
    return norm


def scale_(tensors: list[Tensor], factor: Tensor | float) -> None:
    """Multiply tensors in place by one factor (a number or a 0-dim tensor), one kernel per device and dtype."""
    groups: dict[tuple[torch.device, torch.dtype, bool], list[Tensor]] = {}
    for tensor in tensors:
        groups.setdefault((tensor.device, tensor.dtype, hasattr(tensor, "full_tensor")), []).append(tensor)
    for (device, _, is_sharded), members in groups.items():
        if isinstance(factor, Tensor):
            local: Any = factor.to(device, non_blocking=True)
        else:
            local = factor
        if is_sharded:
            members = [member.to_local() for member in members]  # type: ignore[attr-defined]
        torch._foreach_mul_(members, local)
