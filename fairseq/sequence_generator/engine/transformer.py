"""A decoding step of the transformer decoder, from its weights.

Shapes in this file:  n = sentences, B = beam, N = n x B rows (B in a row share a sentence), S = source length, C =
embedding, H = heads, D = C / H, V = vocabulary.  Keys and values, ``(n, H, slots, 2, D)``, lie head by head.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fairseq.models.fairseq_model import BaseFairseqModel
from fairseq.models.feature_forward import has_plain_softmax
from fairseq.models.transformer.transformer_decoder import TransformerDecoderBase
from fairseq.models.transformer.transformer_encoder import TransformerEncoderBase
from fairseq.modules.fairseq_dropout import FairseqDropout
from fairseq.modules.fused.layer_norm import OutputSavingLayerNorm
from fairseq.modules.multihead_attention import MultiheadAttention
from fairseq.modules.transformer_layer import TransformerDecoderLayerBase
from fairseq.sequence_generator.engine.batch_slots import BatchSlots
from fairseq.sequence_generator.engine.linear import LinearMap, fingerprint, is_linear, linear_map
from fairseq.sequence_generator.engine.prefix_cache import PrefixCache
from fairseq.sequence_generator.int8 import Int8Linear, rounded_up
from fairseq.utils.overrides import is_unhooked, package_class, uses_default_methods

__all__ = ["TransformerStep", "Weights", "by_head", "is_known_transformer", "through_layers", "weights_of"]

# A search asks encoder and decoder; these methods of a model are for training and for hubs.
_FOR_TRAINING = (
    "forward", "forward_decoder", "extract_features", "output_layer", "get_targets", "supported_targets",
    "arguments_without_attention",
)  # fmt: skip
# A search calls the encoder whichever path the decoder's steps take; what the engine replaces is its reordering.
_ENCODING = ("forward", "forward_torchscript", "forward_non_torchscript", "forward_scriptable", "forward_embedding")


def is_known_transformer(model: Any) -> bool:
    """Whether a model's decoder steps can be computed from its weights alone."""
    decoder: Any = getattr(model, "decoder", None)
    if not isinstance(model, BaseFairseqModel) or not uses_default_methods(model, package_class(model), _FOR_TRAINING):
        return False
    if (
        not has_plain_softmax(type(model), BaseFairseqModel)
        or not uses_default_methods(decoder, TransformerDecoderBase)
        or decoder.training
    ):
        return False
    if decoder.adaptive_softmax is not None or decoder.cross_self_attention or decoder.onnx_trace:
        return False
    if hasattr(model, "encoder") and not uses_default_methods(model.encoder, TransformerEncoderBase, _ENCODING):
        return False
    # Scripts that want dropout at inference switch on the modules of dropout alone, or the layers.
    if any(m.training or getattr(m, "apply_during_inference", False) for m in decoder.modules()):
        return False
    layers = list(decoder.layers)
    with_source = hasattr(model, "encoder")
    return (
        all(_is_known_layer(layer, with_source) for layer in layers)
        and len(layers) > 0
        and all(_is_norm(norm) for norm in (decoder.layer_norm,) if norm is not None)
        and all(is_linear(p) for p in (decoder.project_out_dim, decoder.output_projection) if p is not None)
    )


def _is_known_layer(layer: Any, with_source: bool) -> bool:
    if not uses_default_methods(layer, TransformerDecoderLayerBase) or layer.onnx_trace:
        return False
    if any(getattr(layer, name) is not None for name in ("attn_ln", "c_attn", "ffn_layernorm", "w_resid")):
        return False
    if with_source != (layer.encoder_attn is not None) or layer.cross_self_attention:
        return False
    dropouts = (layer.dropout_module, layer.activation_dropout_module)
    if not all(uses_default_methods(dropout, FairseqDropout) for dropout in dropouts):
        return False
    norms = [layer.self_attn_layer_norm, layer.final_layer_norm]
    attentions = [layer.self_attn]
    if with_source:
        norms.append(layer.encoder_attn_layer_norm)
        attentions.append(layer.encoder_attn)
    return (
        all(_is_norm(norm) for norm in norms)
        and is_linear(layer.fc1, layer.fc2)
        and all(_is_known_attention(attention) for attention in attentions)
        and layer.self_attn.self_attention
        and not (with_source and not layer.encoder_attn.encoder_decoder_attention)
    )


def _is_known_attention(attention: Any) -> bool:
    return (
        uses_default_methods(attention, MultiheadAttention)
        and uses_default_methods(attention.dropout_module, FairseqDropout)
        and attention.bias_k is None
        and not attention.add_zero_attn
        and is_linear(attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj)
    )


