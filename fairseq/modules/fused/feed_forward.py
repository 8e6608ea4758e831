"""The feed-forward block of a transformer as one operation, with gradients of its inside in lasting memory.

The inner layer is the widest tensor of a layer. Its gradient is needed for three matrix products and then never again,
so in training on the CPU it is written to memory that every block uses in turn, as are the smaller tensors on the way.
Allocated for each block, they would find no room among the activations that the backward pass frees one by one, and the
process would grow.
"""

from typing import Any, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fairseq.modules.fused.dropout_add import drop_add_norm_rows_, drop_again, norm_can_follow, scratch
from fairseq.modules.fused.layer_norm import norm_backward
from fairseq.utils.overrides import fast_paths_enabled, is_unhooked

__all__ = ["SMALLEST", "feed_forward", "feed_forward_add_norm", "is_plain"]

SMALLEST = 1 << 18  # elements of the input; below it, there is nothing to gain


def _inner_layer(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.relu_(torch.addmm(bias, x, weight.t()))


def _inner_gradients(
    grad: Tensor, x: Tensor, inner: Tensor, weight1: Tensor, weight2: Tensor, wanted: Sequence[bool]
) -> Tuple[Tensor, Tuple[Optional[Tensor], ...]]:
    """From the gradient of the second map's output: that of the first map's output, which lasts until the next call,
    and those of the four parameters, ``None`` where they are not wanted."""
    of_second = grad.t().mm(inner) if wanted[2] else None, grad.sum(0) if wanted[3] else None
    grad_inner = torch.mm(grad, weight2, out=scratch(inner.numel(), "inner").view_as(inner))
    torch.ops.aten.threshold_backward.grad_input(grad_inner, inner, 0.0, grad_input=grad_inner)
    of_first = grad_inner.t().mm(x) if wanted[0] else None, grad_inner.sum(0) if wanted[1] else None
    return grad_inner, of_first + of_second


class _FeedForward(torch.autograd.Function):
    """``(x (N, C), weight (F, C), bias, weight (C, F), bias) -> (N, C)`` with ReLU between the two maps."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, x: Tensor, weight1: Tensor, bias1: Tensor, weight2: Tensor, bias2: Tensor
    ) -> Tensor:
        inner = _inner_layer(x, weight1, bias1)
        ctx.save_for_backward(x, inner, weight1, weight2)
        return torch.addmm(bias2, inner, weight2.t())

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tuple[Any, ...]:
        x, inner, weight1, weight2 = ctx.saved_tensors
        grad_inner, others = _inner_gradients(grad, x, inner, weight1, weight2, ctx.needs_input_grad[1:])
        return grad_inner.mm(weight1) if ctx.needs_input_grad[0] else None, *others


class _FeedForwardAddNorm(torch.autograd.Function):
    """The same, then dropout, the sum with ``x`` and a norm."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        x: Tensor,
        weight1: Tensor,
        bias1: Tensor,
        weight2: Tensor,
        bias2: Tensor,
        norm_weight: Tensor,
        norm_bias: Tensor,
        p: float,
        eps: float,
    ) -> Tensor:
        inner = _inner_layer(x, weight1, bias1)
        rows = torch.addmm(bias2, inner, weight2.t())
        bits, rstd, ctx.scale = drop_add_norm_rows_(rows, x, p, norm_weight, norm_bias, eps)
        ctx.save_for_backward(x, inner, weight1, weight2, bits, rows, norm_weight, norm_bias, rstd)
        return rows

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tuple[Any, ...]:
        x, inner, weight1, weight2, bits, output, norm_weight, norm_bias, rstd = ctx.saved_tensors
        room = scratch(x.numel(), "rows").view_as(x)
        grad_sum, *norm_grads = norm_backward(grad, output, norm_weight, norm_bias, rstd, room)
        dropped = drop_again(grad_sum, bits, ctx.scale, out=room)
        grad_inner, others = _inner_gradients(dropped, x, inner, weight1, weight2, ctx.needs_input_grad[1:5])
        if ctx.needs_input_grad[0]:
            grad_sum.add_(torch.mm(grad_inner, weight1, out=room))
        return grad_sum, *others, *norm_grads, None, None


def is_plain(linear: Any) -> bool:
    """Whether a module is a float32 linear map on the CPU without hooks."""
    return (
        type(linear) is nn.Linear
        and linear.bias is not None
        and linear.weight.dtype == torch.float32
        and linear.weight.device.type == "cpu"
        and is_unhooked(linear)
    )


def _pays(x: Tensor, first: Any, activation: Any, second: Any) -> bool:
    """Whether this way is open and worth going: it is for training on the CPU in float32, with plain linear maps."""
    return (
        activation is F.relu
        and fast_paths_enabled()
        and torch.is_grad_enabled()
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.numel() >= SMALLEST
        and x.is_contiguous()
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and not torch.is_autocast_enabled("cpu")
        and is_plain(first)
        and is_plain(second)
    )


def feed_forward(x: Tensor, first: Any, activation: Any, second: Any) -> Optional[Tensor]:
    """``second(activation(first(x)))`` of ``(B, T, C)``; ``None``, and nothing done, where that is no use."""
    if not _pays(x, first, activation, second):
        return None
    rows: Tensor = _FeedForward.apply(x.view(-1, x.size(2)), first.weight, first.bias, second.weight, second.bias)
    return rows.view(x.size(0), x.size(1), -1)


def feed_forward_add_norm(x: Tensor, first: Any, activation: Any, second: Any, p: float, norm: Any) -> Optional[Tensor]:
    """``norm(x + dropout(feed_forward(x), p))``; ``None``, and nothing done, where that is no use."""
    if not _pays(x, first, activation, second) or not norm_can_follow(norm, x, x, p):
        return None
    maps = (first.weight, first.bias, second.weight, second.bias)
    rows: Tensor = _FeedForwardAddNorm.apply(x.view(-1, x.size(2)), *maps, norm.weight, norm.bias, p, norm.eps)
    return rows.view(x.shape)
