"""An attention block of a transformer with its residual connection and norm as one operation.

What is kept for the backward pass is what the single steps would keep. The gradients between them (of the dropped
output, of what the heads attended to, of each projection's input) are written to memory that every block uses in turn,
so that the backward pass hardly allocates anything beside the gradients it returns; see ``lean_feed_forward``.
"""

import contextlib
import threading
from typing import Any, Iterator, List, Optional, Sequence, Tuple

import torch
from torch import Tensor

from fairseq.modules.fused.dropout_add import drop_add_norm_rows_, drop_again, norm_can_follow, scratch
from fairseq.modules.fused.feed_forward import SMALLEST, is_plain
from fairseq.modules.fused.layer_norm import norm_backward
from fairseq.modules.multihead_attention import MultiheadAttention
from fairseq.utils.overrides import uses_default_methods

__all__ = ["attend_add_norm", "without_fused_attention"]


class _Local(threading.local):
    fused_disabled = False


_LOCAL = _Local()


@contextlib.contextmanager
def without_fused_attention() -> Iterator[None]:
    """Inside, blocks are computed in single steps: for recomputation, which wants to drop what is kept in between."""
    before, _LOCAL.fused_disabled = _LOCAL.fused_disabled, True
    try:
        yield
    finally:
        _LOCAL.fused_disabled = before


def _into_heads(rows: Tensor, shape: torch.Size, num_heads: int, time_first: bool) -> Tensor:
    """Rows of a tensor ``(B, S, C)``, or ``(S, B, C)``, as ``(B, H, S, D)``; a view."""
    split = rows.view(shape[0], shape[1], num_heads, -1)
    return split.permute(1, 2, 0, 3) if time_first else split.transpose(1, 2)


def _into_rows(heads: Tensor, time_first: bool) -> Tensor:
    """The inverse: ``(B, H, S, D)`` as ``(B * S, C)`` or ``(S * B, C)``."""
    return (heads.permute(2, 0, 1, 3) if time_first else heads.transpose(1, 2)).reshape(
        -1, heads.size(1) * heads.size(3)
    )


def _attention(
    module: Any, masks: Any, x: Tensor, memory: Optional[Tensor], weights: Sequence[Tensor], biases: Sequence[Tensor]
) -> Tuple[Tensor, List[Tensor]]:
    """What the heads attend to, ``(B, H, T, D)``, with its graph; and what that leads to: queries, keys, values."""
    rows = x.view(-1, x.size(2))
    key_rows = rows if memory is None else memory.view(-1, memory.size(2))
    key_shape = x.shape if memory is None else memory.shape
    heads = []
    for index, source, shape in ((0, rows, x.shape), (1, key_rows, key_shape), (2, key_rows, key_shape)):
        projected = torch.addmm(biases[index], source, weights[index].t())
        split = _into_heads(projected, shape, module.num_heads, memory is not None and index > 0)
        heads.append(split.requires_grad_())
    with torch.enable_grad():
        return module._attend(*heads, *masks), heads


