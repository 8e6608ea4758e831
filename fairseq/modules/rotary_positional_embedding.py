"""Rotary positions (Su et al. 2021, https://arxiv.org/abs/2104.09864).

Shapes in this file:  T = length, B = batch, H = heads, D = width of a head
"""

from typing import Optional, Tuple

import torch
from torch import Tensor, nn

__all__ = ["RotaryPositionalEmbedding", "apply_rotary_pos_emb", "rotate_half"]


class RotaryPositionalEmbedding(nn.Module):
    """Cosines and sines of the angles that positions turn queries and keys by.

    Args:
        dim: D; even.
        base: the longest wavelength is about ``2 pi * base`` positions.
        precision: kept for interface compatibility; tables are computed in float32.
    """

    inv_freq: Tensor
    cos_cached: Optional[Tensor]
    sin_cached: Optional[Tensor]

    def __init__(self, dim: int, base: float = 10000, precision: torch.dtype = torch.half) -> None:
        super().__init__()
        inv_freq = 1.0 / (base ** (torch.arange(0, dim, 2).float() / dim))
        self.register_buffer("inv_freq", inv_freq)
        self.seq_len_cached = 0
        self.cos_cached = None
        self.sin_cached = None
        self.precision = precision

    def forward(self, x: Tensor, seq_len: int = 0) -> Tuple[Tensor, Tensor]:
        """Tables for ``seq_len`` positions, in dtype and on the device of ``x``.

        Args:
            x: ``(T, B, C)``; only dtype, device and, if ``seq_len`` is 0, the length matter.

        Returns:
            cosines and sines, ``(T, 1, 1, D)`` each; of the longest length seen so far, if that is more.
        """
        if seq_len == 0:
            seq_len = x.size(0)
        if torch.jit.is_scripting():
            return self._tables(x, seq_len)
        cos, sin = self.cos_cached, self.sin_cached
        if (
            cos is None
            or sin is None
            or seq_len > self.seq_len_cached
            or cos.device != x.device
            or cos.dtype != x.dtype
        ):
            # A table made under torch.inference_mode() could never take part in training.
            with torch.inference_mode(False):
                cos, sin = self._tables(x, seq_len)
            self.seq_len_cached, self.cos_cached, self.sin_cached = seq_len, cos, sin
        return cos, sin

    def _tables(self, x: Tensor, seq_len: int) -> Tuple[Tensor, Tensor]:
        positions = torch.arange(seq_len, device=x.device).float()
        angles = torch.outer(positions, self.inv_freq.to(device=x.device, dtype=torch.float32))
        angles = torch.cat([angles, angles], dim=-1)
        return angles.cos()[:, None, None, :].to(x.dtype), angles.sin()[:, None, None, :].to(x.dtype)


def rotate_half(x: Tensor) -> Tensor:
    """``[a, b] -> [-b, a]`` for the two halves of the last dimension."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([-second, first], dim=-1)


def apply_rotary_pos_emb(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, offset: int = 0) -> Tuple[Tensor, Tensor]:
    """Turn queries and keys ``(T, B, H, D)`` by the angles of positions ``offset, offset + 1, ...``."""
    cos, sin = cos[offset : q.shape[0] + offset], sin[offset : q.shape[0] + offset]
    return q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin
