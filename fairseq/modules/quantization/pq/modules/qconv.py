"""Product-quantised two-dimensional convolutions."""

from typing import Any, Optional, Tuple, Union

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from fairseq.modules.quantization.pq.modules._codebook import Codebook

__all__ = ["PQConv2d"]

Size = Union[int, Tuple[int, int]]


class PQConv2d(Codebook):
    """A convolution whose weight is decoded from centroids at each forward pass.

    Args:
        centroids: ``(K, D)``; assignments: one per block of the weight.
        bias: ``(out_channels,)`` or ``None``.
        in_channels ... padding_mode: of ``nn.Conv2d``.
    """

    def __init__(
        self,
        centroids: Tensor,
        assignments: Tensor,
        bias: Optional[Tensor],
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        padding_mode: str = "zeros",
    ) -> None:
        super().__init__(centroids, assignments)
        if padding_mode != "zeros":
            raise NotImplementedError(f"PQConv2d pads with zeros only, not with {padding_mode!r}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size: Any = _pair(kernel_size)
        self.stride: Any = _pair(stride)
        self.padding: Any = _pair(padding)
        self.dilation: Any = _pair(dilation)
        self.groups = groups
        self.padding_mode = padding_mode
        self.bias: Optional[nn.Parameter] = nn.Parameter(bias) if bias is not None else None

    @property
    def weight(self) -> Tensor:
        """``(out_channels, in_channels / groups, height, width)``."""
        return self._decode((self.out_channels, self.in_channels // self.groups, *self.kernel_size))

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, in_channels, rows, columns)`` -> ``(batch, out_channels, ...)``."""
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"n_centroids={self.n_centroids}, block_size={self.block_size}, bias={self.bias is not None}"
        )
