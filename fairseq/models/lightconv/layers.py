"""Layers: a convolution block, attention to the source (decoder), and a feed-forward block."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fairseq.modules.dynamic_convolution import DynamicConv_scripatable, Linear
from fairseq.modules.fairseq_dropout import FairseqDropout
from fairseq.modules.layer_norm import LayerNorm
from fairseq.modules.lightweight_convolution import LightweightConv1dTBC
from fairseq.modules.multihead_attention import MultiheadAttention

__all__ = ["Embedding", "LightConvDecoderLayer", "LightConvEncoderLayer", "Linear"]


def Embedding(num_embeddings: int, embedding_dim: int, padding_idx: int) -> nn.Embedding:
    """Word vectors from ``N(0, 1 / width)``; that of padding is zero."""
    module = nn.Embedding(num_embeddings, embedding_dim, padding_idx=padding_idx)
    nn.init.normal_(module.weight, mean=0, std=embedding_dim**-0.5)
    nn.init.constant_(module.weight[padding_idx], 0)
    return module


def _convolution(
    kind: str, channels: int, kernel_size: int, padding_l: int, heads: int, args: Any
) -> DynamicConv_scripatable | LightweightConv1dTBC:
    classes = {"lightweight": LightweightConv1dTBC, "dynamic": DynamicConv_scripatable}
    if kind not in classes:
        raise NotImplementedError(f"unknown kind of convolution {kind!r}; there are {', '.join(sorted(classes))}")
    return classes[kind](
        channels,
        kernel_size,
        padding_l=padding_l,
        weight_softmax=args.weight_softmax,
        num_heads=heads,
        weight_dropout=args.weight_dropout,
    )


class LightConvEncoderLayer(nn.Module):
    """A convolution block and a feed-forward block, each with a residual connection.

    Args:
        args: the options.
        kernel_size: width of the convolution.
    """

    def __init__(self, args: Any, kernel_size: int = 0) -> None:
        super().__init__()
        self.embed_dim = args.encoder_embed_dim
        self.conv_dim = args.encoder_conv_dim
        self.linear1 = Linear(self.embed_dim, self.conv_dim * (2 if args.encoder_glu else 1))
        self.act = nn.GLU() if args.encoder_glu else None
        self.conv = _convolution(
            args.encoder_conv_type,
            self.conv_dim,
            kernel_size,
            # The middle of the kernel, or left of it, lies on the step itself.
            (kernel_size - 1) // 2,
            args.encoder_attention_heads,
            args,
        )
        self.linear2 = Linear(self.conv_dim, self.embed_dim)
        owner = type(self).__name__
        self.dropout_module = FairseqDropout(args.dropout, module_name=owner)
        self.relu_dropout_module = FairseqDropout(args.relu_dropout, module_name=owner)
        self.input_dropout_module = FairseqDropout(args.input_dropout, module_name=owner)
        self.normalize_before = args.encoder_normalize_before
        self.fc1 = Linear(self.embed_dim, args.encoder_ffn_embed_dim)
        self.fc2 = Linear(args.encoder_ffn_embed_dim, self.embed_dim)
        self.layer_norm1 = LayerNorm(self.embed_dim)
        self.layer_norm2 = LayerNorm(self.embed_dim)

    def forward(self, x: Tensor, encoder_padding_mask: Tensor | None = None) -> Tensor:
        """Map ``(src_len, batch, embed_dim)`` to the same shape.

        Args:
            x: the input.
            encoder_padding_mask: ``(batch, src_len)``, true at padding, which the convolution sees as zeros.
        """
        residual = x
        if self.maybe_layer_norm(before=True):
            x = self.layer_norm1(x)
        x = self.linear1(self.input_dropout_module(x))
        if self.act is not None:
            x = self.act(x)
        if encoder_padding_mask is not None:
            x = x.masked_fill(encoder_padding_mask.transpose(0, 1).unsqueeze(2), 0)
        x = residual + self.dropout_module(self.linear2(self.conv(x)))
        if self.maybe_layer_norm(after=True):
            x = self.layer_norm1(x)

        residual = x
        if self.maybe_layer_norm(before=True):
            x = self.layer_norm2(x)
        x = self.relu_dropout_module(F.relu(self.fc1(x)))
        x = residual + self.dropout_module(self.fc2(x))
        if self.maybe_layer_norm(after=True):
            x = self.layer_norm2(x)
        return x

    def maybe_layer_norm(self, before: bool = False, after: bool = False) -> bool:
        """Whether blocks normalise at this point, ``before`` or ``after`` them.

        Raises:
            AssertionError: not exactly one of the two is asked for.
        """
        if before == after:
            raise AssertionError("give exactly one of before and after")
        return before == self.normalize_before

    def extra_repr(self) -> str:
        """The dropout rates, for ``print(model)``."""
        return _rates(self)


class LightConvDecoderLayer(nn.Module):
    """A causal convolution block, attention to the source, and a feed-forward block.

    Args:
        args: the options.
        no_encoder_attn: leave out the attention (language model).
        kernel_size: width of the convolution.
        dictionary: target vocabulary, handed to the attention.
    """

    def __init__(self, args: Any, no_encoder_attn: bool = False, kernel_size: int = 0, dictionary: Any = None) -> None:
        super().__init__()
        self.embed_dim = args.decoder_embed_dim
        self.conv_dim = args.decoder_conv_dim
        self.linear1 = Linear(self.embed_dim, self.conv_dim * (2 if args.decoder_glu else 1))
        self.act = nn.GLU() if args.decoder_glu else None
        self.conv = _convolution(
            args.decoder_conv_type,
            self.conv_dim,
            kernel_size,
            kernel_size - 1,
            args.decoder_attention_heads,
            args,
        )
        self.linear2 = Linear(self.conv_dim, self.embed_dim)
        owner = type(self).__name__
        self.dropout_module = FairseqDropout(args.dropout, module_name=owner)
        self.relu_dropout_module = FairseqDropout(args.relu_dropout, module_name=owner)
        self.input_dropout_module = FairseqDropout(args.input_dropout, module_name=owner)
        self.normalize_before = args.decoder_normalize_before
        self.conv_layer_norm = LayerNorm(self.embed_dim)
        self.encoder_attn: nn.Module | None = None
        self.encoder_attn_layer_norm: nn.Module | None = None
        if not no_encoder_attn:
            self.encoder_attn = MultiheadAttention(
                self.embed_dim, args.decoder_attention_heads, dropout=args.attention_dropout,
                encoder_decoder_attention=True, dictionary=dictionary,
            )  # fmt: skip
            self.encoder_attn_layer_norm = LayerNorm(self.embed_dim)
        self.fc1 = Linear(self.embed_dim, args.decoder_ffn_embed_dim)
        self.fc2 = Linear(args.decoder_ffn_embed_dim, self.embed_dim)
        self.final_layer_norm = LayerNorm(self.embed_dim)
        self.need_attn = True

    def forward(
        self,
        x: Tensor,
        encoder_out: Tensor | None,
        encoder_padding_mask: Tensor | None,
        incremental_state: dict[str, dict[str, Tensor | None]] | None,
        prev_conv_state: Tensor | None = None,
        prev_attn_state: tuple[Tensor, Tensor] | None = None,
        conv_mask: Tensor | None = None,
        conv_padding_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Map ``(tgt_len, batch, embed_dim)`` to the same shape, and give the attention to the source.

        Args:
            x: the input; one step with a state.
            encoder_out: ``(src_len, batch, encoder width)``.
            encoder_padding_mask: ``(batch, src_len)``, true at padding.
            incremental_state: the shared dictionary of generation.
            prev_conv_state: replaces the steps that the convolution keeps, ``(kernel_size - 1, batch, channels)``.
            prev_attn_state: replaces the keys and values that the attention keeps.
            conv_mask: accepted for old callers; a causal convolution needs none.
            conv_padding_mask: accepted for old callers; padding stands after the words.

        Returns:
            ``(output, attention (batch, tgt_len, src_len) or None)``.
        """
        residual = x
        if self.maybe_layer_norm(before=True):
            x = self.conv_layer_norm(x)
        if prev_conv_state is not None:
            self.conv._set_input_buffer(incremental_state, prev_conv_state)
        x = self.linear1(self.input_dropout_module(x))
        if self.act is not None:
            x = self.act(x)
        x = self.conv(x, incremental_state=incremental_state)
        x = residual + self.dropout_module(self.linear2(x))
        if self.maybe_layer_norm(after=True):
            x = self.conv_layer_norm(x)

        attn: Tensor | None = None
        if self.encoder_attn is not None and self.encoder_attn_layer_norm is not None:
            residual = x
            if self.maybe_layer_norm(before=True):
                x = self.encoder_attn_layer_norm(x)
            if prev_attn_state is not None and incremental_state is not None:
                saved: dict[str, Tensor | None] = {}
                saved["prev_key"] = prev_attn_state[0]
                saved["prev_value"] = prev_attn_state[1]
                self.encoder_attn._set_input_buffer(incremental_state, saved)  # type: ignore[operator]
            wants_weights = self.need_attn and not self.training
            x, attn = self.encoder_attn(
                x,
                encoder_out,
                encoder_out,
                static_kv=True,
                need_weights=wants_weights,
                incremental_state=incremental_state,
                key_padding_mask=encoder_padding_mask,
            )
            x = residual + self.dropout_module(x)
            if self.maybe_layer_norm(after=True):
                x = self.encoder_attn_layer_norm(x)

        residual = x
        if self.maybe_layer_norm(before=True):
            x = self.final_layer_norm(x)
        x = self.relu_dropout_module(F.relu(self.fc1(x)))
        x = residual + self.dropout_module(self.fc2(x))
        if self.maybe_layer_norm(after=True):
            x = self.final_layer_norm(x)
        return x, attn

    @torch.jit.unused
    def make_generation_fast_(self, need_attn: bool = False, **kwargs: Any) -> None:
        """Leave out the attention weights unless they are asked for."""
        self.need_attn = need_attn

    def maybe_layer_norm(self, before: bool = False, after: bool = False) -> bool:
        """Whether blocks normalise at this point, ``before`` or ``after`` them.

        Raises:
            AssertionError: not exactly one of the two is asked for.
        """
        if before == after:
            raise AssertionError("give exactly one of before and after")
        return before == self.normalize_before

    def extra_repr(self) -> str:
        """The dropout rates, for ``print(model)``."""
        return _rates(self)


def _rates(layer: Any) -> str:
    return (
        f"dropout={layer.dropout_module.p}, relu_dropout={layer.relu_dropout_module.p}, "
        f"input_dropout={layer.input_dropout_module.p}, normalize_before={layer.normalize_before}"
    )
