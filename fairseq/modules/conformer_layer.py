"""The Conformer block: feed-forward, self-attention, convolution, feed-forward (Gulati et al. 2020).

Shapes in this file:  T = frames, B = batch, C = width
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fairseq.modules.espnet_multihead_attention import (
    ESPNETMultiHeadedAttention,
    RelPositionMultiHeadedAttention,
    RotaryPositionMultiHeadedAttention,
)
from fairseq.modules.layer_norm import LayerNorm
from fairseq.modules.multihead_attention import MultiheadAttention
from fairseq.utils import get_activation_fn

__all__ = ["ConformerEncoderLayer", "ConformerWav2Vec2EncoderLayer", "ConvolutionModule", "FeedForwardModule"]


def _activation(name: str) -> Any:
    """A function or a module; of ``swish`` the registry holds the class."""
    found = get_activation_fn(name)
    return found() if isinstance(found, type) else found


class ConvolutionModule(nn.Module):
    """Mix neighbouring frames. Padding is not known here: padded frames take part.

    Args:
        embed_dim: C, of input and output.
        channels: inside.
        depthwise_kernel_size: odd; frames that the depthwise convolution sees.
        dropout: of the result.
        activation_fn: after the batch norm.
        bias: whether the convolutions have biases.
        export: kept for interface compatibility, see :func:`LayerNorm`.

    Raises:
        ValueError: an even kernel.
    """

    def __init__(
        self,
        embed_dim: int,
        channels: int,
        depthwise_kernel_size: int,
        dropout: float,
        activation_fn: str = "swish",
        bias: bool = False,
        export: bool = False,
    ) -> None:
        super().__init__()
        if depthwise_kernel_size % 2 == 0:
            raise ValueError(f"depthwise_kernel_size must be odd to keep the length, got {depthwise_kernel_size}")
        self.layer_norm = LayerNorm(embed_dim, export=export)
        self.pointwise_conv1 = nn.Conv1d(embed_dim, 2 * channels, kernel_size=1, bias=bias)
        self.glu = nn.GLU(dim=1)
        self.depthwise_conv = nn.Conv1d(
            channels,
            channels,
            depthwise_kernel_size,
            padding=depthwise_kernel_size // 2,
            groups=channels,
            bias=bias,
        )
        self.batch_norm = nn.BatchNorm1d(channels)
        self.activation = _activation(activation_fn)
        self.pointwise_conv2 = nn.Conv1d(channels, embed_dim, kernel_size=1, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, C)`` -> the same."""
        x = self.layer_norm(x).transpose(1, 2)
        x = self.glu(self.pointwise_conv1(x))
        x = self.activation(self.batch_norm(self.depthwise_conv(x)))
        return self.dropout(self.pointwise_conv2(x)).transpose(1, 2)


