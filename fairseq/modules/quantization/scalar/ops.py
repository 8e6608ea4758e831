"""Rounding to integers of a few bits, in floating point."""

from typing import Optional, Tuple

import torch
from torch import Tensor

__all__ = ["emulate_int", "emulate_int8_channel", "emulate_int8_histogram", "emulate_int8_tensor", "quantize"]

# Shares of the full range that the histogram method tries.
_SHRINKS = [1.0 - 0.05 * step for step in range(16)]


def emulate_int(
    w: Tensor, bits: int, method: str, scale: Optional[Tensor] = None, zero_point: Optional[Tensor] = None
) -> Tuple[Tensor, Tensor, Tensor]:
    """Round a tensor to ``bits`` bits.

    Args:
        w: floats of any shape.
        method: how scale and zero point are found: ``histogram``, ``tensor`` or ``channel``.
        scale, zero_point: to use instead of finding them.

    Returns:
        ``(rounded, scale, zero_point)``.

    Raises:
        ValueError: unknown method.
    """
    methods = {
        "histogram": emulate_int8_histogram,
        "tensor": emulate_int8_tensor,
        "channel": emulate_int8_channel,
    }
    if method not in methods:
        raise ValueError(f"no quantisation method {method!r}; there are {', '.join(methods)}")
    return methods[method](w, scale=scale, zero_point=zero_point, bits=bits)


def quantize(w: Tensor, scale: Tensor, zero_point: Tensor, bits: int = 8) -> Tensor:
    """The nearest of the ``2 ** bits`` values ``(n - zero_point) * scale``."""
    levels = torch.clamp(torch.round(w / scale + zero_point), 0, 2**bits - 1)
    return (levels - zero_point) * scale


def _affine(low: Tensor, high: Tensor, bits: int) -> Tuple[Tensor, Tensor]:
    """Scale and zero point for a range, which is widened to hold 0 so that 0 stays exact."""
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = ((high - low) / (2**bits - 1)).clamp(min=torch.finfo(torch.float32).eps)
    return scale, torch.round(-low / scale).clamp(0, 2**bits - 1)


def emulate_int8_tensor(
    w: Tensor, scale: Optional[Tensor] = None, zero_point: Optional[Tensor] = None, bits: int = 8
) -> Tuple[Tensor, Tensor, Tensor]:
    """One range for the whole tensor: from its smallest to its largest value."""
    if scale is None or zero_point is None:
        scale, zero_point = _affine(w.min(), w.max(), bits)
    return quantize(w, scale, zero_point, bits), scale, zero_point


def emulate_int8_channel(
    w: Tensor, scale: Optional[Tensor] = None, zero_point: Optional[Tensor] = None, bits: int = 8
) -> Tuple[Tensor, Tensor, Tensor]:
    """One symmetric range for each index of the last dimension."""
    if scale is None or zero_point is None:
        largest = w.abs().flatten(0, -2).amax(0) if w.dim() > 1 else w.abs()
        scale = (2 * largest / (2**bits - 1)).clamp(min=torch.finfo(torch.float32).eps)
        zero_point = torch.full_like(scale, 2 ** (bits - 1))
    return quantize(w, scale, zero_point, bits), scale, zero_point


def emulate_int8_histogram(
    w: Tensor, scale: Optional[Tensor] = None, zero_point: Optional[Tensor] = None, bits: int = 8
) -> Tuple[Tensor, Tensor, Tensor]:
    """One range for the whole tensor, cut where that makes the squared error smallest."""
    if scale is None or zero_point is None:
        low, high = w.min(), w.max()
        candidates = [_affine(low * shrink, high * shrink, bits) for shrink in _SHRINKS]
        errors = torch.stack([(quantize(w, s, z, bits) - w).square().sum() for s, z in candidates])
        scales, zeros = torch.stack([s for s, _ in candidates]), torch.stack([z for _, z in candidates])
        best = errors.argmin()
        scale, zero_point = scales[best], zeros[best]
    return quantize(w, scale, zero_point, bits), scale, zero_point
