"""Lightweight convolution (Wu et al. 2019, https://arxiv.org/abs/1901.10430, sec. 3).

A depthwise convolution whose kernels are shared by groups of channels (heads) and sum to one. Shapes in this file:
T time, B batch, C channels, H heads, K kernel width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fairseq.incremental_decoding_utils import with_incremental_state
from fairseq.modules.fairseq_dropout import FairseqDropout

__all__ = ["LightweightConv", "LightweightConv1d", "LightweightConv1dTBC", "depthwise_convolution"]


def LightweightConv(
    input_size: int,
    kernel_size: int = 1,
    padding_l: int | None = None,
    num_heads: int = 1,
    weight_dropout: float = 0.0,
    weight_softmax: bool = False,
    bias: bool = False,
) -> LightweightConv1dTBC:
    """Build the implementation of lightweight convolution that fits; there is one for all devices."""
    return LightweightConv1dTBC(input_size, kernel_size, padding_l, num_heads, weight_dropout, weight_softmax, bias)


def depthwise_convolution(x: Tensor, weight: Tensor, padding_l: int) -> Tensor:
    """Convolve ``x``, ``(T, B, C)``, with the kernels of heads, ``(H, K)``; the result has ``T`` steps.

    ``padding_l`` zeros stand before the first step and ``K - 1 - padding_l`` after the last one.
    """
    heads, width = weight.size(0), weight.size(1)
    channels = x.size(2)
    kernels = weight.repeat_interleave(channels // heads, dim=0).unsqueeze(1)
    padded = F.pad(x.permute(1, 2, 0), (padding_l, width - 1 - padding_l))
    return F.conv1d(padded, kernels, groups=channels).permute(2, 0, 1)


class LightweightConv1d(nn.Module):
    """Lightweight convolution of ``(batch, channel, time)``.

    Args:
        input_size: channels.
        kernel_size: width of the kernels.
        padding: zeros on both sides.
        num_heads: number of different kernels.
        weight_softmax: normalise each kernel with a softmax.
        bias: add a bias per channel.
        weight_dropout: dropout on the kernels.
    """

    def __init__(
        self,
        input_size: int,
        kernel_size: int = 1,
        padding: int = 0,
        num_heads: int = 1,
        weight_softmax: bool = False,
        bias: bool = False,
        weight_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.padding = padding
        self.kernel_size = kernel_size
        self.input_size = input_size
        self.weight_softmax = weight_softmax
        self.weight = nn.Parameter(torch.empty(num_heads, 1, kernel_size))
        self.bias = nn.Parameter(torch.empty(input_size)) if bias else None
        self.weight_dropout_module = FairseqDropout(weight_dropout, module_name=type(self).__name__)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw kernels (Xavier, uniform); the bias is zero."""
        nn.init.xavier_uniform_(self.weight)
        if self.bias is not None:
            nn.init.constant_(self.bias, 0.0)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve ``(B, C, T)``; channels take turns in the heads: channel c belongs to head ``c % H``."""
        batch, channels, time = input.size()
        weight = F.softmax(self.weight, dim=-1) if self.weight_softmax else self.weight
        weight = self.weight_dropout_module(weight)
        x = input.reshape(-1, self.num_heads, time)
        output = F.conv1d(x, weight, padding=self.padding, groups=self.num_heads).view(batch, channels, -1)
        return output if self.bias is None else output + self.bias.view(1, -1, 1)


@with_incremental_state
class LightweightConv1dTBC(nn.Module):
    """Lightweight convolution of ``(time, batch, channel)``, over a whole sequence or a step at a time.

    Args:
        input_size: channels; neighbouring ones share a head.
        kernel_size: width of the kernels.
        padding_l: zeros before the first step; ``kernel_size - 1`` makes the convolution causal.
        num_heads: number of different kernels.
        weight_dropout: dropout on the kernels.
        weight_softmax: normalise each kernel with a softmax.
        bias: add a bias per channel.
    """

    def __init__(
        self,
        input_size: int,
        kernel_size: int = 1,
        padding_l: int | None = None,
        num_heads: int = 1,
        weight_dropout: float = 0.0,
        weight_softmax: bool = False,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.kernel_size = kernel_size
        self.padding_l = padding_l
        self.num_heads = num_heads
        self.weight_dropout_module = FairseqDropout(weight_dropout, module_name=type(self).__name__)
        self.weight_softmax = weight_softmax
        self.weight = nn.Parameter(torch.empty(num_heads, 1, kernel_size))
        self.bias = nn.Parameter(torch.empty(input_size)) if bias else None
        self.reset_parameters()
        self.onnx_trace = False

    def reset_parameters(self) -> None:
        """Draw kernels (Xavier, uniform); the bias is zero."""
        nn.init.xavier_uniform_(self.weight)
        if self.bias is not None:
            nn.init.constant_(self.bias, 0.0)

    def forward(
        self,
        x: Tensor,
        incremental_state: dict[str, dict[str, Tensor | None]] | None = None,
        unfold: bool = False,
    ) -> Tensor:
        """Convolve.

        Args:
            x: ``(T, B, C)``; with a state the next step or steps.
            incremental_state: the shared dictionary of generation; for causal convolutions.
            unfold: accepted for old callers; there is one way to compute.

        Returns:
            ``(T, B, C)``.
        """
        weight = self.weight.view(self.num_heads, self.kernel_size)
        if self.weight_softmax:
            weight = F.softmax(weight, dim=1, dtype=torch.float32).type_as(weight)
        weight = self.weight_dropout_module(weight)
        steps = x.size(0)
        if incremental_state is not None and self.kernel_size > 1:
            before = self._get_input_buffer(incremental_state)
            if before is None:
                before = x.new_zeros(self.kernel_size - 1, x.size(1), x.size(2))
            x = torch.cat([before, x], dim=0)
            self._set_input_buffer(incremental_state, x[-(self.kernel_size - 1) :])
        output = depthwise_convolution(x, weight, self._left_padding())[-steps:]
        return output if self.bias is None else output + self.bias.view(1, 1, -1)

    def _left_padding(self) -> int:
        return self.padding_l if self.padding_l is not None else 0

    def _get_input_buffer(self, incremental_state: dict[str, dict[str, Tensor | None]] | None) -> Tensor | None:
        """The last ``kernel_size - 1`` steps, ``(K - 1, B, C)``."""
        state = self.get_incremental_state(incremental_state, "input_buffer")  # type: ignore[operator]
        return None if state is None else state["input_buffer"]

    def _set_input_buffer(
        self, incremental_state: dict[str, dict[str, Tensor | None]] | None, new_buffer: Tensor
    ) -> None:
        kept: dict[str, Tensor | None] = {"input_buffer": new_buffer}
        self.set_incremental_state(incremental_state, "input_buffer", kept)  # type: ignore[operator]

    def reorder_incremental_state(
        self, incremental_state: dict[str, dict[str, Tensor | None]], new_order: Tensor
    ) -> None:
        """Let the steps kept follow their hypotheses."""
        before = self._get_input_buffer(incremental_state)
        if before is not None:
            self._set_input_buffer(incremental_state, before.index_select(1, new_order))

    def prepare_for_onnx_export_(self) -> None:
        """Take the ways through the code that ONNX can trace."""
        self.onnx_trace = True

    def extra_repr(self) -> str:
        """Sizes, for ``print(model)``."""
        return (
            f"{self.input_size}, kernel_size={self.kernel_size}, padding_l={self.padding_l}, "
            f"num_heads={self.num_heads}, weight_softmax={self.weight_softmax}, bias={self.bias is not None}"
        )

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        # The layout of the former CUDA layer has no middle dimension.
        weight = state_dict.get(prefix + "weight")
        if weight is not None and weight.dim() + 1 == self.weight.dim():
            state_dict[prefix + "weight"] = weight.unsqueeze(1)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