class FeedForwardModule(nn.Module):
    """Norm, widen, activate, narrow.

    Args:
        input_feat: C.
        hidden_units: width inside.
        dropout1: after the activation.
        dropout2: of the result.
        activation_fn: by name, as for ``--activation-fn``.
        bias: whether the maps have biases.
    """

    def __init__(
        self,
        input_feat: int,
        hidden_units: int,
        dropout1: float,
        dropout2: float,
        activation_fn: str = "swish",
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.layer_norm = LayerNorm(input_feat)
        self.w_1 = nn.Linear(input_feat, hidden_units, bias=bias)
        self.w_2 = nn.Linear(hidden_units, input_feat, bias=bias)
        self.dropout1 = nn.Dropout(dropout1)
        self.dropout2 = nn.Dropout(dropout2)
        self.activation = _activation(activation_fn)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., C)`` -> the same."""
        x = self.activation(self.w_1(self.layer_norm(x)))
        return self.dropout2(self.w_2(self.dropout1(x)))


class ConformerEncoderLayer(nn.Module):
    """One Conformer block.

    Args:
        embed_dim: C.
        ffn_embed_dim: width inside the feed-forward modules.
        attention_heads: number of heads.
        dropout: everywhere.
        use_fp16: passed on to rotary positions.
        depthwise_conv_kernel_size: of the convolution module.
        activation_fn: of all modules.
        attn_type: ``espnet`` for the attention classes of that name; else ``MultiheadAttention``.
        pos_enc_type: ``abs``, ``rel_pos`` or ``rope``; the latter two need ``attn_type="espnet"``.

    Raises:
        ValueError: another ``pos_enc_type``.
    """

    def __init__(
        self,
        embed_dim: int,
        ffn_embed_dim: int,
        attention_heads: int,
        dropout: float,
        use_fp16: bool,
        depthwise_conv_kernel_size: int = 31,
        activation_fn: str = "swish",
        attn_type: str | None = None,
        pos_enc_type: str = "abs",
    ) -> None:
        super().__init__()
        self.pos_enc_type = pos_enc_type
        self.ffn1 = FeedForwardModule(embed_dim, ffn_embed_dim, dropout, dropout, activation_fn)
        self.self_attn_layer_norm = LayerNorm(embed_dim, export=False)
        self.self_attn_dropout = nn.Dropout(dropout)
        self.self_attn: nn.Module
        if attn_type != "espnet":
            # As published models do, ``pos_enc_type`` is not looked at: this attention knows no positions.
            self.self_attn = MultiheadAttention(embed_dim, attention_heads, dropout=dropout)
        elif pos_enc_type == "rel_pos":
            self.self_attn = RelPositionMultiHeadedAttention(embed_dim, attention_heads, dropout=dropout)
        elif pos_enc_type == "rope":
            precision = torch.half if use_fp16 else torch.float
            self.self_attn = RotaryPositionMultiHeadedAttention(embed_dim, attention_heads, dropout, precision)
        elif pos_enc_type == "abs":
            self.self_attn = ESPNETMultiHeadedAttention(embed_dim, attention_heads, dropout=dropout)
        else:
            raise ValueError(f"pos_enc_type {pos_enc_type}: expected abs, rel_pos or rope")
        self.conv_module = ConvolutionModule(
            embed_dim, embed_dim, depthwise_conv_kernel_size, dropout, activation_fn=activation_fn
        )
        self.ffn2 = FeedForwardModule(embed_dim, ffn_embed_dim, dropout, dropout, activation_fn)
        self.final_layer_norm = LayerNorm(embed_dim, export=False)

    def forward(
        self, x: Tensor, encoder_padding_mask: Tensor | None, position_emb: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor | None, Tensor]]:
        """Run the block.

        Args:
            x: ``(T, B, C)``.
            encoder_padding_mask: ``(B, T)``, true at padding; hides keys of the attention.
            position_emb: of ``RelPositionalEncoding``, ``(2T - 1, 1, C)``; for ``rel_pos`` only.

        Returns:
            ``(x, (attn, ffn))``: ``(T, B, C)``, attention weights or ``None``, and what the second feed-forward module
            gave, ``(T, B, C)``.
        """
        x = x + 0.5 * self.ffn1(x)
        attended, attn = self._attend(self.self_attn_layer_norm(x), encoder_padding_mask, position_emb)
        x = x + self.self_attn_dropout(attended)
        x = x + self.conv_module(x.transpose(0, 1)).transpose(0, 1)
        ffn = self.ffn2(x)
        return self.final_layer_norm(x + 0.5 * ffn), (attn, ffn)

    def _attend(self, x: Tensor, padding_mask: Tensor | None, position_emb: Tensor | None) -> Any:
        positions = {"pos_emb": position_emb} if isinstance(self.self_attn, RelPositionMultiHeadedAttention) else {}
        return self.self_attn(query=x, key=x, value=x, key_padding_mask=padding_mask, need_weights=False, **positions)


class ConformerWav2Vec2EncoderLayer(ConformerEncoderLayer):
    """The block with the arguments that wav2vec 2.0 gives to its layers."""

    def forward(  # type: ignore[override]
        self,
        x: Tensor,
        self_attn_mask: Tensor | None = None,
        self_attn_padding_mask: Tensor | None = None,
        need_weights: bool = False,
        att_args: Any = None,
        position_emb: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Tensor | None, Tensor]]:
        """As in the base class; ``self_attn_mask``, ``need_weights`` and ``att_args`` are not used."""
        return super().forward(x, self_attn_padding_mask, position_emb)
