"""Two-dimensional convolutions with rounded weights."""

from typing import Any, Tuple, Union

from torch import Tensor
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.utils import _pair

from fairseq.modules.quantization.scalar.modules._noise import noisy

__all__ = ["IntConv2d"]

Size = Union[int, Tuple[int, int]]


class IntConv2d(_ConvNd):
    """``nn.Conv2d`` whose weight is rounded: a share ``p`` of it in training, all of it in evaluation.

    Args:
        in_channels ... padding_mode: of ``nn.Conv2d``.
        p, bits, method, update_step: see ``IntLinear``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: Any = "zeros",
        p: float = 0,
        bits: int = 8,
        method: str = "histogram",
        update_step: int = 1000,
    ) -> None:
        super().__init__(
            in_channels, out_channels, _pair(kernel_size), _pair(stride), _pair(padding), _pair(dilation),
            False, _pair(0), groups, bias, padding_mode,
        )  # fmt: skip
        self.p = p
        self.bits = bits
        self.method = method
        self.update_step = update_step
        self.counter = 0
        self.scale: Any = None
        self.zero_point: Any = None

    def forward(self, input: Tensor) -> Tensor:
        """``(batch, in_channels, rows, columns)`` -> ``(batch, out_channels, ...)``."""
        import torch.nn.functional as F

        weight = noisy(self, self.weight, self.p if self.training else 1)
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode), 0
        return F.conv2d(input, weight, self.bias, self.stride, padding, self.dilation, self.groups)  # type: ignore[arg-type]

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        return f"{super().extra_repr()}, quant_noise={self.p}, bits={self.bits}, method={self.method}"
