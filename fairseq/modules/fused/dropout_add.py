"""Dropout followed by a residual connection, in one pass and with a thirtieth of the memory.

On the CPU, drawing a Bernoulli number per element costs about as much as a small matrix product. Here 16 random bits
decide over an element: the probability is exact to 1 in 65,536, and what stays is scaled by the probability that is
really used, so the expectation is exact. Only the mask, one bit per element, is kept for the backward pass.
"""

import threading
from typing import Any, Dict, Optional, Tuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fairseq.modules.fused.layer_norm import OutputSavingLayerNorm, norm_backward
from fairseq.modules.fused.layout import is_batch_first
from fairseq.utils.overrides import fast_paths_enabled, is_unhooked

__all__ = [
    "drop_add_norm_rows_",
    "drop_again",
    "dropout",
    "dropout_add",
    "dropout_add_norm_",
    "norm_can_follow",
    "scratch",
]

_LEVELS = 1 << 16
_BLOCK = 1 << 17  # elements that are worked on together; they stay in the cache
_SLAB = 1 << 23  # bytes; about the size of an activation


class _Buffers(threading.local):
    """Memory that every call uses again, per thread.

    A new tensor per call would do as well, but each call leaves something small behind (the bits) among what it gives
    back. That spoils the room for the large tensors of a training step: the process would grow by a quarter.
    """

    def __init__(self) -> None:
        self._rooms: Dict[Any, Tensor] = {}
        self._slab = torch.empty(0, dtype=torch.uint8)

    def room(self, count: int, dtype: torch.dtype, name: str = "") -> Tensor:
        """``(count,)`` of any content, until the next call with this dtype and name."""
        room = self._rooms.get((dtype, name))
        if room is None or room.numel() < count:
            room = self._rooms[dtype, name] = _lasting(count, dtype)
        return room[:count]

    def keep(self, bits: Any) -> Tensor:
        """A copy of an array that is not overwritten later, in one piece of memory with those before and after it."""
        count = bits.size
        if self._slab.numel() < count:
            self._slab = _lasting(max(count, _SLAB), torch.uint8)
        kept, self._slab = self._slab[:count], self._slab[count:]
        # Not by torch, for which a change of one part would be one of all that share the memory.
        np.copyto(kept.numpy(), bits)
        return kept


def _lasting(count: int, dtype: torch.dtype) -> Tensor:
    # What is made in inference mode could not be used in training later.
    with torch.inference_mode(False):
        return torch.empty(count, dtype=dtype)


_BUFFERS = _Buffers()


def scratch(count: int, name: str) -> Tensor:
    """``(count,)`` float32 numbers of any content, which this thread may use until the next call with this name."""
    return _BUFFERS.room(count, torch.float32, name)


