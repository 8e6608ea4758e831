"""The decoder, alone or fused with one that was trained before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fairseq.incremental_decoding_utils import with_incremental_state
from fairseq.models.fairseq_decoder import FairseqDecoder
from fairseq.models.fconv.layers import attention_per_layer
from fairseq.models.fconv_self_att.encoder import SelfAttention
from fairseq.models.fconv_self_att.layers import Embedding, Linear, LinearizedConv1d, PositionalEmbedding
from fairseq.modules.downsampled_multihead_attention import DownsampledMultiHeadAttention
from fairseq.modules.fairseq_dropout import FairseqDropout
from fairseq.modules.layer_norm import LayerNorm

__all__ = ["FConvDecoder"]

_HALF = math.sqrt(0.5)


@with_incremental_state
class FConvDecoder(FairseqDecoder):
    """Gated causal convolutions with attention to the source and to the target so far.

    Args:
        dictionary: target vocabulary.
        embed_dim: width of word vectors.
        out_embed_dim: width before the output layer.
        max_positions: rows of the position table.
        convolutions: ``(channels, kernel width)`` per layer.
        attention: which layers attend to the source; one boolean or one per layer.
        dropout: on embeddings, layer inputs and output features.
        selfattention: which layers attend to the target so far.
        attention_nheads: heads of the attention to the source.
        selfattention_nheads: heads of the attention to the target.
        project_input: project queries, keys and values of attention.
        gated_attention: with gated layers (self-attention).
        downsample: give each head its own time scale (self-attention).
        pretrained: fuse with ``trained_decoder``.
        trained_decoder: a decoder of the ``fconv`` kind whose parameters stay as they are.
    """

    def __init__(
        self,
        dictionary: Any,
        embed_dim: int = 512,
        out_embed_dim: int = 256,
        max_positions: int = 1024,
        convolutions: Sequence[tuple[int, int]] = ((512, 3),) * 8,
        attention: bool | Sequence[bool] = True,
        dropout: float = 0.1,
        selfattention: bool | Sequence[bool] = False,
        attention_nheads: int = 1,
        selfattention_nheads: int = 1,
        project_input: bool = False,
        gated_attention: bool = False,
        downsample: bool = False,
        pretrained: bool = False,
        trained_decoder: nn.Module | None = None,
    ) -> None:
        super().__init__(dictionary)
        self.register_buffer("version", torch.Tensor([2]))
        self.pretrained = pretrained
        self.pretrained_decoder = trained_decoder
        self.dropout_module = FairseqDropout(dropout, module_name=type(self).__name__)
        self.need_attn = True
        vocab, padding_idx = len(dictionary), dictionary.pad()
        attends = attention_per_layer(attention, len(convolutions))
        attends_to_itself = attention_per_layer(selfattention, len(convolutions))
        self.embed_tokens = Embedding(vocab, embed_dim, padding_idx)
        self.embed_positions = PositionalEmbedding(max_positions, embed_dim, padding_idx)
        width = convolutions[0][0]
        self.fc1 = Linear(embed_dim, width, dropout=dropout)
        self.projections = nn.ModuleList()
        self.convolutions = nn.ModuleList()
        self.attention = nn.ModuleList()
        self.selfattention = nn.ModuleList()
        self.attproj = nn.ModuleList()
        for (channels, kernel), attend, attend_to_itself in zip(convolutions, attends, attends_to_itself):
            self.projections.append(Linear(width, channels) if width != channels else None)  # type: ignore[arg-type]
            self.convolutions.append(LinearizedConv1d(width, channels * 2, kernel, padding=kernel - 1, dropout=dropout))
            source = itself = projection = None
            if attend:
                source = DownsampledMultiHeadAttention(
                    channels,
                    embed_dim,
                    attention_nheads,
                    project_input=project_input,
                    gated=False,
                    downsample=False,
                )
                projection = Linear(channels, embed_dim, dropout=dropout)
            if attend_to_itself:
                itself = SelfAttention(
                    channels,
                    embed_dim,
                    selfattention_nheads,
                    project_input=project_input,
                    gated=gated_attention,
                    downsample=downsample,
                )
            self.attention.append(source)  # type: ignore[arg-type]
            self.attproj.append(projection)  # type: ignore[arg-type]
            self.selfattention.append(itself)  # type: ignore[arg-type]
            width = channels
        self.fc2 = Linear(width, out_embed_dim)
        self.fc3 = Linear(out_embed_dim, vocab, dropout=dropout)
        if pretrained:
            self._build_fusion(out_embed_dim, dropout)

    def _build_fusion(self, width: int, dropout: float) -> None:
        """Gates over, and a network on, the features of both decoders."""
        if self.pretrained_decoder is None:
            raise ValueError("pretrained=True needs trained_decoder, the decoder to fuse with")
        self.gate1 = nn.Sequential(Linear(width * 2, width), nn.Sigmoid())
        self.gate2 = nn.Sequential(Linear(width * 2, width), nn.Sigmoid())
        self.joining = nn.Sequential(
            Linear(width * 2, width * 2),
            LayerNorm(width * 2),
            nn.GLU(),
            Linear(width, width * 2),
            LayerNorm(width * 2),
            nn.GLU(),
            Linear(width, width),
            LayerNorm(width),
        )
        # The other decoder returns scores; its features are picked up on the way.
        self.pretrained_outputs: dict[str, Tensor] = {}

        def keep(_: nn.Module, __: Any, output: Tensor) -> None:
            self.pretrained_outputs["out"] = output

        self.pretrained_decoder.fc2.register_forward_hook(keep)  # type: ignore[union-attr, operator]

    def forward(self, prev_output_tokens: Tensor, encoder_out: dict[str, Any]) -> tuple[Tensor, Tensor | None]:  # type: ignore[override]
        """Score the next token at every position.

        Args:
            prev_output_tokens: ``(batch, tgt_len)``.
            encoder_out: outputs by name: ``encoder`` and, for fusion, ``pretrained``.

        Returns:
            ``(logits (batch, tgt_len, vocab), attention (batch, tgt_len, src_len) summed over layers or None)``;
            attention in evaluation only.
        """
        keys, values = (part.transpose(0, 1) for part in encoder_out["encoder"]["encoder_out"])
        embedded = self.dropout_module(self.embed_tokens(prev_output_tokens) + self.embed_positions(prev_output_tokens))
        target_embedding = embedded.transpose(0, 1)
        x = self.fc1(embedded).transpose(0, 1)
        all_weights = []
        layers = zip(self.projections, self.convolutions, self.attention, self.selfattention, self.attproj)
        for projection, conv, attention, selfattention, attproj in layers:
            residual = x if projection is None else projection(x)
            x = F.glu(conv(self.dropout_module(x)), dim=2)
            if attention is not None:
                attended, weights = attention(attproj(x) + target_embedding, keys, values)
                x = attended + x
                all_weights.append(weights)
            if selfattention is not None:
                x = selfattention(x)
            x = (x + residual) * _HALF
        x = self.dropout_module(self.fc2(x.transpose(0, 1)))
        if self.pretrained:
            x = self._fuse(x, prev_output_tokens, encoder_out["pretrained"])
        summed = None
        if not self.training and self.need_attn and all_weights:
            summed = torch.stack(all_weights).sum(dim=0)
        return self.fc3(x), summed

    def _fuse(self, x: Tensor, prev_output_tokens: Tensor, encoder_out: Any) -> Tensor:
        self.pretrained_decoder(prev_output_tokens, encoder_out)  # type: ignore[misc]
        other = self.pretrained_outputs.pop("out")
        both = torch.cat([x, other], dim=-1)
        gated = torch.cat([self.gate1(both) * x, self.gate2(both) * other], dim=-1)
        return self.joining(gated)

    def max_positions(self) -> Any:
        """Longest target, in tokens."""
        return self.embed_positions.max_positions

    def make_generation_fast_(self, need_attn: bool = False, **kwargs: Any) -> None:
        """Leave out the attention weights unless they are asked for."""
        self.need_attn = need_attn
