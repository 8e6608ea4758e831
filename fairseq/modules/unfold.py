"""Windows over time."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

__all__ = ["unfold1d"]


def unfold1d(x: Tensor, kernel_size: int, padding_l: int, pad_value: float = 0) -> Tensor:
    """Return the window around every time step: ``(T, B, C)`` to ``(T, B, C, kernel_size)``.

    Args:
        x: ``(T, B, C)``.
        kernel_size: length of the windows.
        padding_l: steps of padding before the first one; the rest of ``kernel_size - 1`` comes after the last one.
        pad_value: what the padding holds.
    """
    if kernel_size == 1:
        return x.unsqueeze(3)
    padded = F.pad(x, (0, 0, 0, 0, padding_l, kernel_size - 1 - padding_l), value=pad_value)
    return padded.unfold(0, kernel_size, 1)
