"""The transformer decoder (Vaswani et al. 2017, sec. 3.1), with or without attention to an encoder.

Shapes in this file:  S = source length, T = target length, B = batch, C = embedding, H = heads, V = vocabulary
"""

from typing import Any, Dict, List, Optional, Tuple

import torch
from torch import Tensor, nn

from fairseq import utils
from fairseq.models.fairseq_incremental_decoder import FairseqIncrementalDecoder
from fairseq.models.feature_forward import ends_with_output_layer
from fairseq.models.transformer._parts import (
    Linear,
    embedding_scale,
    has_padding,
    padding_mask_of,
    plain_name,
    wrap_layer,
)
from fairseq.models.transformer.transformer_config import TransformerConfig, int_list
from fairseq.modules import fused
from fairseq.modules.adaptive_softmax import AdaptiveSoftmax
from fairseq.modules.attention_masks import future_mask
from fairseq.modules.fairseq_dropout import FairseqDropout
from fairseq.modules.fused.layout import is_batch_first, swap_batch_time
from fairseq.modules.layer_drop import LayerDropModuleList
from fairseq.modules.layer_norm import LayerNorm
from fairseq.modules.positional_embedding import PositionalEmbedding
from fairseq.modules.quant_noise import quant_noise
from fairseq.modules.transformer_layer import TransformerDecoderLayerBase

__all__ = ["Linear", "TransformerDecoder", "TransformerDecoderBase", "module_name_fordropout"]


def module_name_fordropout(module_name: str) -> str:
    """The name by which ``--retain-dropout-modules`` selects a decoder class."""
    return plain_name(module_name, "TransformerDecoderBase", "TransformerDecoder")