def _keep_mask(x: Tensor, p: float) -> Tuple[Tensor, float]:
    """Ones and zeros (int8, one for each element of the dense ``x``, in the order of memory) and the scale of what
    stays; to be used before the next call."""
    dropped = round(p * _LEVELS)
    count = x.numel()
    words = _BUFFERS.room((count + 3) // 4, torch.int64).random_(-(2**63), None)
    levels = words.view(torch.int16)[:count]
    # The int16 levels run from -2**15.
    keep = torch.ge(levels, dropped - _LEVELS // 2, out=_BUFFERS.room(count, torch.bool))
    return keep.view(torch.int8), _LEVELS / (_LEVELS - dropped)


def _remember(ctx: Any, keep: Tensor, scale: float) -> None:
    """Store a mask as bits."""
    ctx.save_for_backward(_BUFFERS.keep(np.packbits(keep.view(torch.uint8).numpy())))
    ctx.scale = scale


def _drop_again(ctx: Any, bits: Tensor, grad: Tensor) -> Tensor:
    """What the mask leaves of a gradient."""
    flat = np.unpackbits(bits.numpy(), count=ctx.shape.numel())
    keep = torch.from_numpy(flat).view(torch.int8).as_strided(ctx.shape, ctx.stride)
    return (grad * keep).mul_(ctx.scale)


class _DropoutAdd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, residual: Tensor, p: float) -> Tensor:
        keep, scale = _keep_mask(x, p)
        _remember(ctx, keep, scale)
        ctx.shape, ctx.stride = x.shape, x.stride()
        return torch.addcmul(residual, x, keep.as_strided(x.shape, x.stride()), value=scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tuple[Tensor, Tensor, None]:  # type: ignore[override]
        (bits,) = ctx.saved_tensors
        return _drop_again(ctx, bits, grad), grad, None


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        keep, scale = _keep_mask(x, p)
        _remember(ctx, keep, scale)
        ctx.shape, ctx.stride = x.shape, x.stride()
        return (x * keep.as_strided(x.shape, x.stride())).mul_(scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tuple[Tensor, None]:  # type: ignore[override]
        (bits,) = ctx.saved_tensors
        return _drop_again(ctx, bits, grad), None


def drop_add_norm_rows_(
    rows: Tensor, residual: Tensor, p: float, weight: Tensor, bias: Tensor, eps: float
) -> Tuple[Tensor, Tensor, float]:
    """Write ``norm(residual + dropout(rows, p))`` into ``rows``; both dense, ``(N, C)``.

    Returns:
        The mask as bits, the inverse deviations ``(N, 1)`` and the scale of what stays: what the backward pass needs.
    """
    keep, scale = _keep_mask(rows, p)
    width = rows.size(1)
    kept = keep.view(-1, width)
    rstd = rows.new_empty(rows.size(0), 1)
    step = max(1, _BLOCK // width)
    for start in range(0, rows.size(0), step):
        some = slice(start, start + step)
        block = torch.addcmul(residual[some], rows[some], kept[some], value=scale, out=rows[some])
        normal, _, rstd[some] = torch.native_layer_norm(block, (width,), weight, bias, eps)
        block.copy_(normal)
    return _BUFFERS.keep(np.packbits(keep.view(torch.uint8).numpy())), rstd, scale


def drop_again(grad: Tensor, bits: Tensor, scale: float, out: Optional[Tensor] = None) -> Tensor:
    """What a mask of bits leaves of a dense gradient; ``out`` may not share its memory."""
    flat = np.unpackbits(bits.numpy(), count=grad.numel())
    return torch.mul(grad, torch.from_numpy(flat).view(torch.int8).view(grad.shape), out=out).mul_(scale)


class _DropoutAddNorm(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor, p: float, eps: float
    ) -> Tensor:
        width = x.size(-1)
        memory = x.detach()
        rows, others = memory.view(-1, width), residual.view(-1, width)
        packed, rstd, ctx.scale = drop_add_norm_rows_(rows, others, p, weight, bias, eps)
        # A tensor of its own, not a view of the input, in the input's memory.
        output = x.new_empty(0).set_(memory.untyped_storage(), memory.storage_offset(), memory.shape, memory.stride())
        ctx.save_for_backward(packed, output, weight, bias, rstd.view(*x.shape[:-1], 1))
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tuple[Any, ...]:
        bits, output, weight, bias, rstd = ctx.saved_tensors
        memory = scratch(grad.numel(), "rows").view(grad.shape)
        grad_sum, grad_weight, grad_bias = norm_backward(grad, output, weight, bias, rstd, memory)
        return drop_again(grad_sum, bits, ctx.scale), grad_sum, grad_weight, grad_bias, None, None


def _pays(x: Tensor, p: float) -> bool:
    """Whether the way above is open: eager mode on the CPU, and a probability that 16 bits can tell from 0 and 1."""
    return (
        x.device.type == "cpu"
        and fast_paths_enabled()
        and (x.is_contiguous() or is_batch_first(x))
        and x.dtype == torch.float32
        and 0.0 < round(p * _LEVELS) < _LEVELS
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
    )


def dropout_add(x: Tensor, residual: Tensor, p: float) -> Tensor:
    """``residual + dropout(x, p)`` for floats of equal shape; ``p`` in ``[0, 1]``, 0 when not training."""
    if p == 0.0:
        return residual + x
    if _pays(x, p) and residual.dtype == x.dtype:
        result: Tensor = _DropoutAdd.apply(x, residual, p)
        return result
    return residual + F.dropout(x, p=p, training=True)


def norm_can_follow(norm: Any, x: Tensor, residual: Tensor, p: float) -> bool:
    """Whether dropout, sum and norm of tensors like these can be one operation, and shall be."""
    return (
        type(norm) is OutputSavingLayerNorm
        and is_unhooked(norm)
        and norm.training
        and torch.is_grad_enabled()
        and _pays(x, p)
        and x.is_contiguous()
        and residual.is_contiguous()
        and residual.shape == x.shape
        and residual.dtype == x.dtype
        and norm.pays(x)
    )


def dropout_add_norm_(x: Tensor, residual: Tensor, p: float, norm: Any) -> Optional[Tensor]:
    """``norm(residual + dropout(x, p))`` in the memory of ``x``, which the caller gives up.

    The large tensors of a forward pass then follow each other without gaps: one that is freed in between leaves a gap
    that the C library cannot fill with one of the same size.

    Returns:
        ``None``, and nothing done, where this way is not open.
    """
    if not (x.requires_grad and norm_can_follow(norm, x, residual, p)):
        return None
    result: Tensor = _DropoutAddNorm.apply(x, residual, norm.weight, norm.bias, p, norm.eps)
    return result


def dropout(x: Tensor, p: float) -> Tensor:
    """``torch.nn.functional.dropout(x, p)`` in training; ``p`` in ``[0, 1]``."""
    if p > 0.0 and _pays(x, p):
        result: Tensor = _Dropout.apply(x, p)
        return result
    return F.dropout(x, p=p, training=True)
