"""Transformer layers (Vaswani et al. 2017, sec. 3.1).

``TransformerEncoderLayerBase``  ``TransformerDecoderLayerBase``   built from a nested ``TransformerConfig``
``TransformerEncoderLayer``      ``TransformerDecoderLayer``       the same, built from flat options

Shapes in this file:  S = source length, T = target length, B = batch, C = embedding, H = heads
"""

from argparse import Namespace
from typing import Any, Dict, List, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fairseq import utils
from fairseq.compat.fast_path_weights import drop_from_layer
from fairseq.modules import fused
from fairseq.modules.fairseq_dropout import FairseqDropout
from fairseq.modules.layer_norm import LayerNorm
from fairseq.modules.multihead_attention import MultiheadAttention
from fairseq.modules.quant_noise import quant_noise

__all__ = [
    "TransformerDecoderLayer",
    "TransformerDecoderLayerBase",
    "TransformerEncoderLayer",
    "TransformerEncoderLayerBase",
]


def _activation_dropout(cfg: Any) -> float:
    # Old configurations know the same thing as relu_dropout.
    return float(cfg.activation_dropout or getattr(cfg, "relu_dropout", None) or 0.0)


class _Layer(nn.Module):
    """The hooks that both kinds of layers offer to subclasses."""

    def build_fc1(self, input_dim: int, output_dim: int, q_noise: float, qn_block_size: int) -> Any:
        """The first linear map of the feed-forward block; a hook for subclasses."""
        return quant_noise(nn.Linear(input_dim, output_dim), p=q_noise, block_size=qn_block_size)

    def build_fc2(self, input_dim: int, output_dim: int, q_noise: float, qn_block_size: int) -> Any:
        """The second linear map of the feed-forward block; a hook for subclasses."""
        return quant_noise(nn.Linear(input_dim, output_dim), p=q_noise, block_size=qn_block_size)

    def residual_connection(self, x: Tensor, residual: Tensor) -> Tensor:
        """How a block's output joins its input; a hook for subclasses."""
        return residual + x


