"""Dynamic convolution (Wu et al. 2019, https://arxiv.org/abs/1901.10430, sec. 4).

As lightweight convolution, but each time step computes its own kernels from its input. Shapes in this file: T time,
B batch, C channels, H heads, R = C / H channels of a head, K kernel width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fairseq.incremental_decoding_utils import FairseqIncrementalState, with_incremental_state
from fairseq.modules.fairseq_dropout import FairseqDropout
from fairseq.modules.unfold import unfold1d

__all__ = ["DynamicConv", "DynamicConv1dTBC", "DynamicConv_scripatable", "Linear"]


def DynamicConv(
    input_size: int,
    kernel_size: int = 1,
    padding_l: int | None = None,
    num_heads: int = 1,
    weight_dropout: float = 0.0,
    weight_softmax: bool = False,
    renorm_padding: bool = False,
    bias: bool = False,
    conv_bias: bool = False,
    query_size: int | None = None,
    in_proj: bool = False,
) -> DynamicConv1dTBC:
    """Build the implementation of dynamic convolution that fits; there is one for all devices."""
    sizes = (input_size, kernel_size, padding_l, num_heads)
    biases = {"bias": bias, "conv_bias": conv_bias}
    return DynamicConv1dTBC(
        *sizes, weight_dropout, weight_softmax, renorm_padding, **biases, query_size=query_size, in_proj=in_proj
    )


def Linear(in_features: int, out_features: int, bias: bool = True) -> nn.Linear:
    """A projection with Xavier weights and, if any, a bias of zero."""
    module = nn.Linear(in_features, out_features, bias)
    nn.init.xavier_uniform_(module.weight)
    if bias:
        nn.init.constant_(module.bias, 0.0)
    return module


def _weighted_windows(windows: Tensor, weight: Tensor) -> Tensor:
    """Sum the steps of each window: ``(T, B, C, K)`` with kernels ``(T, B, H, K)`` gives ``(T, B, C)``.

    The windows may be a view with overlaps; no copy of them is made.
    """
    time, batch, channels, width = windows.shape
    heads = weight.size(2)
    rows = time * batch * heads
    summed = torch.bmm(windows.reshape(rows, channels // heads, width), weight.reshape(rows, width, 1))
    return summed.view(time, batch, channels)


@with_incremental_state
class DynamicConv1dTBC(nn.Module):
    """Dynamic convolution of ``(time, batch, channel)``, over a whole sequence or a step at a time.

    Args:
        input_size: channels; neighbouring ones share a head.
        kernel_size: width of the kernels.
        padding_l: zeros before the first step; ``kernel_size - 1`` makes the convolution causal.
        num_heads: kernels per time step.
        weight_dropout: dropout on the kernels.
        weight_softmax: normalise each kernel with a softmax.
        renorm_padding: leave padding out of that softmax.
        bias: the projection that computes kernels has a bias.
        conv_bias: add a bias per channel to the result.
        query_size: width of what kernels are computed from, if not ``input_size``.
        in_proj: the same projection also transforms the input.
    """

    def __init__(
        self,
        input_size: int,
        kernel_size: int = 1,
        padding_l: int | None = None,
        num_heads: int = 1,
        weight_dropout: float = 0.0,
        weight_softmax: bool = False,
        renorm_padding: bool = False,
        bias: bool = False,
        conv_bias: bool = False,
        query_size: int | None = None,
        in_proj: bool = False,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.kernel_size, self.padding_l = kernel_size, padding_l
        self.input_size = input_size
        self.query_size = input_size if query_size is None else query_size
        self.weight_softmax, self.renorm_padding = weight_softmax, renorm_padding
        self.weight_dropout_module = FairseqDropout(weight_dropout, module_name=type(self).__name__)
        num_weights = num_heads * kernel_size
        if in_proj:
            self.weight_linear = Linear(self.input_size, self.input_size + num_weights)
        else:
            self.weight_linear = Linear(self.query_size, num_weights, bias=bias)
        self.conv_bias = nn.Parameter(torch.empty(input_size)) if conv_bias else None
        self.reset_parameters()

    @property
    def in_proj(self) -> bool:
        """Whether the projection also transforms the input."""
        return self.weight_linear.out_features == self.input_size + self.num_heads * self.kernel_size

    def reset_parameters(self) -> None:
        """Draw the projection (Xavier, uniform); biases are zero."""
        self.weight_linear.reset_parameters()
        nn.init.xavier_uniform_(self.weight_linear.weight)
        if self.weight_linear.bias is not None:
            nn.init.constant_(self.weight_linear.bias, 0.0)
        if self.conv_bias is not None:
            nn.init.constant_(self.conv_bias, 0.0)

    def forward(
        self,
        x: Tensor,
        incremental_state: dict[str, dict[str, Tensor | None]] | None = None,
        query: Tensor | None = None,
        unfold: bool | None = None,
    ) -> Tensor:
        """Convolve.

        Args:
            x: ``(T, B, C)``; with a state the next step or steps.
            incremental_state: the shared dictionary of generation; for causal convolutions.
            query: what kernels are computed from, ``(T, B, query_size)``; the input itself if not given.
            unfold: accepted for old callers; there is one way to compute.

        Returns:
            ``(T, B, C)``.
        """
        if query is not None and self.in_proj:
            raise AssertionError("a query cannot be given to a dynamic convolution with in_proj")
        time, batch, channels = x.size()
        weight = self.weight_linear(x if query is None else query)
        if self.in_proj:
            x, weight = weight.split([channels, self.num_heads * self.kernel_size], dim=2)
        weight = weight.reshape(time, batch, self.num_heads, self.kernel_size)
        padding_l = self.padding_l if self.padding_l is not None else 0
        windows, inside = self._windows(x, incremental_state, padding_l)
        if self.weight_softmax:
            if self.renorm_padding:
                weight = weight.masked_fill(~inside[:, None, None, :], float("-inf"))
            weight = F.softmax(weight, dim=-1, dtype=torch.float32).type_as(weight)
        output = _weighted_windows(windows, self.weight_dropout_module(weight))
        return output if self.conv_bias is None else output + self.conv_bias.view(1, 1, -1)

    def _windows(self, x: Tensor, incremental_state: Any, padding_l: int) -> tuple[Tensor, Tensor]:
        """Windows ``(T, B, C, K)``, and which of their steps exist, ``(T, K)``."""
        width, time = self.kernel_size, x.size(0)
        before = 0
        if incremental_state is not None and width > 1:
            kept = self._get_input_buffer(incremental_state)
            if kept is None:
                kept = x.new_zeros(0, x.size(1), x.size(2))
            x = torch.cat([kept, x], dim=0)
            before = kept.size(0)
            self._set_input_buffer(incremental_state, x[max(0, x.size(0) - width + 1) :])
        windows = unfold1d(x, width, padding_l, 0)[before:]
        steps = torch.arange(time, device=x.device).unsqueeze(1) + before - padding_l
        steps = steps + torch.arange(width, device=x.device)
        return windows, (steps >= 0) & (steps < before + time)

    def _get_input_buffer(self, incremental_state: Any) -> Tensor | None:
        """Up to ``K - 1`` steps, ``(steps, B, C)``."""
        state = self.get_incremental_state(incremental_state, "input_buffer")  # type: ignore[operator]
        return None if state is None else state["input_buffer"]

    def _set_input_buffer(self, incremental_state: Any, new_buffer: Tensor) -> None:
        kept: dict[str, Tensor | None] = {"input_buffer": new_buffer}
        self.set_incremental_state(incremental_state, "input_buffer", kept)  # type: ignore[operator]

    def reorder_incremental_state(
        self, incremental_state: dict[str, dict[str, Tensor | None]], new_order: Tensor
    ) -> None:
        """Let the steps kept follow their hypotheses."""
        kept = self._get_input_buffer(incremental_state)
        if kept is not None:
            self._set_input_buffer(incremental_state, kept.index_select(1, new_order))

    def extra_repr(self) -> str:
        """Sizes, for ``print(model)``."""
        return (
            f"{self.input_size}, kernel_size={self.kernel_size}, padding_l={self.padding_l}, "
            f"num_heads={self.num_heads}, weight_softmax={self.weight_softmax}, "
            f"conv_bias={self.conv_bias is not None}, renorm_padding={self.renorm_padding}, in_proj={self.in_proj}"
        )

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        if self.conv_bias is None:
            # DynamicConv_scripatable always has this entry; without conv_bias it means nothing.
            state_dict.pop(prefix + "conv_bias", None)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class DynamicConv_scripatable(nn.Module, FairseqIncrementalState):
    """Dynamic convolution that compiles with TorchScript; the one that ``lightconv`` models use.

    Arguments are those of :class:`DynamicConv1dTBC`. Two things differ: ``conv_bias`` is always in the state dict
    (``(1, 1, C)``), used or not; and a causal convolution over fewer steps than its kernel is wide takes the softmax
    over the kernel entries that lie on steps, as the released models were trained.
    """

    def __init__(
        self,
        input_size: int,
        kernel_size: int = 1,
        padding_l: int | None = None,
        num_heads: int = 1,
        weight_dropout: float = 0.0,
        weight_softmax: bool = False,
        renorm_padding: bool = False,
        bias: bool = False,
        conv_bias: bool = False,
        query_size: int | None = None,
        in_proj: bool = False,
    ) -> None:
        super().__init__()
        self.init_incremental_state()
        self.num_heads = num_heads
        self.kernel_size, self.padding_l = kernel_size, padding_l
        self.input_size = input_size
        self.query_size = input_size if query_size is None else query_size
        self.weight_softmax, self.renorm_padding = weight_softmax, renorm_padding
        self.weight_dropout_module = FairseqDropout(weight_dropout, module_name=type(self).__name__)
        self.in_proj = in_proj
        self.has_conv_bias = conv_bias
        num_weights = num_heads * kernel_size
        if in_proj:
            self.weight_linear = Linear(self.input_size, self.input_size + num_weights)
        else:
            self.weight_linear = Linear(self.query_size, num_weights, bias=bias)
        self.conv_bias = nn.Parameter(torch.empty(1, 1, input_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the projection (Xavier, uniform); biases are zero."""
        self.weight_linear.reset_parameters()
        nn.init.xavier_uniform_(self.weight_linear.weight)
        if self.weight_linear.bias is not None:
            nn.init.constant_(self.weight_linear.bias, 0.0)
        nn.init.constant_(self.conv_bias, 0.0)

    def forward(
        self,
        x: Tensor,
        incremental_state: dict[str, dict[str, Tensor | None]] | None = None,
        query: Tensor | None = None,
    ) -> Tensor:
        """Convolve; see :meth:`DynamicConv1dTBC.forward`."""
        if query is not None and self.in_proj:
            raise AssertionError("a query cannot be given to a dynamic convolution with in_proj")
        time, batch, channels = x.size(0), x.size(1), x.size(2)
        weight = self.weight_linear(x if query is None else query)
        if self.in_proj:
            x, weight = weight[:, :, :channels], weight[:, :, channels:]
        width = self.kernel_size
        weight = weight.reshape(time, batch, self.num_heads, width)
        padding_l = self.padding_l if self.padding_l is not None else 0
        before = 0
        if incremental_state is not None:
            if width > 1:
                kept = self._get_input_buffer(incremental_state)
                if kept is not None:
                    x = torch.cat([kept, x], dim=0)
                    before = kept.size(0)
                self._set_input_buffer(incremental_state, x[max(0, x.size(0) - width + 1) :])
        elif width > time and padding_l == width - 1:
            weight = weight[:, :, :, width - time :]
            width = time
            padding_l = time - 1
        if self.weight_softmax:
            weight = F.softmax(weight, dim=-1, dtype=torch.float32).type_as(weight)
        weight = self.weight_dropout_module(weight)
        windows = unfold1d(x, width, padding_l, 0.0)[before:]
        output = _weighted_windows(windows, weight)
        return output + self.conv_bias if self.has_conv_bias else output

    def _get_input_buffer(self, incremental_state: dict[str, dict[str, Tensor | None]] | None) -> Tensor | None:
        """Up to ``K - 1`` steps, ``(steps, B, C)``."""
        state = self.get_incremental_state(incremental_state, "input_buffer")
        return None if state is None else state["input_buffer"]

    def _set_input_buffer(
        self, incremental_state: dict[str, dict[str, Tensor | None]] | None, new_buffer: Tensor | None
    ) -> None:
        kept: dict[str, Tensor | None] = {}
        kept["input_buffer"] = new_buffer
        self.set_incremental_state(incremental_state, "input_buffer", kept)

    def reorder_incremental_state(
        self, incremental_state: dict[str, dict[str, Tensor | None]], new_order: Tensor
    ) -> None:
        """Let the steps kept follow their hypotheses."""
        kept = self._get_input_buffer(incremental_state)
        if kept is not None:
            self._set_input_buffer(incremental_state, kept.index_select(1, new_order))

    def extra_repr(self) -> str:
        """Sizes, for ``print(model)``."""
        return (
            f"{self.input_size}, kernel_size={self.kernel_size}, padding_l={self.padding_l}, "
            f"num_heads={self.num_heads}, weight_softmax={self.weight_softmax}, "
            f"conv_bias={self.has_conv_bias}, renorm_padding={self.renorm_padding}, in_proj={self.in_proj}"
        )

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        if not self.has_conv_bias:
            # Checkpoints of earlier releases lack this unused entry.
            state_dict.setdefault(prefix + "conv_bias", self.conv_bias.detach().clone())
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
