"""Whole transformer layers, block by block: the fast twins of ``fairseq/modules/transformer_layer.py``.

The plain layers say what is computed; these compute the same with fewer passes over memory. They work batch-first where
the memory of their input is, and join steps into one operation where its conditions hold. They apply to layers without
overridden methods; how the sublayers (attention modules, linear maps, norms) are made is free.

Shapes in this file:  T = length, B = batch, C = embedding
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fairseq.modules.fairseq_dropout import FairseqDropout
from fairseq.modules.fused.attention import attend_add_norm
from fairseq.modules.fused.dropout_add import dropout, dropout_add, dropout_add_norm_
from fairseq.modules.fused.feed_forward import feed_forward, feed_forward_add_norm
from fairseq.modules.fused.layout import acts_on_rows, is_batch_first, swap_batch_time
from fairseq.modules.multihead_attention import MultiheadAttention
from fairseq.utils.overrides import fast_paths_enabled, is_unhooked, uses_default_methods

__all__ = ["decoder_layer", "encoder_layer", "take_batch_first"]

# These call the fused layers, so an override of them runs; it also may call the plain layer with other inputs.
_CALLERS = ("forward",)
# Scaling options of NormFormer, between the sublayers: such layers are computed by their plain code.
_BETWEEN = ("attn_ln", "c_attn", "ffn_layernorm", "w_resid")
_NORMS = ("self_attn_layer_norm", "encoder_attn_layer_norm", "final_layer_norm")


def _applies(layer: Any, written_as: type) -> bool:
    return (
        fast_paths_enabled()
        and uses_default_methods(layer, written_as, _CALLERS)
        and uses_default_methods(layer.dropout_module, FairseqDropout)
        and uses_default_methods(layer.activation_dropout_module, FairseqDropout)
        and not getattr(layer, "return_fc", False)
        and all(getattr(layer, name, None) is None for name in _BETWEEN)
    )


def _swaps(layer: Any, x: Tensor) -> bool:
    """Whether to work on ``(B, T, C)``: what lies like that in memory need not be copied for each linear map."""
    norms = [norm for norm in (getattr(layer, name, None) for name in _NORMS) if norm is not None]
    return is_batch_first(x) and acts_on_rows(layer.fc1, layer.fc2, *norms)


@torch.jit.unused
def take_batch_first(layers: Iterable[Any]) -> bool:
    """Whether layers work without copies on time-first views of batch-first memory: the choice of encoder and decoder.

    Inside ``torch.compile`` views cost nothing, so they are kept there.
    """
    if torch.compiler.is_compiling():
        return True
    return fast_paths_enabled() and all(_takes_batch_first(layer) for layer in layers)


def _takes_batch_first(layer: Any) -> bool:
    written_as = getattr(layer, "written_as", None)
    return written_as is not None and _applies(layer, written_as)


@torch.jit.unused
def encoder_layer(layer: Any, x: Tensor, padding_mask: Tensor | None, attn_mask: Tensor | None) -> Tensor | None:
    """``TransformerEncoderLayerBase.forward``, ``(T, B, C)``; ``None``, and nothing done, where that must run itself.

    Args:
        attn_mask: additive.
    """
    if not _applies(layer, layer.written_as):
        return None
    swapped = _swaps(layer, x)
    x = swap_batch_time(x, swapped)

    def attend(query: Tensor) -> Any:
        return layer.self_attn(
            query=query, key=query, value=query, key_padding_mask=padding_mask, need_weights=False, attn_mask=attn_mask
        )

    whole = _attend_and_norm(layer, "self_attn", x, None, attn_mask, padding_mask) if swapped else None
    x = whole if whole is not None else _attention_block(layer, "self_attn", x, swapped, attend)[0]
    return swap_batch_time(_feed_forward_block(layer, x), swapped)


@torch.jit.unused
def decoder_layer(
    layer: Any,
    x: Tensor,
    encoder_out: Tensor | None,
    encoder_padding_mask: Tensor | None,
    incremental_state: dict[str, dict[str, Tensor | None]] | None,
    prev_self_attn_state: list[Tensor] | None,
    prev_attn_state: list[Tensor] | None,
    self_attn_mask: Tensor | None,
    self_attn_padding_mask: Tensor | None,
    need_attn: bool,
    need_head_weights: bool,
) -> tuple[Tensor, Tensor | None] | None:
    """``TransformerDecoderLayerBase.forward`` without the state for ONNX; ``None`` where that must run itself."""
    if not _applies(layer, layer.written_as):
        return None
    swapped = _swaps(layer, x)
    x = swap_batch_time(x, swapped)
    joins = swapped and incremental_state is None

    def attend_to_prefix(query: Tensor) -> Any:
        return layer._attend_to_prefix(
            query, encoder_out, encoder_padding_mask, incremental_state, prev_self_attn_state, self_attn_mask,
            self_attn_padding_mask,
        )  # fmt: skip

    def attend_to_encoder(query: Tensor) -> Any:
        return layer._attend_to_encoder(
            query, encoder_out, encoder_padding_mask, incremental_state, prev_attn_state, need_attn, need_head_weights
        )

    whole = attn = None
    if joins and not layer.cross_self_attention:
        whole = _attend_and_norm(layer, "self_attn", x, None, self_attn_mask, self_attn_padding_mask)
    if whole is not None:
        x = whole
    else:
        x, attn = _attention_block(layer, "self_attn", x, swapped, attend_to_prefix)
    if layer.encoder_attn is not None and encoder_out is not None:
        whole = None
        if joins and not need_attn:
            whole = _attend_and_norm(layer, "encoder_attn", x, encoder_out, None, encoder_padding_mask)
        if whole is not None:
            x, attn = whole, None
        else:
            x, attn = _attention_block(layer, "encoder_attn", x, swapped, attend_to_encoder)
    return swap_batch_time(_feed_forward_block(layer, x), swapped), attn


def _attention_block(
    layer: Any, name: str, x: Tensor, swapped: bool, attend: Callable[[Tensor], Any]
) -> tuple[Tensor, Tensor | None]:
    """Norm, attention to what ``attend`` takes a time-first query for, dropout, sum, norm."""
    norm = getattr(layer, f"{name}_layer_norm")
    residual = x
    if layer.normalize_before:
        x = norm(x)
    x, attn = attend(swap_batch_time(x, swapped))
    return _connect_and_norm(layer, swap_batch_time(x, swapped), residual, name, norm), attn


def _attend_and_norm(
    layer: Any, name: str, x: Tensor, memory: Tensor | None, attn_mask: Tensor | None, padding_mask: Tensor | None
) -> Tensor | None:
    """A whole attention block of ``(B, T, C)`` as one operation, where only its output is wanted."""
    if layer.normalize_before or not layer.training or not _owns_output(layer, name):
        return None
    p, norm = _active_p(layer.dropout_module), getattr(layer, f"{name}_layer_norm")
    return attend_add_norm(getattr(layer, name), x, memory, attn_mask, padding_mask, p, norm)


def _feed_forward_block(layer: Any, x: Tensor) -> Tensor:
    """Norm, both linear maps with what is between them, dropout, sum, norm."""
    joins = layer.training and _active_p(layer.activation_dropout_module) == 0
    p, norm = _active_p(layer.dropout_module), layer.final_layer_norm
    if joins and not layer.normalize_before:
        whole = feed_forward_add_norm(x, layer.fc1, layer.activation_fn, layer.fc2, p, norm)
        if whole is not None:
            return whole
    residual = x
    if layer.normalize_before:
        x = norm(x)
    both = feed_forward(x, layer.fc1, layer.activation_fn, layer.fc2) if joins else None
    x = layer.fc2(_expand(layer, x)) if both is None else both
    return _connect_and_norm(layer, x, residual, "fc2", norm)


def _expand(layer: Any, x: Tensor) -> Tensor:
    """First linear map, activation and its dropout."""
    if layer.activation_fn is F.relu and type(layer.fc1) is nn.Linear and is_unhooked(layer.fc1):
        x = _linear_relu(layer.fc1, x)
    else:
        x = layer.activation_fn(layer.fc1(x))
    p = _active_p(layer.activation_dropout_module)
    return dropout(x, p) if p > 0 else x


def _connect_and_norm(layer: Any, x: Tensor, residual: Tensor, name: str, norm: Any) -> Tensor:
    """Dropout, sum and the norm of post-norm layers; ``x`` is the output of the sublayer ``name``."""
    p = _active_p(layer.dropout_module)
    if layer.normalize_before:
        return dropout_add(x, residual, p)
    if _owns_output(layer, name):
        joined = dropout_add_norm_(x, residual, p, norm)
        if joined is not None:
            return joined
    return norm(dropout_add(x, residual, p))


def _owns_output(layer: Any, name: str) -> bool:
    """Whether only the block has the output of its sublayer, and the sublayer's backward pass does not need it."""
    last = module = getattr(layer, name)
    if name != "fc2":
        if not uses_default_methods(module, MultiheadAttention):
            return False
        last = module.out_proj
    return type(last) is nn.Linear and is_unhooked(last, module)


def _linear_relu(linear: nn.Linear, x: Tensor) -> Tensor:
    """``relu(linear(x))`` of three-dimensional ``x``, in the memory of the linear map's output."""
    # A linear map does not need its own output in the backward pass. In rows, because autograd would copy a changed
    # view back and forth, and three-dimensional outputs are views.
    rows = linear(x.reshape(-1, x.size(2)))
    return torch.relu_(rows).view(x.size(0), x.size(1), -1)


def _active_p(module: FairseqDropout) -> float:
    return module.p if module.training or module.apply_during_inference else 0.0
