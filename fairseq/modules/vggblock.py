"""Convolution block of VGG kind for spectrograms (Simonyan & Zisserman 2014, https://arxiv.org/abs/1409.1556)."""

from typing import Any, Optional, Tuple, Union

import torch
from torch import Tensor, nn

__all__ = ["VGGBlock", "infer_conv_output_dim"]

Size = Union[int, Tuple[int, int]]


def _pair(value: Any) -> Tuple[int, int]:
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise AssertionError(f"expected two numbers, got {value}")
        return int(value[0]), int(value[1])
    return int(value), int(value)


def infer_conv_output_dim(conv_op: nn.Module, input_dim: int, sample_inchannel: int) -> Tuple[int, int]:
    """Try out what a 2-d module makes of ``(batch, sample_inchannel, frames, input_dim)``.

    Returns:
        ``(channels * width, width)`` of its output.
    """
    with torch.no_grad():
        sample = torch.zeros(1, sample_inchannel, 200, input_dim)
        output = conv_op(sample).transpose(1, 2)
    width = output.size(3)
    return output.size(2) * width, width


class VGGBlock(nn.Module):
    """Convolutions with ReLU, then max pooling.

    Args:
        in_channels, out_channels: of the block.
        conv_kernel_size, conv_stride, padding: of the convolutions; ``padding=None`` keeps the size (odd kernels).
        pooling_kernel_size: of the pooling, whose stride is the same; ``None`` for no pooling.
        num_conv_layers: number of convolutions.
        input_dim: width of the input.
        layer_norm: normalise after each convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        conv_kernel_size: Size,
        pooling_kernel_size: Optional[Size],
        num_conv_layers: int,
        input_dim: int,
        conv_stride: Size = 1,
        padding: Optional[Size] = None,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        if not input_dim:
            raise AssertionError("VGGBlock needs input_dim, the width of its input")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.conv_kernel_size = _pair(conv_kernel_size)
        self.pooling_kernel_size = _pair(pooling_kernel_size) if pooling_kernel_size is not None else None
        self.num_conv_layers = num_conv_layers
        self.conv_stride = _pair(conv_stride)
        self.padding = (
            (self.conv_kernel_size[0] // 2, self.conv_kernel_size[1] // 2) if padding is None else _pair(padding)
        )
        self.layers = nn.ModuleList()
        channels, width = in_channels, input_dim
        total = channels * width
        for _ in range(num_conv_layers):
            conv = nn.Conv2d(
                channels, out_channels, self.conv_kernel_size, stride=self.conv_stride, padding=self.padding
            )
            total, width = infer_conv_output_dim(conv, width, channels)
            channels = out_channels
            self.layers.append(conv)
            if layer_norm:
                self.layers.append(nn.LayerNorm(width))
            self.layers.append(nn.ReLU())
        if self.pooling_kernel_size is not None:
            pool = nn.MaxPool2d(kernel_size=self.pooling_kernel_size, ceil_mode=True)
            self.layers.append(pool)
            total, width = infer_conv_output_dim(pool, width, channels)
        self.total_output_dim, self.output_dim = total, width

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, in_channels, frames, input_dim)`` -> ``(batch, out_channels, fewer frames, output_dim)``."""
        for layer in self.layers:
            x = layer(x)
        return x
