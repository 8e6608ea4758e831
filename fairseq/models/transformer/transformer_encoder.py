"""The transformer encoder (Vaswani et al. 2017, sec. 3.1).

Shapes in this file:  S = source length, B = batch, C = embedding
"""

from typing import Any, Dict, List, Optional, Tuple

import torch
from torch import Tensor, nn

from fairseq import utils
from fairseq.models.fairseq_encoder import FairseqEncoder
from fairseq.models.transformer._parts import embedding_scale, has_padding, padding_mask_of, plain_name, wrap_layer
from fairseq.models.transformer.transformer_config import TransformerConfig
from fairseq.modules import fused
from fairseq.modules.fairseq_dropout import FairseqDropout
from fairseq.modules.fused.layout import is_batch_first, swap_batch_time
from fairseq.modules.layer_drop import LayerDropModuleList
from fairseq.modules.layer_norm import LayerNorm
from fairseq.modules.positional_embedding import PositionalEmbedding
from fairseq.modules.quant_noise import quant_noise
from fairseq.modules.transformer_layer import TransformerEncoderLayerBase

__all__ = ["TransformerEncoder", "TransformerEncoderBase", "module_name_fordropout"]


def module_name_fordropout(module_name: str) -> str:
    """The name by which ``--retain-dropout-modules`` selects an encoder class."""
    return plain_name(module_name, "TransformerEncoderBase", "TransformerEncoder")


