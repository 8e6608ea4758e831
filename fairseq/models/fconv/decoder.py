"""The convolutional decoder and its attention."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fairseq import utils
from fairseq.models.fairseq_incremental_decoder import FairseqIncrementalDecoder
from fairseq.models.fconv.layers import (
    Embedding,
    Linear,
    LinearizedConv1d,
    PositionalEmbedding,
    attention_per_layer,
    extend_conv_spec,
)
from fairseq.modules.adaptive_softmax import AdaptiveSoftmax
from fairseq.modules.beamable_mm import BeamableMM
from fairseq.modules.fairseq_dropout import FairseqDropout
from fairseq.modules.weight_norm import is_weight_normalized, remove_weight_norm, weight_norm

__all__ = ["AttentionLayer", "FConvDecoder"]

logger = logging.getLogger(__name__)

_HALF = math.sqrt(0.5)


class AttentionLayer(nn.Module):
    """Attention of one decoder layer: dot products with the encoder's states, then states and embeddings are mixed.

    Args:
        conv_channels: width of the decoder layer.
        embed_dim: width of the encoder's output.
        bmm: batched product to use; :class:`BeamableMM` in generation.
    """

    def __init__(self, conv_channels: int, embed_dim: int, bmm: Callable[..., Tensor] | None = None) -> None:
        super().__init__()
        self.in_projection = Linear(conv_channels, embed_dim)
        self.out_projection = Linear(embed_dim, conv_channels)
        self.bmm = bmm if bmm is not None else torch.bmm

    def forward(
        self,
        x: Tensor,
        target_embedding: Tensor,
        encoder_out: tuple[Tensor, Tensor],
        encoder_padding_mask: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Attend.

        Args:
            x: output of the convolution, ``(batch, tgt_len, conv_channels)``.
            target_embedding: ``(batch, tgt_len, embed_dim)``.
            encoder_out: ``(keys (batch, embed_dim, src_len), values (batch, src_len, embed_dim))``.
            encoder_padding_mask: ``(batch, src_len)``, true at padding.

        Returns:
            ``((batch, tgt_len, conv_channels), weights (batch, tgt_len, src_len))``.
        """
        keys, values = encoder_out
        query = (self.in_projection(x) + target_embedding) * _HALF
        scores = self.bmm(query, keys)
        if encoder_padding_mask is not None:
            # In float32, where minus infinity is safe.
            scores = scores.float().masked_fill(encoder_padding_mask.unsqueeze(1), float("-inf")).type_as(scores)
        weights = F.softmax(scores, dim=-1)
        context = self.bmm(weights, values)
        # An average over n vectors has 1/n of their variance; n * sqrt(1/n) gives it back.
        if encoder_padding_mask is None:
            context = context * math.sqrt(values.size(1))
        else:
            length = values.size(1) - encoder_padding_mask.type_as(context).sum(dim=1)
            context = context * length.sqrt()[:, None, None]
        return (self.out_projection(context) + x) * _HALF, weights

    def make_generation_fast_(self, beamable_mm_beam_size: int | None = None, **kwargs: Any) -> None:
        """Share the encoder's output between the hypotheses of a sentence."""
        if beamable_mm_beam_size is not None:
            del self.bmm
            self.add_module("bmm", BeamableMM(beamable_mm_beam_size))


