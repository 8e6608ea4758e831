"""Masks of attention: the causal one, and how masks of different kinds become one additive mask.

Shapes in this file:  B = batch, H = heads, T = queries, S = keys
"""

from typing import Dict, Optional, Tuple

import torch
from torch import Tensor

__all__ = ["additive", "future_mask", "is_future_mask", "merge"]

_FUTURE: Dict[Tuple[torch.device, torch.dtype], Tensor] = {}


def _build_future(size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.triu(torch.full((size, size), float("-inf"), device=device, dtype=dtype), 1)


def future_mask(size: int, like: Tensor) -> Tensor:
    """``(size, size)`` with ``-inf`` above the diagonal, in the dtype and on the device of ``like``.

    A view of one table per device and dtype that grows on demand; do not change it in place.
    """
    if torch.compiler.is_compiling():
        return _build_future(size, like.device, like.dtype)
    key = (like.device, like.dtype)
    table = _FUTURE.get(key)
    if table is None or table.size(0) < size:
        # Made in inference mode, the table could not be used in training later.
        with torch.inference_mode(False):
            table = _build_future(max(size, 64 if table is None else 2 * table.size(0)), like.device, like.dtype)
        _FUTURE[key] = table
    return table[:size, :size]


def is_future_mask(mask: Tensor) -> bool:
    """Whether ``mask`` is what ``future_mask`` gave out; told from its memory, without looking at values."""
    table = _FUTURE.get((mask.device, mask.dtype))
    return (
        table is not None
        and mask.dim() == 2
        and mask.size(0) == mask.size(1)
        and mask.stride() == table.stride()
        and mask.data_ptr() == table.data_ptr()
    )


def additive(mask: Tensor, like: Tensor) -> Tensor:
    """A mask to be added to scores: bool and integer masks (true = hidden) become 0 and ``-inf``, others are cast."""
    if mask.is_floating_point():
        return mask.to(like.dtype)
    return torch.zeros(mask.shape, dtype=like.dtype, device=mask.device).masked_fill(mask.to(torch.bool), float("-inf"))


def merge(
    attn_mask: Optional[Tensor], padding_mask: Optional[Tensor], num_heads: int, like: Tensor
) -> Optional[Tensor]:
    """One additive mask that broadcasts to ``(B, H, T, S)``; ``None`` when nothing is hidden.

    Args:
        attn_mask: ``(T, S)``, or ``(B * H, T, S)``, or ``(B, H, T, S)``: bool (true = hidden) or additive.
        padding_mask: ``(B, S)``, true at keys that are padding.
        num_heads: H.
        like: a tensor of the dtype to compute in.
    """
    merged: Optional[Tensor] = None
    if attn_mask is not None:
        merged = additive(attn_mask, like)
        if merged.dim() == 2:
            merged = merged.unsqueeze(0).unsqueeze(0)
        elif merged.dim() == 3:
            merged = merged.unflatten(0, (-1, num_heads)) if merged.size(0) > 1 else merged.unsqueeze(0)
    if padding_mask is not None:
        padding = additive(padding_mask, like).unsqueeze(1).unsqueeze(1)
        merged = padding if merged is None else merged + padding
    return merged
