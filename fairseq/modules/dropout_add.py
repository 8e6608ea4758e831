"""Dropout followed by a residual connection, in one pass and with a quarter of the memory.

On the CPU, drawing a Bernoulli number per element costs about as much as a small matrix product. Here 16 random bits
decide over an element: the probability is exact to 1 in 65,536, and what stays is scaled by the probability that is
really used, so the expectation is exact. Only the mask, one byte per element, is kept for the backward pass.
"""

from typing import Any, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fairseq.modules.batch_first import is_batch_first

__all__ = ["dropout", "dropout_add"]

_LEVELS = 1 << 16


def _keep_mask(x: Tensor, p: float) -> Tuple[Tensor, float]:
    """A mask of ones and zeros (int8, shape and strides of the dense ``x``) and the scale of what stays."""
    dropped = round(p * _LEVELS)
    count = x.numel()
    words = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    levels = words.view(torch.int16).as_strided(x.shape, x.stride())
    # The int16 levels run from -2**15.
    keep = (levels >= dropped - _LEVELS // 2).view(torch.int8)
    return keep, _LEVELS / (_LEVELS - dropped)


class _DropoutAdd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, residual: Tensor, p: float) -> Tensor:
        keep, scale = _keep_mask(x, p)
        ctx.save_for_backward(keep)
        ctx.scale = scale
        return torch.addcmul(residual, x, keep, value=scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tuple[Tensor, Tensor, None]:  # type: ignore[override]
        (keep,) = ctx.saved_tensors
        return (grad * keep).mul_(ctx.scale), grad, None


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        keep, scale = _keep_mask(x, p)
        ctx.save_for_backward(keep)
        ctx.scale = scale
        return (x * keep).mul_(scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tuple[Tensor, None]:  # type: ignore[override]
        (keep,) = ctx.saved_tensors
        return (grad * keep).mul_(ctx.scale), None


def _pays(x: Tensor, p: float) -> bool:
    """Whether the way above is open: eager mode on the CPU, and a probability that 16 bits can tell from 0 and 1."""
    return (
        x.device.type == "cpu"
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


def dropout(x: Tensor, p: float) -> Tensor:
    """``torch.nn.functional.dropout(x, p)`` in training; ``p`` in ``[0, 1]``."""
    if p > 0.0 and _pays(x, p):
        result: Tensor = _Dropout.apply(x, p)
        return result
    return F.dropout(x, p=p, training=True)
