"""The layer, with the parameter layout of the extension: kernels are ``(heads, kernel width)``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fairseq.modules.lightweight_convolution import LightweightConv1dTBC

__all__ = ["LightconvLayer", "lightconvFunction"]


class lightconvFunction(torch.autograd.Function):
    """``lightconvFunction.apply(x, weights, padding_l)``: depthwise convolution of ``(batch, channel, time)``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor, padding_l: int) -> Tensor:  # type: ignore[override]
        """Convolve with kernels ``(heads, width)``; neighbouring channels share a head."""
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
    channels = x.size(1)
    kernels = weights.repeat_interleave(channels // weights.size(0), dim=0).unsqueeze(1)
    return F.conv1d(F.pad(x, (padding_l, weights.size(1) - 1 - padding_l)), kernels, groups=channels)


class LightconvLayer(LightweightConv1dTBC):
    """As :class:`LightweightConv1dTBC`, with kernels ``(heads, kernel width)`` in the state dict."""

    def __init__(
        self,
        input_size: int,
        kernel_size: int = 1,
        padding_l: int | None = None,
        weight_softmax: bool = False,
        num_heads: int = 1,
        weight_dropout: float = 0.0,
        bias: bool = False,
    ) -> None:
        super().__init__(input_size, kernel_size, padding_l, num_heads, weight_dropout, weight_softmax, bias)
        self.weight = nn.Parameter(self.weight.detach().squeeze(1))

    def upgrade_state_dict_named(self, state_dict: dict[str, Any], name: str) -> None:
        """Take over kernels of the other layout, ``(heads, 1, kernel width)``."""
        key = name + ".weight" if name else "weight"
        weight = state_dict.get(key)
        if weight is not None and weight.dim() == 3 and weight.size(1) == 1:
            state_dict[key] = weight.squeeze(1)