class _AttendAddNorm(torch.autograd.Function):
    """``(module, masks, p, eps, x (B, T, C), memory (S, B, C) or None, parameters...) -> (B, T, C)``.

    The parameters: weight and bias of the projections of queries, keys, values and output, then those of the norm.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        module: Any,
        masks: Any,
        p: float,
        eps: float,
        x: Tensor,
        memory: Optional[Tensor],
        *parameters: Tensor,
    ) -> Tensor:
        weights, biases = parameters[0::2], parameters[1::2]
        attended, heads = _attention(module, masks, x, memory, weights, biases)
        attended_rows = _into_rows(attended.detach(), time_first=False)
        output = torch.addmm(biases[3], attended_rows, weights[3].t())
        bits, rstd, ctx.scale = drop_add_norm_rows_(output, x.view(output.shape), p, weights[4], biases[4], eps)
        # The graph of the attention itself, as long as it is needed; and what it can be made of once more.
        ctx.inside, ctx.again = (attended, heads), (module, masks)
        ctx.save_for_backward(x, memory, attended_rows, bits, output, rstd, *weights, *biases)
        return output.view(x.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tuple[Any, ...]:
        x, memory, attended_rows, bits, output, rstd, *parameters = ctx.saved_tensors
        weights, biases = parameters[:5], parameters[5:]
        # With retain_graph=True the gradient may be taken a second time.
        module, masks = ctx.again
        attended, heads = ctx.inside or _attention(module, masks, x, memory, weights, biases)
        ctx.inside = None
        rows = x.view(output.shape)
        key_rows = rows if memory is None else memory.view(-1, memory.size(2))
        room = scratch(rows.numel(), "rows").view_as(rows)
        grad = grad.reshape(output.shape)
        grad_x, *of_norm = norm_backward(grad, output, weights[4], biases[4], rstd, room)
        dropped = drop_again(grad_x, bits, ctx.scale, out=room)
        of_output = [dropped.t().mm(attended_rows), dropped.sum(0)]
        inner = torch.mm(dropped, weights[3], out=scratch(rows.numel(), "inner").view_as(rows))
        grad_attended = _into_heads(inner, x.shape, heads[0].size(1), time_first=False)
        grad_heads = torch.autograd.grad(attended, heads, grad_attended)
        del attended, heads
        grad_keys: Optional[Tensor] = None
        of_projections: List[Tensor] = []
        for index, grad_head in enumerate(grad_heads):
            source = rows if index == 0 else key_rows
            grad_rows = _into_rows(grad_head, time_first=memory is not None and index > 0)
            of_projections += [grad_rows.t().mm(source), grad_rows.sum(0)]
            if memory is not None and index == 1:
                grad_keys = grad_rows.mm(weights[index])
                continue
            part = torch.mm(grad_rows, weights[index], out=scratch(source.numel(), "rows").view_as(source))
            (grad_x if grad_keys is None else grad_keys).add_(part)
        of_memory = None if grad_keys is None or memory is None else grad_keys.view(memory.shape)
        return (None, None, None, None, grad_x.view(x.shape), of_memory, *of_projections, *of_output, *of_norm)


def attend_add_norm(
    module: Any,
    x: Tensor,
    memory: Optional[Tensor],
    attn_mask: Optional[Tensor],
    key_padding_mask: Optional[Tensor],
    p: float,
    norm: Any,
) -> Optional[Tensor]:
    """``norm(x + dropout(attention, p))`` where nothing else is wanted of the attention.

    Args:
        module: a ``MultiheadAttention``.
        x: queries, and keys too unless there is a ``memory``; ``(B, T, C)``, contiguous.
        memory: ``(S, B, C)``, contiguous.
        attn_mask, key_padding_mask: as for the module.

    Returns:
        ``(B, T, C)``; ``None``, and nothing done, where this way is not open: it is for training on the CPU in float32
        with plain parts.
    """
    if _LOCAL.fused_disabled or not uses_default_methods(module, MultiheadAttention):
        return None
    projections = (module.q_proj, module.k_proj, module.v_proj, module.out_proj)
    if (
        x.numel() < SMALLEST
        or module.self_attention == (memory is not None)
        or not (module.self_attention or module.encoder_decoder_attention)
        or module.bias_k is not None
        or module.add_zero_attn
        or module.onnx_trace
        or module._has_own_mask
        or module._dropout() > 0
        or not all(is_plain(projection) for projection in projections)
        or not norm_can_follow(norm, x, x, p)
    ):
        return None
    if memory is not None and not (memory.is_contiguous() and memory.dtype == x.dtype):
        return None
    parameters = [tensor for part in (*projections, norm) for tensor in (part.weight, part.bias)]
    masks = (attn_mask, key_padding_mask)
    result: Tensor = _AttendAddNorm.apply(module, masks, p, norm.eps, x, memory, *parameters)
    return result