def _is_norm(module: Any) -> bool:
    return type(module) in (nn.LayerNorm, OutputSavingLayerNorm) and is_unhooked(module)


@dataclass
class _Layer:
    """The weights of one layer as functions of rows."""

    norm_first: bool
    qkv: LinearMap
    self_out: LinearMap
    self_scale: float
    self_heads: int
    self_norm: LinearMap
    fc1: LinearMap
    activation: Callable[[Tensor], Tensor]
    fc2: LinearMap
    final_norm: LinearMap
    source_q: LinearMap | None = None
    source_kv: LinearMap | None = None
    source_out: LinearMap | None = None
    source_norm: LinearMap | None = None
    source_scale: float = 1.0
    source_heads: int = 1

    @classmethod
    def of(cls, layer: Any, copies: bool) -> _Layer:
        """Read a decoder layer."""
        mine, source = layer.self_attn, layer.encoder_attn
        found = cls(
            norm_first=layer.normalize_before,
            qkv=linear_map([mine.q_proj, mine.k_proj, mine.v_proj], copies),
            self_out=linear_map([mine.out_proj], copies),
            self_scale=mine.scaling,
            self_heads=mine.num_heads,
            self_norm=_norm(layer.self_attn_layer_norm),
            fc1=linear_map([layer.fc1], copies),
            activation=torch.relu_ if layer.activation_fn is F.relu else layer.activation_fn,
            fc2=linear_map([layer.fc2], copies),
            final_norm=_norm(layer.final_layer_norm),
        )
        if source is not None:
            found.source_q = linear_map([source.q_proj], copies)
            # Used once per sentence, on many rows: the modules' own weights will do.
            found.source_kv = linear_map([source.k_proj, source.v_proj], False)
            found.source_out = linear_map([source.out_proj], copies)
            found.source_norm = _norm(layer.encoder_attn_layer_norm)
            found.source_scale, found.source_heads = source.scaling, source.num_heads
        return found


@dataclass
class Weights:
    """A decoder as functions of rows.

    Attributes:
        static_buffers: made for these weights, kept for the next batch; empty where weights are read each time.
    """

    layers: list[_Layer]
    norm: LinearMap | None
    narrow: LinearMap | None
    project: LinearMap
    lasting: bool
    eight_bit: bool
    static_buffers: list[Any] = field(default_factory=list)


# Decoder -> what its parameters looked like, and the weights made of them.
_KNOWN: WeakKeyDictionary[nn.Module, tuple[Any, Weights]] = WeakKeyDictionary()


def weights_of(model: Any) -> Weights:
    """The decoder's weights; kept for the next batch where training can no longer change them."""
    decoder = model.decoder
    done = bool(getattr(model, "_is_generation_fast", False))
    looks = fingerprint(decoder) if done else None
    if looks is not None and decoder in _KNOWN and _KNOWN[decoder][0] == looks:
        return _KNOWN[decoder][1]
    copies = looks is not None
    weights = Weights(
        layers=[_Layer.of(layer, copies) for layer in decoder.layers],
        norm=_norm(decoder.layer_norm) if decoder.layer_norm is not None else None,
        narrow=linear_map([decoder.project_out_dim], copies) if decoder.project_out_dim is not None else None,
        project=linear_map([decoder.output_projection], copies),
        lasting=copies,
        eight_bit=any(isinstance(module, Int8Linear) for module in decoder.modules()),
    )
    if copies:
        _KNOWN[decoder] = (looks, weights)
    return weights


def _norm(module: nn.LayerNorm) -> LinearMap:
    shape, eps = module.normalized_shape, module.eps
    # Read when used: without copies the parameters may have been replaced.
    return lambda x: F.layer_norm(x, shape, module.weight, module.bias, eps)