class TransformerEncoderLayerBase(_Layer):
    """Self-attention and a feed-forward block.

    With ``cfg.encoder.normalize_before`` the input of each block is normalised, else (as in the paper) its output.

    Args:
        cfg: a nested ``TransformerConfig``.
        return_fc: make ``forward`` return the output of the feed-forward block too.
    """

    def __init__(self, cfg: Any, return_fc: bool = False) -> None:
        super().__init__()
        self.cfg, self.return_fc = cfg, return_fc
        self.embed_dim = cfg.encoder.embed_dim
        noise = cfg.quant_noise
        self.quant_noise, self.quant_noise_block_size = noise.pq, noise.pq_block_size
        self.self_attn = self.build_self_attention(self.embed_dim, cfg)
        export = bool(getattr(cfg, "export", False))
        self.self_attn_layer_norm = LayerNorm(self.embed_dim, export=export)
        self.dropout_module = FairseqDropout(cfg.dropout, module_name=self.__class__.__name__)
        self.activation_fn = utils.get_activation_fn(activation=str(cfg.activation_fn))
        self.activation_dropout_module = FairseqDropout(_activation_dropout(cfg), module_name=self.__class__.__name__)
        self.normalize_before = cfg.encoder.normalize_before
        ffn_dim = cfg.encoder.ffn_embed_dim
        self.fc1 = self.build_fc1(self.embed_dim, ffn_dim, self.quant_noise, self.quant_noise_block_size)
        self.fc2 = self.build_fc2(ffn_dim, self.embed_dim, self.quant_noise, self.quant_noise_block_size)
        self.final_layer_norm = LayerNorm(self.embed_dim, export=export)

    def build_self_attention(self, embed_dim: int, cfg: Any) -> Any:
        """The attention module; a hook for subclasses."""
        return MultiheadAttention(
            embed_dim, cfg.encoder.attention_heads, dropout=cfg.attention_dropout, self_attention=True,
            q_noise=self.quant_noise, qn_block_size=self.quant_noise_block_size,
            xformers_att_config=getattr(cfg.encoder, "xformers_att_config", None),
        )  # fmt: skip

    def _get_fc_rank(self, remove_num: int) -> List[int]:
        """The ``remove_num`` hidden units of the feed-forward block with the smallest weights."""
        importance = self.fc1.weight.detach().abs().sum(1) + self.fc1.bias.detach().abs()
        importance = importance + self.fc2.weight.detach().abs().sum(0)
        return sorted(importance.topk(remove_num, largest=False).indices.tolist())

    def _prune_fc_layer(self, remove_index: List[int]) -> None:
        """Take hidden units out of the feed-forward block, for good."""
        gone = set(remove_index)
        kept = torch.tensor([i for i in range(self.fc1.out_features) if i not in gone], device=self.fc1.weight.device)
        fc1 = nn.Linear(self.fc1.in_features, len(kept)).to(self.fc1.weight)
        fc2 = nn.Linear(len(kept), self.fc2.out_features).to(self.fc2.weight)
        fc1.weight = nn.Parameter(self.fc1.weight.detach()[kept].clone())
        fc1.bias = nn.Parameter(self.fc1.bias.detach()[kept].clone())
        fc2.weight = nn.Parameter(self.fc2.weight.detach()[:, kept].clone())
        fc2.bias = nn.Parameter(self.fc2.bias.detach().clone())
        self.fc1 = quant_noise(fc1, self.quant_noise, self.quant_noise_block_size)
        self.fc2 = quant_noise(fc2, self.quant_noise, self.quant_noise_block_size)

    def upgrade_state_dict_named(self, state_dict: Dict[str, Any], name: str) -> None:
        """Old checkpoints number the norms: ``layer_norms.0`` and ``layer_norms.1``; later ones hold weights twice."""
        _rename_norms(state_dict, name, {"0": "self_attn_layer_norm", "1": "final_layer_norm"})
        drop_from_layer(state_dict, name, self)

    def forward(self, x: Tensor, encoder_padding_mask: Optional[Tensor], attn_mask: Optional[Tensor] = None):  # type: ignore[no-untyped-def]
        """Run the layer.

        Args:
            x: ``(S, B, C)``.
            encoder_padding_mask: ``(B, S)``, true at padding.
            attn_mask: ``(T, S)``, non-zero or true where a query (row) must not see a key. Hidden scores get a large
                negative number, not minus infinity, so that a row may hide everything.

        Returns:
            ``(S, B, C)``; with ``return_fc`` the pair of it and the feed-forward output ``(S, B, C)``.
        """
        if attn_mask is not None:
            hidden = attn_mask.to(torch.bool)
            attn_mask = torch.zeros(hidden.size(), dtype=x.dtype, device=x.device).masked_fill(
                hidden, -1e8 if x.dtype == torch.float32 else -1e4
            )
        if not torch.jit.is_scripting():
            done = fused.encoder_layer(self, x, encoder_padding_mask, attn_mask)
            if done is not None:
                return done

        residual = x
        if self.normalize_before:
            x = self.self_attn_layer_norm(x)
        x, _ = self.self_attn(
            query=x, key=x, value=x, key_padding_mask=encoder_padding_mask, need_weights=False, attn_mask=attn_mask
        )
        x = self.dropout_module(x)
        x = self.residual_connection(x, residual)
        if not self.normalize_before:
            x = self.self_attn_layer_norm(x)

        residual = x
        if self.normalize_before:
            x = self.final_layer_norm(x)
        x = self.activation_dropout_module(self.activation_fn(self.fc1(x)))
        x = self.fc2(x)
        fc_result = x
        x = self.dropout_module(x)
        x = self.residual_connection(x, residual)
        if not self.normalize_before:
            x = self.final_layer_norm(x)
        if self.return_fc and not torch.jit.is_scripting():
            return x, fc_result
        return x


class TransformerEncoderLayer(TransformerEncoderLayerBase):
    """``TransformerEncoderLayerBase`` from flat options (``args.encoder_embed_dim``)."""

    def __init__(self, args: Any) -> None:
        super().__init__(_nested(args))
        self.args = args

    def build_self_attention(self, embed_dim: int, args: Any) -> Any:
        """As in the base class, from flat options."""
        return super().build_self_attention(embed_dim, _nested(args))


