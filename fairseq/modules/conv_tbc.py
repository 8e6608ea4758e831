"""Convolution over time-first tensors."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.utils import _single

__all__ = ["ConvTBC"]


class ConvTBC(nn.Module):
    """One-dimensional convolution of ``(time, batch, channel)``.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: time steps that each output sees.
        padding: zeros before the first and after the last step.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, padding: int = 0) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = _single(kernel_size)
        self.padding = _single(padding)
        self.weight = nn.Parameter(torch.empty(self.kernel_size[0], in_channels, out_channels))
        self.bias = nn.Parameter(torch.empty(out_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights (Xavier, normal); biases are zero."""
        nn.init.xavier_normal_(self.weight)
        nn.init.zeros_(self.bias)

    def conv_tbc(self, input: Tensor) -> Tensor:
        """Convolve ``(T, B, in)`` to ``(T + 2 * padding - kernel_size + 1, B, out)``."""
        return torch.conv_tbc(input.contiguous(), self.weight, self.bias, self.padding[0])

    def forward(self, input: Tensor) -> Tensor:
        """As ``conv_tbc``."""
        return self.conv_tbc(input)

    def extra_repr(self) -> str:
        """Sizes, for ``print(model)``."""
        return f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, padding={self.padding}"