class TransformerDecoderBase(FairseqIncrementalDecoder):
    """A stack of layers that attend to the prefix and, if there is one, to an encoder output.

    Args:
        cfg: a nested :class:`TransformerConfig`.
        dictionary: target dictionary.
        embed_tokens: token embedding; projected where its width is not that of the layers.
        no_encoder_attn: build no attention to an encoder.
        output_projection: map from features to the vocabulary, if not the one that ``cfg`` describes.
    """

    def __init__(
        self, cfg: Any, dictionary: Any, embed_tokens: Any, no_encoder_attn: bool = False, output_projection: Any = None
    ) -> None:
        self.cfg = cfg
        super().__init__(dictionary)
        self.register_buffer("version", torch.tensor([3.0]))
        self._future_mask = torch.empty(0)
        self.dropout_module = FairseqDropout(cfg.dropout, module_name=module_name_fordropout(self.__class__.__name__))
        self.embed_tokens = embed_tokens
        self.padding_idx = embed_tokens.padding_idx
        self.share_input_output_embed = cfg.share_decoder_input_output_embed
        self.max_target_positions = cfg.max_target_positions
        self.decoder_layerdrop = cfg.decoder.layerdrop
        input_embed_dim, self.output_embed_dim = embed_tokens.embedding_dim, cfg.decoder.output_dim
        self.embed_dim = embed_dim = cfg.decoder.embed_dim
        self.embed_scale = embedding_scale(cfg, embed_dim)
        self.quant_noise = None
        if not cfg.adaptive_input and cfg.quant_noise.pq > 0:
            self.quant_noise = quant_noise(
                nn.Linear(embed_dim, embed_dim, bias=False), cfg.quant_noise.pq, cfg.quant_noise.pq_block_size
            )
        self.project_in_dim = Linear(input_embed_dim, embed_dim, bias=False) if embed_dim != input_embed_dim else None
        self.embed_positions = (
            PositionalEmbedding(self.max_target_positions, embed_dim, self.padding_idx, learned=cfg.decoder.learned_pos)
            if not cfg.no_token_positional_embeddings
            else None
        )
        export = bool(getattr(cfg, "export", False))
        self.layernorm_embedding = LayerNorm(embed_dim, export=export) if cfg.layernorm_embedding else None
        self.cross_self_attention = cfg.cross_self_attention

        layers = LayerDropModuleList(p=self.decoder_layerdrop) if self.decoder_layerdrop > 0.0 else nn.ModuleList([])
        self.layers = layers
        self.layers.extend([self.build_decoder_layer(cfg, no_encoder_attn) for _ in range(cfg.decoder.layers)])
        self.num_layers = len(self.layers)

        has_final_norm = cfg.decoder.normalize_before and not cfg.no_decoder_final_norm
        self.layer_norm = LayerNorm(embed_dim, export=export) if has_final_norm else None
        # Tied adaptive softmax projects by itself.
        narrows = self.output_embed_dim != embed_dim and not cfg.tie_adaptive_weights
        self.project_out_dim = Linear(embed_dim, self.output_embed_dim, bias=False) if narrows else None
        self.adaptive_softmax, self.output_projection = None, output_projection
        if output_projection is None:
            self.build_output_projection(cfg, dictionary, embed_tokens)

    def build_output_projection(self, cfg: Any, dictionary: Any, embed_tokens: Any) -> None:
        """Set ``output_projection`` or ``adaptive_softmax``, and insert BASE layers; a hook for subclasses."""
        cutoff = int_list(cfg.adaptive_softmax_cutoff)
        if cutoff is not None:
            self.adaptive_softmax = AdaptiveSoftmax(
                len(dictionary),
                self.output_embed_dim,
                cutoff,
                dropout=cfg.adaptive_softmax_dropout,
                adaptive_inputs=embed_tokens if cfg.tie_adaptive_weights else None,
                factor=cfg.adaptive_softmax_factor,
                tie_proj=cfg.tie_adaptive_proj,
            )
        elif self.share_input_output_embed:
            vocab, width = self.embed_tokens.weight.shape
            self.output_projection = nn.Linear(width, vocab, bias=False)
            self.output_projection.weight = self.embed_tokens.weight
        else:
            self.output_projection = nn.Linear(self.output_embed_dim, len(dictionary), bias=False)
            nn.init.normal_(self.output_projection.weight, mean=0, std=self.output_embed_dim**-0.5)
        num_base_layers = cfg.base_layers or 0
        if num_base_layers > 0:
            from fairseq.modules.base_layer import BaseLayer

            for i in range(num_base_layers):
                self.layers.insert(((i + 1) * cfg.decoder.layers) // (num_base_layers + 1), BaseLayer(cfg))

    def build_decoder_layer(self, cfg: Any, no_encoder_attn: bool = False) -> nn.Module:
        """Build one layer; a hook for subclasses."""
        return wrap_layer(TransformerDecoderLayerBase(cfg, no_encoder_attn), cfg)

    def forward(  # type: ignore[override]
        self, prev_output_tokens: Tensor, encoder_out: Optional[Dict[str, List[Tensor]]] = None,
        incremental_state: Optional[Dict[str, Dict[str, Optional[Tensor]]]] = None, features_only: bool = False,
        full_context_alignment: bool = False, alignment_layer: Optional[int] = None,
        alignment_heads: Optional[int] = None, src_lengths: Optional[Any] = None,
        return_all_hiddens: bool = False,
    ) -> Tuple[Tensor, Dict[str, List[Optional[Tensor]]]]:  # fmt: skip
        """Score the next token at every position, or after the last one only when a state is given.

        Args:
            prev_output_tokens: ``(B, T)``, the target shifted right by one.
            encoder_out: what the encoder returned.
            incremental_state: caches of incremental decoding.
            features_only: stop before the output layer.
            full_context_alignment: attend to the whole target, not only to what came before.
            alignment_layer: layer whose attention to the encoder is returned, the last one by default.
            alignment_heads: average over this many heads, all by default.
            src_lengths, return_all_hiddens: not used.

        Returns:
            ``(x, extra)``: ``(B, T, V)`` (``(B, T, C)`` with ``features_only`` or adaptive softmax), and ``attn``: one
            ``(B, T, S)`` or ``None``, ``inner_states``: input and outputs of all layers, ``(T, B, C)`` each.
        """
        x, extra = self.extract_features(
            prev_output_tokens, encoder_out=encoder_out, incremental_state=incremental_state,
            full_context_alignment=full_context_alignment, alignment_layer=alignment_layer,
            alignment_heads=alignment_heads,
        )  # fmt: skip
        if not features_only:
            x = self.output_layer(x)
        return x, extra

    def extract_features(  # type: ignore[override]
        self, prev_output_tokens: Tensor, encoder_out: Optional[Dict[str, List[Tensor]]],
        incremental_state: Optional[Dict[str, Dict[str, Optional[Tensor]]]] = None,
        full_context_alignment: bool = False, alignment_layer: Optional[int] = None,
        alignment_heads: Optional[int] = None,
    ) -> Tuple[Tensor, Dict[str, List[Optional[Tensor]]]]:  # fmt: skip
        """As :meth:`forward`, but stop before the output layer: ``(B, T, C)`` first."""
        return self.extract_features_scriptable(
            prev_output_tokens, encoder_out, incremental_state, full_context_alignment, alignment_layer,
            alignment_heads,
        )  # fmt: skip

    # TorchScript knows no super(), so a subclass calls this name to extend the above.
    def extract_features_scriptable(
        self, prev_output_tokens: Tensor, encoder_out: Optional[Dict[str, List[Tensor]]],
        incremental_state: Optional[Dict[str, Dict[str, Optional[Tensor]]]] = None,
        full_context_alignment: bool = False, alignment_layer: Optional[int] = None,
        alignment_heads: Optional[int] = None,
    ) -> Tuple[Tensor, Dict[str, List[Optional[Tensor]]]]:  # fmt: skip
        """See :meth:`extract_features`."""
        x, prev_output_tokens = self._embed(prev_output_tokens, incremental_state)
        is_padding = padding_mask_of(prev_output_tokens, self.padding_idx)
        return self._run_layers(
            x, is_padding, encoder_out, incremental_state, full_context_alignment, alignment_layer, alignment_heads
        )

    def _run_layers(
        self,
        x: Tensor,
        is_padding: Tensor,
        encoder_out: Optional[Dict[str, List[Tensor]]],
        incremental_state: Optional[Dict[str, Dict[str, Optional[Tensor]]]],
        full_context_alignment: bool,
        alignment_layer: Optional[int],
        alignment_heads: Optional[int],
    ) -> Tuple[Tensor, Dict[str, List[Optional[Tensor]]]]:
        """From embeddings ``(B, T, C)`` to features; ``is_padding`` is ``(B, T)``."""
        aligned = self.num_layers - 1 if alignment_layer is None else alignment_layer
        enc = _first(encoder_out, "encoder_out")
        padding_mask = _first(encoder_out, "encoder_padding_mask")

        x = x.transpose(0, 1)
        if not torch.jit.is_scripting():  # noqa: SIM102  what follows must stay hidden from the script compiler
            if not fused.take_batch_first(self.layers):
                x = x.contiguous()
        # Batches of sentence pairs nearly always have padding, so only the others are looked at.
        look = enc is None or incremental_state is not None
        self_attn_padding_mask: Optional[Tensor] = None
        if self.cross_self_attention or has_padding(is_padding, look=look):
            self_attn_padding_mask = is_padding
        self_attn_mask: Optional[Tensor] = None
        if incremental_state is None and not full_context_alignment:
            self_attn_mask = self.buffered_future_mask(x)

        attn: Optional[Tensor] = None
        inner_states: List[Optional[Tensor]] = [x]
        for idx, layer in enumerate(self.layers):
            x, layer_attn, _ = layer(
                x,
                enc,
                padding_mask,
                incremental_state,
                self_attn_mask=self_attn_mask,
                self_attn_padding_mask=self_attn_padding_mask,
                need_attn=idx == aligned,
                need_head_weights=idx == aligned,
            )
            inner_states.append(x)
            if idx == aligned and layer_attn is not None:
                heads = layer_attn if alignment_heads is None else layer_attn[:alignment_heads]
                attn = heads.float().mean(dim=0).to(x)
        if self.layer_norm is not None:
            turned = is_batch_first(x)
            x = swap_batch_time(self.layer_norm(swap_batch_time(x, turned)), turned)
        x = x.transpose(0, 1)
        if self.project_out_dim is not None:
            x = self.project_out_dim(x)
        return x, {"attn": [attn], "inner_states": inner_states}

    def _embed(
        self,
        prev_output_tokens: Tensor,
        incremental_state: Optional[Dict[str, Dict[str, Optional[Tensor]]]],
    ) -> Tuple[Tensor, Tensor]:
        """Embed tokens ``(B, T)``; with a state only the last ones. Returns ``(B, T, C)`` and the tokens embedded."""
        # Embedding bags and character embedders want to view their input.
        tokens = (prev_output_tokens if incremental_state is None else prev_output_tokens[:, -1:]).contiguous()
        x = self.embed_scale * self.embed_tokens(tokens)
        if self.quant_noise is not None:
            x = self.quant_noise(x)
        if self.project_in_dim is not None:
            x = self.project_in_dim(x)
        if self.embed_positions is not None:
            # The whole prefix says at which position the last token is.
            positions = self.embed_positions(prev_output_tokens, incremental_state=incremental_state)
            x = x + (positions if incremental_state is None else positions[:, -1:])
        if self.layernorm_embedding is not None:
            x = self.layernorm_embedding(x)
        return self.dropout_module(x), tokens

    def output_layer(self, features: Tensor) -> Tensor:  # type: ignore[override]
        """Project features to the vocabulary; with adaptive softmax, the criterion does that and they stay."""
        if self.adaptive_softmax is None:
            return self.output_projection(features)
        return features

    def max_positions(self) -> int:
        """Longest target, in tokens."""
        if self.embed_positions is None:
            return self.max_target_positions
        return min(self.max_target_positions, self.embed_positions.max_positions)

    def buffered_future_mask(self, tensor: Tensor) -> Tensor:
        """The causal mask for ``(T, B, C)``: ``(T, T)`` with ``-inf`` above the diagonal. Do not change it in place."""
        if torch.jit.is_scripting():
            size = tensor.size(0)
            return torch.triu(torch.full([size, size], float("-inf"), device=tensor.device, dtype=tensor.dtype), 1)
        return future_mask(tensor.size(0), tensor)

    def upgrade_state_dict_named(self, state_dict: Dict[str, Any], name: str) -> Dict[str, Any]:
        """Bring an old checkpoint up to date.

        The output projection was once kept with the embedding (shared) or as ``embed_out``; up to version 2 there was
        no norm after the last layer.
        """
        projection = f"{name}.output_projection.weight"
        if self.adaptive_softmax is None and projection not in state_dict:
            if self.share_input_output_embed:
                if f"{name}.embed_tokens.weight" in state_dict:
                    state_dict[projection] = state_dict[f"{name}.embed_tokens.weight"]
            elif f"{name}.embed_out" in state_dict:
                state_dict[projection] = state_dict.pop(f"{name}.embed_out")
        version = state_dict.get(f"{name}.version", torch.tensor([1.0]))
        if utils.item(version[0]) <= 2:
            self.layer_norm = None
            self.normalize = False
            state_dict[f"{name}.version"] = torch.tensor([1.0])
        return state_dict


def _first(encoder_out: Optional[Dict[str, List[Tensor]]], name: str) -> Optional[Tensor]:
    """The one tensor in an entry of an encoder output, if there is any."""
    if encoder_out is None or len(encoder_out[name]) == 0:
        return None
    return encoder_out[name][0]


class TransformerDecoder(TransformerDecoderBase):
    """``TransformerDecoderBase`` from flat options (``args.decoder_embed_dim``)."""

    def __init__(
        self,
        args: Any,
        dictionary: Any,
        embed_tokens: Any,
        no_encoder_attn: bool = False,
        output_projection: Any = None,
    ) -> None:
        self.args = args
        super().__init__(
            TransformerConfig.from_namespace(args), dictionary, embed_tokens, no_encoder_attn=no_encoder_attn,
            output_projection=output_projection,
        )  # fmt: skip

    def build_output_projection(self, args: Any, dictionary: Any, embed_tokens: Any) -> None:
        """As in the base class, from flat options."""
        super().build_output_projection(TransformerConfig.from_namespace(args), dictionary, embed_tokens)

    def build_decoder_layer(self, args: Any, no_encoder_attn: bool = False) -> nn.Module:
        """As in the base class, from flat options."""
        return super().build_decoder_layer(TransformerConfig.from_namespace(args), no_encoder_attn=no_encoder_attn)


ends_with_output_layer(TransformerDecoderBase.forward, "features_only")
ends_with_output_layer(TransformerDecoderBase.output_layer)