class FConvDecoder(FairseqIncrementalDecoder):
    """Gated causal convolutions over the target, with attention in any layer.

    Args:
        dictionary: target vocabulary.
        embed_dim: width of word vectors.
        embed_dict: token -> vector, to begin with.
        out_embed_dim: width before the output layer.
        max_positions: rows of the position table.
        convolutions: ``(channels, kernel width[, residual distance])`` per layer; a distance of 0 is no residual.
        attention: whether layers attend to the source; one boolean or one per layer.
        dropout: on embeddings, layer inputs and output features.
        share_embed: use the word vectors as output layer.
        positional_embeddings: add positions.
        adaptive_softmax_cutoff: bands of an adaptive softmax, which takes the place of the output layer.
        adaptive_softmax_dropout: dropout inside it.
    """

    def __init__(
        self,
        dictionary: Any,
        embed_dim: int = 512,
        embed_dict: dict[str, Tensor] | None = None,
        out_embed_dim: int = 256,
        max_positions: int = 1024,
        convolutions: Sequence[tuple[int, ...]] = ((512, 3),) * 20,
        attention: bool | Sequence[bool] = True,
        dropout: float = 0.1,
        share_embed: bool = False,
        positional_embeddings: bool = True,
        adaptive_softmax_cutoff: list[int] | None = None,
        adaptive_softmax_dropout: float = 0.0,
    ) -> None:
        super().__init__(dictionary)
        self.register_buffer("version", torch.Tensor([2]))
        self.dropout_module = FairseqDropout(dropout, module_name=type(self).__name__)
        self.need_attn = True
        vocab, padding_idx = len(dictionary), dictionary.pad()
        self.embed_tokens = Embedding(vocab, embed_dim, padding_idx)
        if embed_dict:
            self.embed_tokens = utils.load_embedding(embed_dict, dictionary, self.embed_tokens)
        self.embed_positions = (
            PositionalEmbedding(max_positions, embed_dim, padding_idx) if positional_embeddings else None
        )
        layers = extend_conv_spec(convolutions)
        attends = attention_per_layer(attention, len(layers))
        widths = [layers[0][0]]
        self.fc1 = Linear(embed_dim, widths[0], dropout=dropout)
        self.projections = nn.ModuleList()
        self.convolutions = nn.ModuleList()
        self.attention = nn.ModuleList()
        self.residuals: list[int] = []
        for (channels, kernel, residual), attend in zip(layers, attends):
            residual_width = channels if residual == 0 else widths[-residual]
            self.projections.append(
                Linear(residual_width, channels) if residual_width != channels else None  # type: ignore[arg-type]
            )
            self.convolutions.append(
                LinearizedConv1d(widths[-1], channels * 2, kernel, padding=kernel - 1, dropout=dropout)
            )
            self.attention.append(AttentionLayer(channels, embed_dim) if attend else None)  # type: ignore[arg-type]
            self.residuals.append(residual)
            widths.append(channels)
        self.adaptive_softmax: nn.Module | None = None
        self.fc2: nn.Module | None = None
        self.fc3: nn.Module | None = None
        if adaptive_softmax_cutoff is not None:
            if share_embed:
                raise AssertionError("an adaptive softmax cannot share the word vectors: leave out share_embed")
            self.adaptive_softmax = AdaptiveSoftmax(
                vocab, widths[-1], adaptive_softmax_cutoff, dropout=adaptive_softmax_dropout
            )
            return
        self.fc2 = Linear(widths[-1], out_embed_dim)
        if share_embed:
            if out_embed_dim != embed_dim:
                raise AssertionError(
                    "Shared embed weights implies same dimensions: --decoder-out-embed-dim is "
                    f"{out_embed_dim}, --decoder-embed-dim is {embed_dim}"
                )
            self.fc3 = nn.Linear(out_embed_dim, vocab)
            self.fc3.weight = self.embed_tokens.weight
        else:
            self.fc3 = Linear(out_embed_dim, vocab, dropout=dropout)

    def forward(  # type: ignore[override]
        self,
        prev_output_tokens: Tensor,
        encoder_out: dict[str, Any] | None = None,
        incremental_state: dict[str, dict[str, Tensor | None]] | None = None,
        **unused: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """Score the next token at every position, or after the last one only when a state is given.

        Args:
            prev_output_tokens: ``(batch, tgt_len)``; the whole prefix also with a state.
            encoder_out: what :class:`FConvEncoder` returned; ``None`` for a language model.
            incremental_state: the shared dictionary of generation.
            unused: a language model is called with ``src_lengths``.

        Returns:
            ``(logits (batch, tgt_len, vocab), attention averaged over all layers (batch, tgt_len, src_len) or None)``.
            Attention is given in evaluation only. With an adaptive softmax the first item holds features.
        """
        keys_values, padding_mask = None, None
        if encoder_out is not None:
            keys, values = encoder_out["encoder_out"]
            keys_values = (keys.transpose(1, 2), values)
            padding_mask = encoder_out["encoder_padding_mask"]
        x = self._embed(prev_output_tokens, incremental_state)
        target_embedding = x
        x = self._turn(self.fc1(self.dropout_module(x)), incremental_state)
        outputs = [x]
        all_weights = []
        layers = zip(self.projections, self.convolutions, self.attention, self.residuals)
        for projection, conv, attention, distance in layers:
            residual = outputs[-distance] if distance > 0 else None
            if residual is not None and projection is not None:
                residual = projection(residual)
            x = F.glu(conv(self.dropout_module(x), incremental_state), dim=2)
            if attention is not None:
                x = self._turn(x, incremental_state)
                x, weights = attention(x, target_embedding, keys_values, padding_mask)
                x = self._turn(x, incremental_state)
                all_weights.append(weights)
            if residual is not None:
                x = (x + residual) * _HALF
            outputs.append(x)
        x = self._turn(x, incremental_state)
        if self.fc2 is not None and self.fc3 is not None:
            x = self.fc3(self.dropout_module(self.fc2(x)))
        average = None
        if not self.training and self.need_attn and all_weights:
            # Over all layers: those without attention count as zeros.
            average = torch.stack(all_weights).sum(dim=0) / len(self.attention)
        return x, average

    def _embed(self, prev_output_tokens: Tensor, incremental_state: Any) -> Tensor:
        positions: Tensor | int = 0
        if self.embed_positions is not None:
            positions = self.embed_positions(prev_output_tokens, incremental_state)
        if incremental_state is not None:
            prev_output_tokens = prev_output_tokens[:, -1:]
        return self.embed_tokens(prev_output_tokens) + positions

    def _turn(self, x: Tensor, incremental_state: Any) -> Tensor:
        """Swap batch and time where convolutions are time-first, which is without a state."""
        return x.transpose(0, 1) if incremental_state is None else x

    def max_positions(self) -> Any:
        """Longest target, in tokens; there is no limit without position vectors."""
        return self.embed_positions.max_positions if self.embed_positions is not None else float("inf")

    def upgrade_state_dict_named(self, state_dict: dict[str, Any], name: str) -> dict[str, Any]:
        """Take over weights from before version 2, whose norms were kept per kernel position."""
        key = name + ".version" if name else "version"
        version = state_dict.get(key)
        if version is None or float(version[0]) < 2:
            for conv in self.convolutions:
                if is_weight_normalized(conv):
                    weight_norm(remove_weight_norm(conv), dim=0)
            state_dict[key] = torch.Tensor([1])
        return state_dict

    def upgrade_state_dict(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        """As ``upgrade_state_dict_named`` for the decoder of a model."""
        return self.upgrade_state_dict_named(state_dict, "decoder")

    def make_generation_fast_(self, need_attn: bool = False, **kwargs: Any) -> None:
        """Leave out the attention weights unless they are asked for."""
        self.need_attn = need_attn
