"""Small tensor helpers of models that edit a batch of sequences in place. All of them compile with TorchScript."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["coalesce", "expand_2d_or_3d_tensor", "fill_tensors", "script_skip_tensor", "script_skip_tensor_list"]


def script_skip_tensor(x: Tensor, mask: Tensor) -> Tensor:
    """Keep the sentences where ``mask``, ``(batch,)``, is true; they are in dimension 0 or, if it fits not, 1."""
    if x.size(0) == 0:
        return x
    return x[mask] if x.size(0) == mask.size(0) else x[:, mask]


def script_skip_tensor_list(x: list[Tensor], mask: Tensor) -> list[Tensor]:
    """Keep the sentences where ``mask`` is true, in every tensor."""
    return [tensor[mask] if tensor.size(0) == mask.size(0) else tensor[:, mask] for tensor in x]


def expand_2d_or_3d_tensor(x: Tensor, trg_dim: int, padding_idx: int) -> Tensor:
    """Lengthen dimension 1 of ``(batch, len)`` or ``(batch, len, dim)`` to ``trg_dim``, filled with ``padding_idx``.

    Raises:
        AssertionError: another number of dimensions, or a tensor that is longer already.
    """
    if x.dim() != 2 and x.dim() != 3:
        raise AssertionError(f"a tensor of 2 or 3 dimensions is needed, not of {x.dim()}")
    missing = trg_dim - x.size(1)
    if missing < 0:
        raise AssertionError(f"a tensor of length {x.size(1)} cannot be expanded to {trg_dim}")
    if missing == 0:
        return x
    shape = list(x.size())
    shape[1] = missing
    return torch.cat([x, torch.full(shape, padding_idx, dtype=x.dtype, device=x.device)], dim=1)


def coalesce(x: Tensor | None, y: Tensor) -> Tensor:
    """Return ``x``, or ``y`` if there is no ``x``."""
    return x if x is not None else y


def fill_tensors(x: Tensor | None, mask: Tensor, y: Tensor | None, padding_idx: int) -> Tensor | None:
    """Put the rows of ``y`` where ``mask``, ``(batch,)``, is true in ``x``; the shorter of the two is padded.

    Args:
        x: ``(batch, len)`` or ``(batch, len, dim)``; changed in place where it is long enough.
        mask: which sentences to replace.
        y: the new sentences, as many as the mask selects.
        padding_idx: what fills up.

    Raises:
        AssertionError: shapes that do not fit.
    """
    if x is None or x.size(0) == 0 or y is None:
        return x
    if x.dim() != y.dim() or mask.size(0) != x.size(0):
        raise AssertionError("fill_tensors: x and y need as many dimensions, x and mask as many sentences")
    selected = int(mask.sum())
    if selected == 0:
        return x
    if selected != y.size(0):
        raise AssertionError(f"fill_tensors: the mask selects {selected} sentences, y has {y.size(0)}")
    if selected == x.size(0):
        return y
    if x.size(1) < y.size(1):
        x = expand_2d_or_3d_tensor(x, y.size(1), padding_idx)
    elif x.size(1) > y.size(1):
        y = expand_2d_or_3d_tensor(y, x.size(1), padding_idx)
    x[mask] = y
    return x
