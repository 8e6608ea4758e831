"""The decoder."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from fairseq import utils
from fairseq.models.fairseq_incremental_decoder import FairseqIncrementalDecoder
from fairseq.models.lightconv.layers import LightConvDecoderLayer, Linear
from fairseq.modules.adaptive_softmax import AdaptiveSoftmax
from fairseq.modules.fairseq_dropout import FairseqDropout
from fairseq.modules.layer_norm import LayerNorm
from fairseq.modules.positional_embedding import PositionalEmbedding

__all__ = ["LightConvDecoder"]


class LightConvDecoder(FairseqIncrementalDecoder):
    """Layers of causal convolutions over the target, with attention to the source.

    Args:
        args: the options.
        dictionary: target vocabulary.
        embed_tokens: word vectors.
        no_encoder_attn: leave out the attention (language model).
        final_norm: normalise the output if ``--decoder-normalize-before``.
    """

    def __init__(
        self,
        args: Any,
        dictionary: Any,
        embed_tokens: nn.Embedding,
        no_encoder_attn: bool = False,
        final_norm: bool = True,
    ) -> None:
        super().__init__(dictionary)
        self.dropout_module = FairseqDropout(args.dropout, module_name=type(self).__name__)
        self.share_input_output_embed = getattr(args, "share_decoder_input_output_embed", False)
        input_width, width, output_width = embed_tokens.embedding_dim, args.decoder_embed_dim, args.decoder_output_dim
        padding_idx: int = embed_tokens.padding_idx  # type: ignore[assignment]
        self.max_target_positions = args.max_target_positions
        self.embed_tokens = embed_tokens
        self.embed_scale = math.sqrt(width)
        self.project_in_dim = Linear(input_width, width, bias=False) if width != input_width else None
        self.embed_positions: nn.Module | None = None
        if not getattr(args, "no_token_positional_embeddings", False):
            self.embed_positions = PositionalEmbedding(
                args.max_target_positions, width, padding_idx, learned=args.decoder_learned_pos
            )
        self.layers = nn.ModuleList(
            LightConvDecoderLayer(
                args, no_encoder_attn, kernel_size=args.decoder_kernel_size_list[i], dictionary=dictionary
            )
            for i in range(args.decoder_layers)
        )
        ties_weights = getattr(args, "tie_adaptive_weights", False)
        self.project_out_dim = None
        if width != output_width and not ties_weights:
            self.project_out_dim = Linear(width, output_width, bias=False)
        self.adaptive_softmax: nn.Module | None = None
        self.output_projection: nn.Module | None = None
        if args.adaptive_softmax_cutoff is not None:
            self.adaptive_softmax = AdaptiveSoftmax(
                len(dictionary),
                output_width,
                utils.eval_str_list(args.adaptive_softmax_cutoff, type=int) or [],
                dropout=args.adaptive_softmax_dropout,
                adaptive_inputs=embed_tokens if ties_weights else None,
                factor=getattr(args, "adaptive_softmax_factor", 4),
                tie_proj=getattr(args, "tie_adaptive_proj", False),
            )
        elif self.share_input_output_embed:
            vocab, embed_width = embed_tokens.weight.shape
            self.output_projection = nn.Linear(embed_width, vocab, bias=False)
            self.output_projection.weight = embed_tokens.weight
        else:
            self.output_projection = nn.Linear(output_width, len(dictionary), bias=False)
            nn.init.normal_(self.output_projection.weight, mean=0, std=output_width**-0.5)
        self.register_buffer("version", torch.Tensor([2]))
        self.normalize = args.decoder_normalize_before and final_norm
        self.layer_norm = LayerNorm(width) if self.normalize else None

    def forward(  # type: ignore[override]
        self,
        prev_output_tokens: Tensor,
        encoder_out: dict[str, list[Tensor]] | None = None,
        incremental_state: dict[str, dict[str, Tensor | None]] | None = None,
        src_lengths: Any | None = None,
    ) -> tuple[Tensor, dict[str, list[Tensor | None]]]:
        """Score the next token at every position, or after the last one only when a state is given.

        Args:
            prev_output_tokens: ``(batch, tgt_len)``; the whole prefix also with a state.
            encoder_out: what :class:`LightConvEncoder` returned; ``None`` for a language model.
            incremental_state: the shared dictionary of generation.
            src_lengths: not used; a language model is called with it.

        Returns:
            ``(logits (batch, tgt_len, vocab), extra)`` with lists ``attn`` (that of the last layer) and
            ``inner_states`` (``(tgt_len, batch, embed_dim)`` before and after each layer). With an adaptive softmax
            the first item holds features.
        """
        x = self._embed(prev_output_tokens, incremental_state)

        source: Tensor | None = None
        padding_mask: Tensor | None = None
        if encoder_out is not None:
            source = encoder_out["encoder_out"][0]
            if len(encoder_out["encoder_padding_mask"]) > 0:
                padding_mask = encoder_out["encoder_padding_mask"][0]
        states: list[Tensor | None] = [x]
        weights: Tensor | None = None
        for layer in self.layers:
            x, weights = layer(x, source, padding_mask, incremental_state)
            states.append(x)
        return self._scores(x), {"attn": [weights], "inner_states": states}

    def _embed(self, tokens: Tensor, incremental_state: dict[str, dict[str, Tensor | None]] | None) -> Tensor:
        """Word and position vectors, ``(tgt_len, batch, embed_dim)``; of the last token only when a state is given."""
        words = tokens if incremental_state is None else tokens[:, -1:]
        x = self.embed_scale * self.embed_tokens(words.contiguous())
        if self.project_in_dim is not None:
            x = self.project_in_dim(x)
        if self.embed_positions is not None:
            x = x + self.embed_positions(tokens, incremental_state)[:, -words.size(1) :]
        return self.dropout_module(x).transpose(0, 1)

    def _scores(self, x: Tensor) -> Tensor:
        """From the last layer, ``(tgt_len, batch, embed_dim)``, to ``(batch, tgt_len, vocab)``."""
        x = (x if self.layer_norm is None else self.layer_norm(x)).transpose(0, 1)
        if self.project_out_dim is not None:
            x = self.project_out_dim(x)
        return x if self.output_projection is None else self.output_projection(x)

    def max_positions(self) -> Any:
        """Longest target, in tokens."""
        if self.embed_positions is None:
            return self.max_target_positions
        return min(self.max_target_positions, self.embed_positions.max_positions)

    @torch.jit.unused
    def buffered_future_mask(self, tensor: Tensor) -> Tensor:
        """A mask that hides later steps, ``(T, T)`` for a ``(T, ...)`` tensor: minus infinity above the diagonal."""
        size = tensor.size(0)
        return torch.full((size, size), float("-inf"), dtype=tensor.dtype, device=tensor.device).triu(1)
