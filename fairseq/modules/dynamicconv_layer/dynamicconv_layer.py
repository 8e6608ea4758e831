"""The layer, with the argument order of the extension."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fairseq.modules.dynamic_convolution import DynamicConv1dTBC

__all__ = ["DynamicconvLayer", "dynamicconvFunction"]


class dynamicconvFunction(torch.autograd.Function):
    """``dynamicconvFunction.apply(x, weights, padding_l)``: each time step has kernels of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor, padding_l: int) -> Tensor:  # type: ignore[override]
        """Convolve ``(batch, channel, time)`` with kernels ``(batch, heads, width, time)``."""
        ctx.padding_l = padding_l
        ctx.save_for_backward(x, weights)
        return _convolve(x, weights, padding_l)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        """Run forward once more to differentiate it."""
        x, weights = (saved.detach().requires_grad_() for saved in ctx.saved_tensors)
        with torch.enable_grad():
            grads = torch.autograd.grad(_convolve(x, weights, ctx.padding_l), (x, weights), grad_output)
        return grads[0], grads[1], None


def _convolve(x: Tensor, weights: Tensor, padding_l: int) -> Tensor:
    batch, channels, time = x.shape
    _, heads, width, _ = weights.shape
    windows = F.pad(x, (padding_l, width - 1 - padding_l)).unfold(2, width, 1)
    windows = windows.view(batch, heads, channels // heads, time, width)
    return torch.einsum("bhrtk,bhkt->bhrt", windows, weights).reshape(batch, channels, time)


class DynamicconvLayer(DynamicConv1dTBC):
    """As :class:`DynamicConv1dTBC`."""

    def __init__(
        self,
        input_size: int,
        kernel_size: int = 1,
        padding_l: int | None = None,
        weight_softmax: bool = False,
        num_heads: int = 1,
        weight_dropout: float = 0.0,
        bias: bool = False,
        renorm_padding: bool = False,
        conv_bias: bool = False,
        query_size: int | None = None,
    ) -> None:
        softmax = (weight_softmax, renorm_padding)
        super().__init__(
            input_size, kernel_size, padding_l, num_heads, weight_dropout, *softmax, bias, conv_bias, query_size
        )