class TransformerStep:
    """The decoder of one batch on its way through the words.

    Args:
        model: one that ``is_known_transformer``.
        encoder_out: of the batch as the encoder gave it, one row per sentence; ``None`` for a language model.
        bsz, beam: n, B.
    """

    def __init__(self, model: Any, encoder_out: Any, bsz: int, beam: int) -> None:
        self.decoder = model.decoder
        self.weights = weights_of(model)
        self.beam = beam
        self.batch_slots = BatchSlots(bsz, beam)
        like = next(self.decoder.parameters())
        heads = [layer.self_heads for layer in self.weights.layers]
        self.cache = PrefixCache(heads, self.decoder.embed_dim, bsz, beam, like)
        self.source: list[Tensor] = []
        self.source_mask: Tensor | None = None
        if encoder_out is not None:
            self._read(encoder_out)

    def _read(self, encoder_out: dict[str, list[Tensor]]) -> None:
        """Project the source once for all layers."""
        states = encoder_out["encoder_out"][0].transpose(0, 1)
        bsz, length, width = states.shape
        rows = states.reshape(-1, width)
        for layer in self.weights.layers:
            assert layer.source_kv is not None
            both = layer.source_kv(rows).view(bsz, length, -1)
            self.source.append(by_head(both, layer.source_heads).contiguous())
        padding = encoder_out["encoder_padding_mask"]
        if len(padding) > 0 and bool(padding[0].any()):
            mask = torch.zeros(padding[0].shape, dtype=states.dtype, device=states.device)
            self.source_mask = mask.masked_fill_(padding[0], float("-inf")).view(bsz, 1, 1, -1)

    def close(self) -> None:
        """Nothing to give back."""

    def follow(self, rows: Tensor, kept: Tensor | None) -> None:
        """Continue the hypotheses ``rows`` of the last step; ``kept``: the positions of sentences that stay."""
        rows, row_copies = self.batch_slots.follow(rows, kept)
        self.cache.follow(rows, row_copies)
        if row_copies is None:
            return
        for source in self.source:
            row_copies.apply(source)
        self.source = [source[: self.batch_slots.count] for source in self.source]
        if self.source_mask is not None:
            row_copies.apply(self.source_mask)
            self.source_mask = self.source_mask[: self.batch_slots.count]

    def logits(self, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        """Score the next word.

        Args:
            tokens: ``(N, length)``, the words so far.

        Returns:
            ``(logits (N, V), attention to the source (N, S) or None)``; with a first word alone all hypotheses of a
            sentence are the same, and one row stands for them: ``(n, V)`` and ``(n, S)``.
        """
        if tokens.size(1) == 1:
            tokens = tokens[:: self.beam]
        count = tokens.size(0) // self.batch_slots.count
        x = self.batch_slots.by_slots(self.decoder._embed(tokens, {})[0].squeeze(1))
        if self.weights.eight_bit:
            x = _repeat_first(x, rounded_up(x.size(0)))
        first, end = self.cache.open(count)
        mask = self.cache.mask[:, :, :count]

        def write(layer: int, values: Tensor) -> Tensor:
            return self.cache.write(layer, first, end, values)

        def run(careful: bool) -> tuple[Tensor, Tensor | None]:
            features, attention = through_layers(self.weights, x, write, mask, self.source, self.source_mask, careful)
            back = self.batch_slots.rows_of_batch(count)
            if back is None:
                return self.weights.project(features)[: tokens.size(0)], attention
            return self.weights.project(features[back]), None if attention is None else attention[back]

        on_cpu = x.device.type == "cpu"
        logits, attention = run(not on_cpu)
        if on_cpu and not math.isfinite(float(logits[:, 0].sum())):
            # A hypothesis overflowed, and its siblings looked at it: once more, into the same slots.
            logits, attention = run(True)
        return logits, attention


# Keys and values (n, H, B, 2, D) of a layer's number -> those of all words so far, (n, H, slots, 2, D).
Write = Callable[[int, Tensor], Tensor]


def through_layers(
    weights: Weights,
    x: Tensor,
    write: Write,
    mask: Tensor,
    source: list[Tensor],
    source_mask: Tensor | None,
    careful: bool = True,
) -> tuple[Tensor, Tensor | None]:
    """One step but for the scores.

    Args:
        x: embedded words, ``(N, C)``; more rows, copies of the first, are computed and thrown away.
        write: keeps keys and values.
        mask: additive, ``(n, 1, B, slots)``.
        source: keys and values of the source per layer, ``(n, H, S, 2, D)``.
        source_mask: additive, ``(n, 1, 1, S)``.
        careful: whether to keep hypotheses that overflow from their siblings.

    Returns:
        what ``weights.project`` makes scores of, as many rows as ``x``, and the last layer's attention to the source
        ``(N, S)``.
    """
    attention: Tensor | None = None
    last = len(weights.layers) - 1
    for i, layer in enumerate(weights.layers):
        x = _attend_to_prefix(layer, x, partial(write, i), mask, careful)
        if source:
            x, attention = _attend_to_source(layer, x, mask.size(2), source[i], source_mask, i == last)
        x = _feed_forward(layer, x)
    if weights.norm is not None:
        x = weights.norm(x)
    if weights.narrow is not None:
        x = weights.narrow(x)
    return x, attention


def _repeat_first(rows: Tensor, count: int) -> Tensor:
    """More rows, equal to the first: they change neither the range of the numbers nor any result."""
    missing = count - rows.size(0)
    return torch.cat([rows, rows[:1].expand(missing, -1)]) if missing > 0 and rows.size(0) > 0 else rows


def _attend_to_prefix(
    layer: _Layer, x: Tensor, write: Callable[[Tensor], Tensor], mask: Tensor, careful: bool
) -> Tensor:
    width, bsz, beam = x.size(1), mask.size(0), mask.size(2)
    y = layer.qkv(layer.self_norm(x) if layer.norm_first else x)[: bsz * beam].view(bsz, beam, 3 * width)
    if careful:
        _contain(y, width)
    keys = write(by_head(y[:, :, width:], layer.self_heads))
    attended = _attend(y[:, :, :width], keys, mask, layer.self_scale, x.size(0))
    x = layer.self_out(attended).add_(x)
    return x if layer.norm_first else layer.self_norm(x)


def _contain(y: Tensor, width: int) -> None:
    """Keep a hypothesis that overflowed from its siblings: they read its keys with weight 0, and 0 x infinity is not 0.

    Args:
        y: queries, keys and values side by side, ``(n, B, 3 C)``; edited.
        width: C.
    """
    if y.device.type != "cpu":
        # Looking would wait for the device. What overflowed earlier stays what it is in the words' own states.
        y[:, :, width:].nan_to_num_(0.0, 0.0, 0.0)
    elif not math.isfinite(float(y.sum())):
        lost = ~y.isfinite().all(dim=2, keepdim=True)
        y.masked_fill_(lost, 0.0)
        y[:, :, :width].masked_fill_(lost, math.nan)


def _attend_to_source(
    layer: _Layer, x: Tensor, beam: int, source: Tensor, mask: Tensor | None, visibly: bool
) -> tuple[Tensor, Tensor | None]:
    assert layer.source_q is not None and layer.source_out is not None and layer.source_norm is not None
    bsz, rows = source.size(0), x.size(0)
    y = layer.source_q(layer.source_norm(x) if layer.norm_first else x)[: bsz * beam].view(bsz, beam, -1)
    attention: Tensor | None = None
    if visibly:
        attended, attention = _attend_visibly(y, source, mask, layer.source_scale, rows)
    else:
        attended = _attend(y, source, mask, layer.source_scale, rows)
    x = layer.source_out(attended).add_(x)
    return (x if layer.norm_first else layer.source_norm(x)), attention


def _feed_forward(layer: _Layer, x: Tensor) -> Tensor:
    y = layer.fc2(layer.activation(layer.fc1(layer.final_norm(x) if layer.norm_first else x))).add_(x)
    return y if layer.norm_first else layer.final_norm(y)


def by_head(both: Tensor, heads: int) -> Tensor:
    """Keys and values side by side, ``(n, slots, 2 C)`` -> ``(n, H, slots, 2, D)``, a view."""
    return both.unflatten(2, (2, heads, -1)).permute(0, 3, 1, 2, 4)


def _split(q: Tensor, keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries ``(n, B, C)``, keys and values ``(n, H, slots, 2, D)`` -> ``(n, H, ., D)`` each, views."""
    return q.unflatten(2, (keys.size(1), -1)).transpose(1, 2), keys[:, :, :, 0], keys[:, :, :, 1]


def _as_rows(attended: Tensor, rows: int) -> Tensor:
    """``(n, H, B, D)`` -> ``(rows, C)``; rows that are missing are copies of the first."""
    bsz, heads, beam, size = attended.shape
    turned = attended.transpose(1, 2)
    if bsz * beam == rows:
        return turned.reshape(rows, heads * size)
    found = attended.new_empty(rows, heads * size)
    found[: bsz * beam].view(turned.shape).copy_(turned)
    found[bsz * beam :] = found[0]
    return found


def _attend(q: Tensor, keys: Tensor, mask: Tensor | None, scale: float, rows: int) -> Tensor:
    """Attention of all hypotheses to the keys of their sentence; ``(rows, C)``."""
    split_q, k, v = _split(q, keys)
    return _as_rows(F.scaled_dot_product_attention(split_q, k, v, attn_mask=mask, scale=scale), rows)


def _attend_visibly(q: Tensor, keys: Tensor, mask: Tensor | None, scale: float, rows: int) -> tuple[Tensor, Tensor]:
    """The same, and the weights averaged over heads ``(N, S)``."""
    split_q, k, v = _split(q, keys)
    scores = torch.matmul(split_q * scale, k.transpose(2, 3))
    if mask is not None:
        scores = scores + mask
    weights = torch.softmax(scores.float(), dim=-1)
    seen = weights.mean(dim=1).to(q.dtype)
    return _as_rows(torch.matmul(weights.to(v.dtype), v), rows), seen.reshape(-1, seen.size(2))
