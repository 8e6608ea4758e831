"""The encoder, and the self-attention block of both sides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from fairseq.models.fairseq_encoder import FairseqEncoder
from fairseq.models.fconv.encoder import same_length_conv
from fairseq.models.fconv.layers import attention_per_layer
from fairseq.models.fconv_self_att.layers import ConvTBC, Embedding, Linear, PositionalEmbedding
from fairseq.modules.downsampled_multihead_attention import DownsampledMultiHeadAttention
from fairseq.modules.fairseq_dropout import FairseqDropout
from fairseq.modules.grad_multiply import GradMultiply
from fairseq.modules.layer_norm import LayerNorm

__all__ = ["FConvEncoder", "SelfAttention"]

_HALF = math.sqrt(0.5)


class SelfAttention(nn.Module):
    """Attention to earlier steps, a residual connection, and normalisation.

    Args:
        out_channels: width of input and output.
        embed_dim: width of queries, keys and values.
        num_heads: number of heads.
        project_input: project queries, keys and values once more inside the attention.
        gated: with gated layers.
        downsample: give each head its own time scale.
    """

    def __init__(
        self,
        out_channels: int,
        embed_dim: int,
        num_heads: int,
        project_input: bool = False,
        gated: bool = False,
        downsample: bool = False,
    ) -> None:
        super().__init__()
        self.attention = DownsampledMultiHeadAttention(
            out_channels, embed_dim, num_heads, dropout=0, bias=True, project_input=project_input, gated=gated,
            downsample=downsample,
        )  # fmt: skip
        self.in_proj_q = Linear(out_channels, embed_dim)
        self.in_proj_k = Linear(out_channels, embed_dim)
        self.in_proj_v = Linear(out_channels, embed_dim)
        self.ln = LayerNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(time, batch, out_channels)`` to the same shape."""
        attended, _ = self.attention(
            self.in_proj_q(x),
            self.in_proj_k(x),
            self.in_proj_v(x),
            mask_future_timesteps=True,
            use_scalar_bias=True,
        )
        return self.ln(attended + x)


class FConvEncoder(FairseqEncoder):
    """Gated convolutions over the source, with self-attention in any layer.

    Args:
        dictionary: source vocabulary.
        embed_dim: width of word vectors, and of the output.
        max_positions: rows of the position table.
        convolutions: ``(channels, kernel width)`` per layer.
        dropout: on embeddings and layer inputs.
        attention: which layers have self-attention; one boolean or one per layer.
        attention_nheads: its heads.
    """

    def __init__(
        self,
        dictionary: Any,
        embed_dim: int = 512,
        max_positions: int = 1024,
        convolutions: Sequence[tuple[int, int]] = ((512, 3),) * 20,
        dropout: float = 0.1,
        attention: bool | Sequence[bool] = False,
        attention_nheads: int = 1,
    ) -> None:
        super().__init__(dictionary)
        self.dropout_module = FairseqDropout(dropout, module_name=type(self).__name__)
        self.num_attention_layers: int | None = None
        self.padding_idx = dictionary.pad()
        self.embed_tokens = Embedding(len(dictionary), embed_dim, self.padding_idx)
        self.embed_positions = PositionalEmbedding(max_positions, embed_dim, self.padding_idx)
        attends = attention_per_layer(attention, len(convolutions))
        width = convolutions[0][0]
        self.fc1 = Linear(embed_dim, width, dropout=dropout)
        self.projections = nn.ModuleList()
        self.convolutions = nn.ModuleList()
        self.attention = nn.ModuleList()
        self.attproj = nn.ModuleList()
        for (channels, kernel), attend in zip(convolutions, attends):
            self.projections.append(Linear(width, channels) if width != channels else None)  # type: ignore[arg-type]
            self.convolutions.append(ConvTBC(width, channels * 2, kernel, dropout=dropout))
            self.attention.append(
                SelfAttention(channels, embed_dim, attention_nheads) if attend else None  # type: ignore[arg-type]
            )
            width = channels
        self.fc2 = Linear(width, embed_dim)

    def forward(self, src_tokens: Tensor, src_lengths: Tensor) -> dict[str, Any]:  # type: ignore[override]
        """Encode ``(batch, src_len)`` tokens.

        Returns:
            ``encoder_out``: ``(x, x with the embedding added)``, both ``(batch, src_len, embed_dim)``;
            ``encoder_padding_mask``: ``(batch, src_len)`` or ``None`` without padding.
        """
        embedded = self.dropout_module(self.embed_tokens(src_tokens) + self.embed_positions(src_tokens))
        is_pad = src_tokens.eq(self.padding_idx)
        # Looking at the mask would wait for a GPU.
        padding_mask = is_pad if is_pad.device.type != "cpu" or is_pad.any() else None
        x = self.fc1(embedded).transpose(0, 1)
        for projection, conv, attention in zip(self.projections, self.convolutions, self.attention):
            residual = x if projection is None else projection(x)
            if padding_mask is not None:
                x = x.masked_fill(padding_mask.t().unsqueeze(-1), 0)
            x = F.glu(same_length_conv(conv, self.dropout_module(x)), dim=2)
            if attention is not None:
                x = attention(x)
            x = (x + residual) * _HALF
        x = self.fc2(x.transpose(0, 1))
        if padding_mask is not None:
            x = x.masked_fill(padding_mask.unsqueeze(-1), 0)
        # Every attention layer of the decoder sends a gradient here, twice.
        x = GradMultiply.apply(x, 1.0 / (2.0 * max(self.num_attention_layers or 0, 1)))
        return {"encoder_out": (x, (x + embedded) * _HALF), "encoder_padding_mask": padding_mask}

    def reorder_encoder_out(self, encoder_out: dict[str, Any], new_order: Tensor) -> dict[str, Any]:
        """Rearrange the sentences."""
        encoder_out["encoder_out"] = tuple(part.index_select(0, new_order) for part in encoder_out["encoder_out"])
        if encoder_out["encoder_padding_mask"] is not None:
            encoder_out["encoder_padding_mask"] = encoder_out["encoder_padding_mask"].index_select(0, new_order)
        return encoder_out

    def max_positions(self) -> Any:
        """Longest source, in tokens."""
        return self.embed_positions.max_positions
