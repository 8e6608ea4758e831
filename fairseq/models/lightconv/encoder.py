"""The encoder."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from fairseq.models.fairseq_encoder import FairseqEncoder
from fairseq.models.lightconv.layers import LightConvEncoderLayer
from fairseq.modules.fairseq_dropout import FairseqDropout
from fairseq.modules.layer_norm import LayerNorm
from fairseq.modules.positional_embedding import PositionalEmbedding

__all__ = ["LightConvEncoder"]


class LightConvEncoder(FairseqEncoder):
    """Layers of convolutions over the source.

    Args:
        args: the options.
        dictionary: source vocabulary.
        embed_tokens: word vectors.
    """

    def __init__(self, args: Any, dictionary: Any, embed_tokens: nn.Embedding) -> None:
        super().__init__(dictionary)
        self.dropout_module = FairseqDropout(args.dropout, module_name=type(self).__name__)
        width = embed_tokens.embedding_dim
        self.padding_idx: int = embed_tokens.padding_idx  # type: ignore[assignment]
        self.max_source_positions = args.max_source_positions
        self.embed_tokens = embed_tokens
        self.embed_scale = math.sqrt(width)
        self.embed_positions: nn.Module | None = None
        if not args.no_token_positional_embeddings:
            self.embed_positions = PositionalEmbedding(
                args.max_source_positions, width, self.padding_idx, learned=args.encoder_learned_pos
            )
        self.layers = nn.ModuleList(
            LightConvEncoderLayer(args, kernel_size=args.encoder_kernel_size_list[i])
            for i in range(args.encoder_layers)
        )
        self.register_buffer("version", torch.Tensor([2]))
        self.normalize = args.encoder_normalize_before
        self.layer_norm = LayerNorm(width) if self.normalize else None

    def forward(self, src_tokens: Tensor, src_lengths: Tensor | None = None) -> dict[str, list[Tensor]]:  # type: ignore[override]
        """Encode a batch.

        Args:
            src_tokens: ``(batch, src_len)``.
            src_lengths: ``(batch,)``, handed on.

        Returns:
            Lists of one entry: ``encoder_out`` ``(src_len, batch, embed_dim)``, ``encoder_padding_mask``
            ``(batch, src_len)`` (no entry without padding, as far as the CPU sees), ``src_lengths`` as given.
        """
        x = self.embed_scale * self.embed_tokens(src_tokens)
        if self.embed_positions is not None:
            x = x + self.embed_positions(src_tokens)
        x = self.dropout_module(x).transpose(0, 1)
        is_pad = src_tokens.eq(self.padding_idx)
        padding_mask: Tensor | None = None
        if is_pad.device.type != "cpu" or bool(is_pad.any()):  # looking would wait for a GPU
            padding_mask = is_pad
        for layer in self.layers:
            x = layer(x, padding_mask)
        if self.layer_norm is not None:
            x = self.layer_norm(x)
        output: dict[str, list[Tensor]] = {}
        output["encoder_out"] = [x]
        output["encoder_padding_mask"] = [padding_mask] if padding_mask is not None else []
        output["src_lengths"] = [src_lengths] if src_lengths is not None else []
        return output

    def reorder_encoder_out(self, encoder_out: dict[str, list[Tensor]], new_order: Tensor) -> dict[str, list[Tensor]]:
        """Rearrange the sentences; lists without an entry stay empty."""
        output: dict[str, list[Tensor]] = {}
        output["encoder_out"] = [x.index_select(1, new_order) for x in encoder_out["encoder_out"]]
        output["encoder_padding_mask"] = [x.index_select(0, new_order) for x in encoder_out["encoder_padding_mask"]]
        output["src_lengths"] = [x.index_select(0, new_order) for x in encoder_out["src_lengths"]]
        return output

    def max_positions(self) -> Any:
        """Longest source, in tokens."""
        if self.embed_positions is None:
            return self.max_source_positions
        return min(self.max_source_positions, self.embed_positions.max_positions)
