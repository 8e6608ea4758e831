"""Sinusoidal positions of speech encoders: sines on even channels, cosines on odd ones.

Frequencies are those of Vaswani et al. 2017; relative distances are those of Transformer-XL (Dai et al. 2019).
Shapes in this file:  T = length, B = batch, D = width
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["PositionalEncoding", "RelPositionalEncoding"]


def _sinusoids(positions: Tensor, width: int) -> Tensor:
    """``(positions, width)`` in float32: the sine and cosine of each frequency stand side by side."""
    frequencies = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * -(math.log(10000.0) / width))
    angles = positions.float()[:, None] * frequencies
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :width]


def _like(table: Tensor, x: Tensor) -> Tensor:
    return table.to(device=x.device, dtype=x.dtype)


class PositionalEncoding(nn.Module):
    """Scale the input by the square root of its width and add absolute positions.

    Args:
        d_model: D.
        dropout_rate: of the sum.
        max_len: length of the table to begin with; it grows when it must.
        reverse: count down, so that the last of the table's positions comes first.
    """

    def __init__(self, d_model: int, dropout_rate: float, max_len: int = 5000, reverse: bool = False) -> None:
        super().__init__()
        self.d_model = d_model
        self.reverse = reverse
        self.xscale = math.sqrt(d_model)
        self.dropout = nn.Dropout(p=dropout_rate)
        # No buffer: the table is in no checkpoint.
        self.pe: Tensor | None = None
        self.extend_pe(torch.zeros(1, max_len))

    def extend_pe(self, x: Tensor) -> None:
        """Make the table ``(1, T, D)`` long enough for ``x (B, T, ...)``, of its dtype and on its device."""
        if self.pe is None or self.pe.size(1) < x.size(1):
            positions = torch.arange(x.size(1))
            self.pe = _sinusoids(positions.flip(0) if self.reverse else positions, self.d_model)[None]
        self.pe = _like(self.pe, x)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, D)`` -> the same."""
        self.extend_pe(x)
        assert self.pe is not None
        return self.dropout(x * self.xscale + self.pe[:, : x.size(1)])


class RelPositionalEncoding(nn.Module):
    """Codes of the distances between positions, for :class:`RelPositionMultiHeadedAttention`.

    Args:
        max_len: longest sequence to begin with; the table grows when it must.
        d_model: D.
    """

    def __init__(self, max_len: int, d_model: int) -> None:
        super().__init__()
        self.d_model = d_model
        self.pe: Tensor | None = None
        self.extend_pe(torch.zeros(1, max_len))

    def extend_pe(self, x: Tensor) -> None:
        """Make the table ``(1, 2T - 1, D)``, distances ``T - 1`` to ``-(T - 1)``, long enough for ``x (B, T, ...)``."""
        if self.pe is None or self.pe.size(1) < 2 * x.size(1) - 1:
            self.pe = _sinusoids(torch.arange(x.size(1) - 1, -x.size(1), -1), self.d_model)[None]
        self.pe = _like(self.pe, x)

    def forward(self, x: Tensor) -> Tensor:
        """The codes for ``x (T, B, D)``: ``(2T - 1, 1, D)``, the largest distance (query behind key) first."""
        length = x.size(0)
        self.extend_pe(x.transpose(0, 1))
        assert self.pe is not None
        middle = self.pe.size(1) // 2
        return self.pe[:, middle - length + 1 : middle + length].transpose(0, 1)