class TransformerDecoderLayerBase(_Layer):
    """Self-attention, attention to the encoder and a feed-forward block.

    Args:
        cfg: a nested ``TransformerConfig``; the extra options ``scale_attn``, ``scale_heads``, ``scale_fc`` and
            ``scale_resids`` (NormFormer, Shleifer et al. 2021) are looked for on it.
        no_encoder_attn: leave the attention to the encoder out (language models).
        add_bias_kv, add_zero_attn: see :class:`MultiheadAttention`.
    """

    def __init__(
        self, cfg: Any, no_encoder_attn: bool = False, add_bias_kv: bool = False, add_zero_attn: bool = False
    ) -> None:
        super().__init__()
        self.embed_dim = cfg.decoder.embed_dim
        self.dropout_module = FairseqDropout(cfg.dropout, module_name=self.__class__.__name__)
        self.quant_noise = cfg.quant_noise.pq
        self.quant_noise_block_size = cfg.quant_noise.pq_block_size
        self.cross_self_attention = cfg.cross_self_attention
        export = bool(getattr(cfg, "export", False))

        self.self_attn = self.build_self_attention(
            self.embed_dim, cfg, add_bias_kv=add_bias_kv, add_zero_attn=add_zero_attn
        )
        self.attn_ln = LayerNorm(self.embed_dim) if getattr(cfg, "scale_attn", False) else None
        self.nh = cfg.decoder.attention_heads
        self.head_dim = int(self.embed_dim / self.nh)
        self.c_attn = nn.Parameter(torch.ones(self.nh)) if getattr(cfg, "scale_heads", False) else None

        self.activation_fn = utils.get_activation_fn(activation=str(cfg.activation_fn))
        self.activation_dropout_module = FairseqDropout(_activation_dropout(cfg), module_name=self.__class__.__name__)
        self.normalize_before = cfg.decoder.normalize_before
        self.self_attn_layer_norm = LayerNorm(self.embed_dim, export=export)

        self.encoder_attn: Any = None
        self.encoder_attn_layer_norm: Any = None
        if not no_encoder_attn:
            self.encoder_attn = self.build_encoder_attention(self.embed_dim, cfg)
            self.encoder_attn_layer_norm = LayerNorm(self.embed_dim, export=export)

        ffn_dim = cfg.decoder.ffn_embed_dim
        self.ffn_layernorm = LayerNorm(ffn_dim) if getattr(cfg, "scale_fc", False) else None
        self.w_resid = nn.Parameter(torch.ones(self.embed_dim)) if getattr(cfg, "scale_resids", False) else None
        self.fc1 = self.build_fc1(self.embed_dim, ffn_dim, self.quant_noise, self.quant_noise_block_size)
        self.fc2 = self.build_fc2(ffn_dim, self.embed_dim, self.quant_noise, self.quant_noise_block_size)
        self.final_layer_norm = LayerNorm(self.embed_dim, export=export)
        self.need_attn = True
        self.onnx_trace = False

    def build_self_attention(
        self, embed_dim: int, cfg: Any, add_bias_kv: bool = False, add_zero_attn: bool = False
    ) -> Any:
        """The attention to the prefix; a hook for subclasses."""
        return MultiheadAttention(
            embed_dim, cfg.decoder.attention_heads, dropout=cfg.attention_dropout, add_bias_kv=add_bias_kv,
            add_zero_attn=add_zero_attn, self_attention=not cfg.cross_self_attention, q_noise=self.quant_noise,
            qn_block_size=self.quant_noise_block_size,
            xformers_att_config=getattr(cfg.decoder, "xformers_att_config", None),
        )  # fmt: skip

    def build_encoder_attention(self, embed_dim: int, cfg: Any) -> Any:
        """The attention to the encoder; a hook for subclasses."""
        return MultiheadAttention(
            embed_dim, cfg.decoder.attention_heads, kdim=cfg.encoder.embed_dim, vdim=cfg.encoder.embed_dim,
            dropout=cfg.attention_dropout, encoder_decoder_attention=True, q_noise=self.quant_noise,
            qn_block_size=self.quant_noise_block_size,
            xformers_att_config=getattr(cfg.encoder, "xformers_att_config", None),
        )  # fmt: skip

    def prepare_for_onnx_export_(self) -> None:
        """Return the state of the self-attention from ``forward`` as well."""
        self.onnx_trace = True

    def forward(
        self, x: Tensor, encoder_out: Optional[Tensor] = None, encoder_padding_mask: Optional[Tensor] = None,
        incremental_state: Optional[Dict[str, Dict[str, Optional[Tensor]]]] = None,
        prev_self_attn_state: Optional[List[Tensor]] = None, prev_attn_state: Optional[List[Tensor]] = None,
        self_attn_mask: Optional[Tensor] = None, self_attn_padding_mask: Optional[Tensor] = None,
        need_attn: bool = False, need_head_weights: bool = False,
    ) -> Tuple[Tensor, Optional[Tensor], Optional[List[Tensor]]]:  # fmt: skip
        """Run the layer.

        Args:
            x: ``(T, B, C)``.
            encoder_out: ``(S, B, C)``, and ``encoder_padding_mask`` ``(B, S)``, true at padding.
            incremental_state: caches of incremental decoding.
            prev_self_attn_state, prev_attn_state: caches to put in: key, value and, if there is one, padding mask.
            self_attn_mask: ``(T, T)``, the causal mask; ``self_attn_padding_mask``: ``(B, T)``, true at padding.
            need_attn: return attention to the encoder, averaged over heads.
            need_head_weights: return it for every head; implies ``need_attn``.

        Returns:
            ``(x, attn, state)``: ``(T, B, C)``; ``(B, T, S)``, ``(H, B, T, S)`` or ``None``; and, when traced for ONNX
            with a state, key, value and padding mask of the self-attention, else ``None``.
        """
        need_attn = need_attn or need_head_weights
        attn: Optional[Tensor] = None
        done: Optional[Tuple[Tensor, Optional[Tensor]]] = None
        if not torch.jit.is_scripting():
            done = fused.decoder_layer(
                self, x, encoder_out, encoder_padding_mask, incremental_state, prev_self_attn_state, prev_attn_state,
                self_attn_mask, self_attn_padding_mask, need_attn, need_head_weights,
            )  # fmt: skip
        if done is not None:
            x, attn = done
        else:
            x, attn = self._self_attention_block(
                x, encoder_out, encoder_padding_mask, incremental_state, prev_self_attn_state, self_attn_mask,
                self_attn_padding_mask,
            )  # fmt: skip
            if self.encoder_attn is not None and encoder_out is not None:
                x, attn = self._encoder_attention_block(
                    x, encoder_out, encoder_padding_mask, incremental_state, prev_attn_state, need_attn,
                    need_head_weights,
                )  # fmt: skip
            x = self._feed_forward_block(x)

        if self.onnx_trace and incremental_state is not None:
            return x, attn, self._self_attn_state(incremental_state)
        return x, attn, None

    def _self_attention_block(
        self, x: Tensor, encoder_out: Optional[Tensor], encoder_padding_mask: Optional[Tensor],
        incremental_state: Optional[Dict[str, Dict[str, Optional[Tensor]]]],
        prev_self_attn_state: Optional[List[Tensor]], self_attn_mask: Optional[Tensor],
        self_attn_padding_mask: Optional[Tensor],
    ) -> Tuple[Tensor, Optional[Tensor]]:  # fmt: skip
        residual = x
        if self.normalize_before:
            x = self.self_attn_layer_norm(x)
        x, attn = self._attend_to_prefix(
            x, encoder_out, encoder_padding_mask, incremental_state, prev_self_attn_state, self_attn_mask,
            self_attn_padding_mask,
        )  # fmt: skip
        if self.c_attn is not None:
            x = (x.unflatten(2, (self.nh, self.head_dim)) * self.c_attn.unsqueeze(1)).flatten(2)
        if self.attn_ln is not None:
            x = self.attn_ln(x)
        x = self.dropout_module(x)
        x = self.residual_connection(x, residual)
        if not self.normalize_before:
            x = self.self_attn_layer_norm(x)
        return x, attn

    def _encoder_attention_block(
        self, x: Tensor, encoder_out: Tensor, encoder_padding_mask: Optional[Tensor],
        incremental_state: Optional[Dict[str, Dict[str, Optional[Tensor]]]],
        prev_attn_state: Optional[List[Tensor]], need_attn: bool, need_head_weights: bool,
    ) -> Tuple[Tensor, Optional[Tensor]]:  # fmt: skip
        residual = x
        if self.normalize_before:
            x = self.encoder_attn_layer_norm(x)
        x, attn = self._attend_to_encoder(
            x, encoder_out, encoder_padding_mask, incremental_state, prev_attn_state, need_attn, need_head_weights
        )
        x = self.dropout_module(x)
        x = self.residual_connection(x, residual)
        if not self.normalize_before:
            x = self.encoder_attn_layer_norm(x)
        return x, attn

    def _feed_forward_block(self, x: Tensor) -> Tensor:
        residual = x
        if self.normalize_before:
            x = self.final_layer_norm(x)
        x = self.activation_dropout_module(self.activation_fn(self.fc1(x)))
        if self.ffn_layernorm is not None:
            x = self.ffn_layernorm(x)
        x = self.fc2(x)
        x = self.dropout_module(x)
        if self.w_resid is not None:
            residual = self.w_resid * residual
        x = self.residual_connection(x, residual)
        if not self.normalize_before:
            x = self.final_layer_norm(x)
        return x

    def _attend_to_prefix(
        self, query: Tensor, encoder_out: Optional[Tensor], encoder_padding_mask: Optional[Tensor],
        incremental_state: Optional[Dict[str, Dict[str, Optional[Tensor]]]],
        prev_self_attn_state: Optional[List[Tensor]], self_attn_mask: Optional[Tensor],
        self_attn_padding_mask: Optional[Tensor],
    ) -> Tuple[Tensor, Optional[Tensor]]:  # fmt: skip
        if prev_self_attn_state is not None:
            assert incremental_state is not None
            self.self_attn._set_input_buffer(incremental_state, _as_buffer(prev_self_attn_state))
        keys, self_attn_mask, self_attn_padding_mask = self._keys(
            query, encoder_out, encoder_padding_mask, incremental_state, self_attn_mask, self_attn_padding_mask
        )
        return self.self_attn(
            query=query, key=keys, value=keys, key_padding_mask=self_attn_padding_mask,
            incremental_state=incremental_state, need_weights=False, attn_mask=self_attn_mask,
        )  # fmt: skip

    def _keys(
        self,
        x: Tensor,
        encoder_out: Optional[Tensor],
        encoder_padding_mask: Optional[Tensor],
        incremental_state: Optional[Dict[str, Dict[str, Optional[Tensor]]]],
        mask: Optional[Tensor],
        padding_mask: Optional[Tensor],
    ) -> Tuple[Tensor, Optional[Tensor], Optional[Tensor]]:
        """What the self-attention looks at; with ``cross_self_attention`` the encoder output comes first."""
        if not self.cross_self_attention or encoder_out is None:
            return x, mask, padding_mask
        if incremental_state is not None and "prev_key" in self.self_attn._get_input_buffer(incremental_state):
            # The encoder output is part of the cached keys.
            return x, mask, padding_mask
        src_len = encoder_out.size(0)
        if mask is not None:
            mask = F.pad(mask, (src_len, 0))
        if padding_mask is not None or encoder_padding_mask is not None:
            if encoder_padding_mask is None:
                encoder_padding_mask = torch.zeros((x.size(1), src_len), dtype=torch.bool, device=x.device)
            if padding_mask is None:
                padding_mask = torch.zeros((x.size(1), x.size(0)), dtype=torch.bool, device=x.device)
            padding_mask = torch.cat([encoder_padding_mask, padding_mask], dim=1)
        return torch.cat([encoder_out, x], dim=0), mask, padding_mask

    def _attend_to_encoder(
        self, query: Tensor, encoder_out: Tensor, encoder_padding_mask: Optional[Tensor],
        incremental_state: Optional[Dict[str, Dict[str, Optional[Tensor]]]],
        prev_attn_state: Optional[List[Tensor]], need_attn: bool, need_head_weights: bool,
    ) -> Tuple[Tensor, Optional[Tensor]]:  # fmt: skip
        if prev_attn_state is not None:
            assert incremental_state is not None
            self.encoder_attn._set_input_buffer(incremental_state, _as_buffer(prev_attn_state))
        return self.encoder_attn(
            query=query, key=encoder_out, value=encoder_out, key_padding_mask=encoder_padding_mask,
            incremental_state=incremental_state, static_kv=True,
            need_weights=need_attn or (not self.training and self.need_attn), need_head_weights=need_head_weights,
        )  # fmt: skip

    def _self_attn_state(self, incremental_state: Dict[str, Dict[str, Optional[Tensor]]]) -> List[Tensor]:
        saved = self.self_attn._get_input_buffer(incremental_state)
        state: List[Tensor] = []
        for name in ("prev_key", "prev_value", "prev_key_padding_mask"):
            entry = saved[name] if name in saved else None
            if entry is not None:
                state.append(entry)
        return state

    def make_generation_fast_(self, need_attn: bool = False, **kwargs: Any) -> None:
        """Compute attention weights in generation only if ``need_attn``."""
        self.need_attn = need_attn

    def upgrade_state_dict_named(self, state_dict: Dict[str, Any], name: str) -> None:
        """Old checkpoints number the norms: ``layer_norms.0`` to ``layer_norms.2``."""
        names = ("self_attn_layer_norm", "encoder_attn_layer_norm", "final_layer_norm")
        _rename_norms(state_dict, name, {str(i): new for i, new in enumerate(names)})


