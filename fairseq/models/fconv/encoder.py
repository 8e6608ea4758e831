"""The convolutional encoder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fairseq import utils
from fairseq.models.fairseq_encoder import FairseqEncoder
from fairseq.models.fconv.layers import ConvTBC, Embedding, Linear, PositionalEmbedding, extend_conv_spec
from fairseq.modules.fairseq_dropout import FairseqDropout
from fairseq.modules.grad_multiply import GradMultiply

__all__ = ["FConvEncoder", "same_length_conv"]

_HALF = math.sqrt(0.5)


def same_length_conv(conv: Any, x: Tensor) -> Tensor:
    """Convolve ``(T, B, C)`` and keep ``T`` steps. With an even kernel the extra step of padding is at the end."""
    width, padding = conv.kernel_size[0], conv.padding[0]
    missing = width - 1 - 2 * padding
    if missing > 0:
        left = (width - 1) // 2 - padding
        x = F.pad(x, (0, 0, 0, 0, left, missing - left))
    return conv(x)


class FConvEncoder(FairseqEncoder):
    """Gated convolutions over the source, with residual connections.

    Args:
        dictionary: source vocabulary.
        embed_dim: width of word vectors, and of the output.
        embed_dict: token -> vector, to begin with.
        max_positions: rows of the position table.
        convolutions: ``(channels, kernel width[, residual distance])`` per layer; a distance of 0 is no residual.
        dropout: on embeddings and layer inputs.
    """

    def __init__(
        self,
        dictionary: Any,
        embed_dim: int = 512,
        embed_dict: dict[str, Tensor] | None = None,
        max_positions: int = 1024,
        convolutions: Sequence[tuple[int, ...]] = ((512, 3),) * 20,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(dictionary)
        self.dropout_module = FairseqDropout(dropout, module_name=type(self).__name__)
        self.num_attention_layers: int | None = None
        self.padding_idx = dictionary.pad()
        self.embed_tokens = Embedding(len(dictionary), embed_dim, self.padding_idx)
        if embed_dict:
            self.embed_tokens = utils.load_embedding(embed_dict, dictionary, self.embed_tokens)
        self.embed_positions = PositionalEmbedding(max_positions, embed_dim, self.padding_idx)
        layers = extend_conv_spec(convolutions)
        widths = [layers[0][0]]
        self.fc1 = Linear(embed_dim, widths[0], dropout=dropout)
        self.projections = nn.ModuleList()
        self.convolutions = nn.ModuleList()
        self.residuals: list[int] = []
        for channels, kernel, residual in layers:
            residual_width = channels if residual == 0 else widths[-residual]
            self.projections.append(
                Linear(residual_width, channels) if residual_width != channels else None  # type: ignore[arg-type]
            )
            padding = kernel // 2 if kernel % 2 == 1 else 0
            self.convolutions.append(ConvTBC(widths[-1], channels * 2, kernel, dropout=dropout, padding=padding))
            self.residuals.append(residual)
            widths.append(channels)
        self.fc2 = Linear(widths[-1], embed_dim)

    def forward(self, src_tokens: Tensor, src_lengths: Tensor) -> dict[str, Any]:  # type: ignore[override]
        """Encode a batch.

        Args:
            src_tokens: ``(batch, src_len)``.
            src_lengths: not used; padding is seen from the tokens.

        Returns:
            ``encoder_out``: ``(x, x with the embedding added)``, what attention matches and what it takes, both
            ``(batch, src_len, embed_dim)``; ``encoder_padding_mask``: ``(batch, src_len)`` or ``None`` without padding.
        """
        embedded = self.dropout_module(self.embed_tokens(src_tokens) + self.embed_positions(src_tokens))
        is_pad = src_tokens.eq(self.padding_idx)
        # Looking at the mask would wait for a GPU.
        padding_mask = is_pad if is_pad.device.type != "cpu" or is_pad.any() else None
        time_mask = None if padding_mask is None else padding_mask.t().unsqueeze(-1)
        x = self.fc1(embedded).transpose(0, 1)
        outputs = [x]
        for projection, conv, distance in zip(self.projections, self.convolutions, self.residuals):
            residual = outputs[-distance] if distance > 0 else None
            if residual is not None and projection is not None:
                residual = projection(residual)
            if time_mask is not None:
                x = x.masked_fill(time_mask, 0)
            x = F.glu(same_length_conv(conv, self.dropout_module(x)), dim=2)
            if residual is not None:
                x = (x + residual) * _HALF
            outputs.append(x)
        x = self.fc2(x.transpose(0, 1))
        if padding_mask is not None:
            x = x.masked_fill(padding_mask.unsqueeze(-1), 0)
        if torch.is_grad_enabled():
            # Every attention layer of the decoder sends a gradient here, twice.
            x = GradMultiply.apply(x, 1.0 / (2.0 * max(self.num_attention_layers or 0, 1)))
        return {"encoder_out": (x, (x + embedded) * _HALF), "encoder_padding_mask": padding_mask}

    def reorder_encoder_out(self, encoder_out: dict[str, Any], new_order: Tensor) -> dict[str, Any]:
        """Rearrange the sentences."""
        if encoder_out["encoder_out"] is not None:
            encoder_out["encoder_out"] = tuple(part.index_select(0, new_order) for part in encoder_out["encoder_out"])
        if encoder_out["encoder_padding_mask"] is not None:
            encoder_out["encoder_padding_mask"] = encoder_out["encoder_padding_mask"].index_select(0, new_order)
        return encoder_out

    def max_positions(self) -> Any:
        """Longest source, in tokens."""
        return self.embed_positions.max_positions