class TransformerEncoderBase(FairseqEncoder):
    """A stack of self-attention layers over token embeddings.

    Args:
        cfg: a nested :class:`TransformerConfig`.
        dictionary: source dictionary.
        embed_tokens: token embedding; its width may be that of the layers only.
        return_fc: keep the outputs of the feed-forward blocks (entry ``fc_results`` of the output).
    """

    def __init__(self, cfg: Any, dictionary: Any, embed_tokens: Any, return_fc: bool = False) -> None:
        self.cfg = cfg
        super().__init__(dictionary)
        self.register_buffer("version", torch.tensor([3.0]))
        self.dropout_module = FairseqDropout(cfg.dropout, module_name=module_name_fordropout(self.__class__.__name__))
        self.embed_tokens = embed_tokens
        self.padding_idx, embed_dim = embed_tokens.padding_idx, embed_tokens.embedding_dim
        self.max_source_positions = cfg.max_source_positions
        self.encoder_layerdrop = cfg.encoder.layerdrop
        self.return_fc = return_fc
        self.embed_scale = embedding_scale(cfg, embed_dim)
        self.embed_positions = (
            PositionalEmbedding(cfg.max_source_positions, embed_dim, self.padding_idx, learned=cfg.encoder.learned_pos)
            if not cfg.no_token_positional_embeddings
            else None
        )
        export = bool(getattr(cfg, "export", False))
        self.layernorm_embedding = LayerNorm(embed_dim, export=export) if cfg.layernorm_embedding else None
        self.quant_noise = None
        if not cfg.adaptive_input and cfg.quant_noise.pq > 0:
            self.quant_noise = quant_noise(
                nn.Linear(embed_dim, embed_dim, bias=False), cfg.quant_noise.pq, cfg.quant_noise.pq_block_size
            )
        layers = LayerDropModuleList(p=self.encoder_layerdrop) if self.encoder_layerdrop > 0.0 else nn.ModuleList([])
        self.layers = layers
        self.layers.extend([self.build_encoder_layer(cfg) for _ in range(cfg.encoder.layers)])
        self.num_layers = len(self.layers)
        self.layer_norm = LayerNorm(embed_dim, export=export) if cfg.encoder.normalize_before else None

    def build_encoder_layer(self, cfg: Any) -> nn.Module:
        """Build one layer; a hook for subclasses."""
        return wrap_layer(TransformerEncoderLayerBase(cfg, return_fc=self.return_fc), cfg)

    def forward_embedding(self, src_tokens: Tensor, token_embedding: Optional[Tensor] = None) -> Tuple[Tensor, Tensor]:
        """Embed tokens ``(B, S)``.

        Args:
            token_embedding: ``(B, S, C)``, to use instead of looking the tokens up.

        Returns:
            ``(x, embedding)``, both ``(B, S, C)``: with positions, norm and dropout, and the scaled embedding alone.
        """
        looked_up = self.embed_tokens(src_tokens) if token_embedding is None else token_embedding
        embed = self.embed_scale * looked_up
        x = embed if self.embed_positions is None else embed + self.embed_positions(src_tokens)
        if self.layernorm_embedding is not None:
            x = self.layernorm_embedding(x)
        dropped = self.dropout_module(x)
        return (dropped if self.quant_noise is None else self.quant_noise(dropped)), embed

    def forward(  # type: ignore[override]
        self, src_tokens: Tensor, src_lengths: Optional[Tensor] = None, return_all_hiddens: bool = False,
        token_embeddings: Optional[Tensor] = None,
    ) -> Dict[str, List[Tensor]]:  # fmt: skip
        """Encode a batch.

        Args:
            src_tokens: ``(B, S)``; padding on either side.
            src_lengths: not used, padding is told from the tokens.
            return_all_hiddens: also return the output of every layer.
            token_embeddings: ``(B, S, C)``, to use instead of looking the tokens up.

        Returns:
            A dictionary of lists:

            * ``encoder_out``: one ``(S, B, C)``;
            * ``encoder_padding_mask``: one ``(B, S)``, bool, true at padding;
            * ``encoder_embedding``: one ``(B, S, C)``, the scaled embedding without positions;
            * ``encoder_states``: input and outputs of all layers, ``(S, B, C)`` each, if asked for;
            * ``fc_results``: per layer the output of its feed-forward block, or ``None``, if asked for;
            * ``src_tokens``: empty;
            * ``src_lengths``: one ``(B, 1)``, int32.
        """
        return self.forward_scriptable(src_tokens, src_lengths, return_all_hiddens, token_embeddings)

    # TorchScript knows no super(), so a subclass calls this name to extend the above.
    def forward_scriptable(
        self,
        src_tokens: Tensor,
        src_lengths: Optional[Tensor] = None,
        return_all_hiddens: bool = False,
        token_embeddings: Optional[Tensor] = None,
    ) -> Dict[str, List[Tensor]]:
        """See :meth:`forward`."""
        encoder_padding_mask = padding_mask_of(src_tokens, self.padding_idx)
        x, encoder_embedding = self.forward_embedding(src_tokens, token_embeddings)
        padded = has_padding(encoder_padding_mask, look=False)
        if padded:
            x = x * (1 - encoder_padding_mask.unsqueeze(-1).type_as(x))
        x = x.transpose(0, 1)
        if not torch.jit.is_scripting():  # noqa: SIM102  what follows must stay hidden from the script compiler
            if not fused.take_batch_first(self.layers):
                x = x.contiguous()

        encoder_states: List[Tensor] = []
        fc_results: List[Optional[Tensor]] = []
        if return_all_hiddens:
            encoder_states.append(x)
        for layer in self.layers:
            result = layer(x, encoder_padding_mask=encoder_padding_mask if padded else None)
            fc_result: Optional[Tensor] = None
            if torch.jit.is_scripting():
                x = result
            else:
                x, fc_result = result if isinstance(result, tuple) else (result, None)
            if return_all_hiddens and not torch.jit.is_scripting():
                encoder_states.append(x)
                fc_results.append(fc_result)
        if self.layer_norm is not None:
            turned = is_batch_first(x)
            x = swap_batch_time(self.layer_norm(swap_batch_time(x, turned)), turned)

        lengths = src_tokens.ne(self.padding_idx).sum(dim=1, dtype=torch.int32).reshape(-1, 1).contiguous()
        output = {
            # Contiguous, as decoders of plugins may want to view it.
            "encoder_out": [x.contiguous()],
            "encoder_padding_mask": [encoder_padding_mask],
            "encoder_embedding": [encoder_embedding],
            "encoder_states": encoder_states,
            "src_tokens": torch.jit.annotate(List[Tensor], []),
            "src_lengths": [lengths],
        }
        if not torch.jit.is_scripting():
            output["fc_results"] = fc_results  # type: ignore[assignment]
        return output

    @torch.jit.export
    def reorder_encoder_out(self, encoder_out: Dict[str, List[Tensor]], new_order: Tensor) -> Dict[str, List[Tensor]]:
        """Rearrange (or repeat) the sentences of an output; ``new_order`` ``(new batch,)`` indexes the old batch."""
        return self._reorder_encoder_out(encoder_out, new_order)

    def _reorder_encoder_out(self, encoder_out: Dict[str, List[Tensor]], new_order: Tensor) -> Dict[str, List[Tensor]]:
        return {
            "encoder_out": _select(encoder_out["encoder_out"], 1, new_order),
            "encoder_padding_mask": _select(encoder_out["encoder_padding_mask"], 0, new_order),
            "encoder_embedding": _select(encoder_out["encoder_embedding"], 0, new_order),
            "encoder_states": _select(encoder_out["encoder_states"], 1, new_order),
            "src_tokens": _select(encoder_out["src_tokens"], 0, new_order),
            "src_lengths": _select(encoder_out["src_lengths"], 0, new_order),
        }

    def max_positions(self) -> int:
        """Longest source, in tokens."""
        if self.embed_positions is None:
            return self.max_source_positions
        return min(self.max_source_positions, self.embed_positions.max_positions)

    def upgrade_state_dict_named(self, state_dict: Dict[str, Any], name: str) -> Dict[str, Any]:
        """Bring an old checkpoint up to date: before version 2 there was no norm after the last layer."""
        version = state_dict.get(f"{name}.version", torch.tensor([1.0]))
        if utils.item(version[0]) < 2:
            self.layer_norm = None
            self.normalize = False
            state_dict[f"{name}.version"] = torch.tensor([1.0])
        return state_dict


def _select(tensors: List[Tensor], dim: int, order: Tensor) -> List[Tensor]:
    return [tensor.index_select(dim, order) for tensor in tensors]


class TransformerEncoder(TransformerEncoderBase):
    """``TransformerEncoderBase`` from flat options (``args.encoder_embed_dim``)."""

    def __init__(self, args: Any, dictionary: Any, embed_tokens: Any, return_fc: bool = False) -> None:
        self.args = args
        super().__init__(TransformerConfig.from_namespace(args), dictionary, embed_tokens, return_fc=return_fc)

    def build_encoder_layer(self, args: Any) -> nn.Module:
        """As in the base class, from flat options."""
        return super().build_encoder_layer(TransformerConfig.from_namespace(args))