# The fused twins ask whether a subclass overrides a method of these.
TransformerEncoderLayerBase.written_as = TransformerEncoderLayerBase  # type: ignore[attr-defined]
TransformerDecoderLayerBase.written_as = TransformerDecoderLayerBase  # type: ignore[attr-defined]


class TransformerDecoderLayer(TransformerDecoderLayerBase):
    """``TransformerDecoderLayerBase`` from flat options (``args.decoder_embed_dim``)."""

    def __init__(
        self, args: Any, no_encoder_attn: bool = False, add_bias_kv: bool = False, add_zero_attn: bool = False
    ) -> None:
        super().__init__(
            _nested(args), no_encoder_attn=no_encoder_attn, add_bias_kv=add_bias_kv, add_zero_attn=add_zero_attn
        )
        self.args = args

    def build_self_attention(
        self, embed_dim: int, args: Any, add_bias_kv: bool = False, add_zero_attn: bool = False
    ) -> Any:
        """As in the base class, from flat options."""
        return super().build_self_attention(
            embed_dim, _nested(args), add_bias_kv=add_bias_kv, add_zero_attn=add_zero_attn
        )

    def build_encoder_attention(self, embed_dim: int, args: Any) -> Any:
        """As in the base class, from flat options."""
        return super().build_encoder_attention(embed_dim, _nested(args))


def _nested(args: Any) -> Any:
    """Flat options as a nested config."""
    # Here, not above: the configuration belongs to the model family, which is built from these layers.
    from fairseq.models.transformer.transformer_config import TransformerConfig

    return TransformerConfig.from_namespace(args if args is not None else Namespace())


def _as_buffer(state: List[Tensor]) -> Dict[str, Optional[Tensor]]:
    """Key, value and perhaps padding mask, as an attention module caches them."""
    buffer: Dict[str, Optional[Tensor]] = {"prev_key": state[0], "prev_value": state[1]}
    if len(state) >= 3:
        buffer["prev_key_padding_mask"] = state[2]
    return buffer


def _rename_norms(state_dict: Dict[str, Any], name: str, names: Dict[str, str]) -> None:
    prefix = name + "." if name else ""
    for old, new in names.items():
        for kind in ("weight", "bias"):
            value = state_dict.pop(f"{prefix}layer_norms.{old}.{kind}", None)
            if value is not None:
                state_dict[f"{prefix}{new}.{kind}"] = value
