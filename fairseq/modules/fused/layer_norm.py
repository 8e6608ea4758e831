"""Layer normalisation that keeps its output for the backward pass instead of its input.

The output is kept anyway: whatever linear map follows needs it. So in training this saves one activation per norm,
about a fifth of what a transformer layer keeps. The normalised values are recovered from the output by undoing weight
and bias, which costs one pass over the data. Where rounding would hurt (a weight small against its bias), or where
nothing is to be gained, the ordinary way is taken.
"""

from typing import Any, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fairseq.utils.overrides import fast_paths_enabled

__all__ = ["OutputSavingLayerNorm", "norm_backward"]

# Undoing weight and bias multiplies rounding errors by up to this much.
_WORST_RATIO = 16.0


def norm_backward(
    grad: Tensor, output: Tensor, weight: Tensor, bias: Tensor, rstd: Tensor, memory: Optional[Tensor] = None
) -> Tuple[Tensor, Tensor, Tensor]:
    """Gradients of a norm's input, weight and bias, from its output and the input's inverse deviation ``rstd``.

    ``memory``: room for one tensor of the output's shape, to be used on the way.
    """
    inverse = weight.reciprocal()
    normalised = torch.addcmul(-bias * inverse, output, inverse, out=memory)
    # The kernel wants input, mean and deviation; for normalised input these are 0 and 1, and what that leaves out is
    # the factor of the true deviation.
    grad_x, grad_weight, grad_bias = torch.ops.aten.native_layer_norm_backward(
        grad.contiguous(),
        normalised,
        list(weight.shape),
        torch.zeros_like(rstd),
        torch.ones_like(rstd),
        weight,
        bias,
        [True, True, True],
    )
    return grad_x.mul_(rstd), grad_weight, grad_bias


class _NormFromOutput(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        output, _, rstd = torch.native_layer_norm(x, weight.shape, weight, bias, eps)
        ctx.save_for_backward(output, weight, bias, rstd)
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tuple[Tensor, Tensor, Tensor, None]:
        return (*norm_backward(grad, *ctx.saved_tensors), None)


class OutputSavingLayerNorm(nn.LayerNorm):
    """``nn.LayerNorm`` with the same parameters, numbers and names, and less memory in training on the CPU."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise the last dimensions of ``input``."""
        if not torch.jit.is_scripting():  # noqa: SIM102  what follows must stay hidden from the script compiler
            if self.training and input.requires_grad and self.pays(input):
                output: Tensor = _NormFromOutput.apply(input, self.weight, self.bias, self.eps)
                return output
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    @torch.jit.unused
    def pays(self, x: Tensor) -> bool:
        """Whether the way above is open and worth going."""
        if (
            x.device.type != "cpu"
            or not fast_paths_enabled()
            or x.dtype != torch.float32
            or not torch.is_grad_enabled()
            or torch.compiler.is_compiling()
            or torch.jit.is_tracing()
            or torch.is_autocast_enabled("cpu")
        ):
            return False
        weight, bias = self.weight, self.bias
        if (
            weight is None
            or bias is None
            or weight.dim() != 1
            or weight.dtype != torch.float32
            or not x.is_contiguous()
        ):
            return False
        return bool((bias.detach().abs() < _WORST_RATIO * weight.detach().abs()).all())
