"""A transformer decoder layer that attends to two encoders.

The drop-net trick, which leaves out one of two parallel attentions at random, is that of Zhu et al. 2020
("Incorporating BERT into neural machine translation").

Shapes in this file:  T = target length, S = length of an encoder output, B = batch, C = width, H = heads
"""

from __future__ import annotations

import random
from typing import Any, Dict, List, Optional, Tuple

from torch import Tensor

from fairseq.modules.layer_norm import LayerNorm
from fairseq.modules.transformer_layer import TransformerDecoderLayerBase, _as_buffer

__all__ = ["AugTransformerDecoderLayerBase"]

State = Optional[Dict[str, Dict[str, Optional[Tensor]]]]


class AugTransformerDecoderLayerBase(TransformerDecoderLayerBase):
    """A decoder layer with ``encoder_attn`` to one encoder and ``encoder_attn2`` to another.

    Args:
        cfg, add_bias_kv, add_zero_attn: as in the base class.
        encoder_attn_merge_type: ``sequential``, one block after the other, each with a norm of its own; ``parallel``,
            both from the same input, with one norm.
        dropnet_ratio: with ``parallel``, the probability that a training step uses one of the two attentions only.

    Raises:
        ValueError: another merge type, or a ratio that is no probability.
    """

    def __init__(
        self,
        cfg: Any,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        encoder_attn_merge_type: str = "sequential",
        dropnet_ratio: float = 0.0,
    ) -> None:
        if encoder_attn_merge_type not in ("sequential", "parallel"):
            raise ValueError(f"encoder_attn_merge_type {encoder_attn_merge_type}: expected sequential or parallel")
        if not 0 <= dropnet_ratio <= 1:
            raise ValueError(f"dropnet_ratio must be in [0, 1], got {dropnet_ratio}")
        super().__init__(cfg, no_encoder_attn=False, add_bias_kv=add_bias_kv, add_zero_attn=add_zero_attn)
        self.encoder_attn_merge_type = encoder_attn_merge_type
        self.dropnet_ratio = dropnet_ratio
        self.encoder_attn2 = self.build_encoder_attention(self.embed_dim, cfg)
        self.encoder_attn_layer_norm2: Any = None
        if encoder_attn_merge_type == "sequential":
            self.encoder_attn_layer_norm2 = LayerNorm(self.embed_dim, export=bool(getattr(cfg, "export", False)))

    def get_dropnet_ratio(self) -> Tuple[float, float]:
        """The weights of the two attentions at this step: both halves, or in training sometimes one alone."""
        if self.training and self.dropnet_ratio > 0:
            draw = random.random()
            if draw < self.dropnet_ratio / 2:
                return 1.0, 0.0
            if draw > 1 - self.dropnet_ratio / 2:
                return 0.0, 1.0
        return 0.5, 0.5

    def forward(  # type: ignore[override]
        self, x: Tensor, encoder_out: Optional[Tensor] = None, encoder_padding_mask: Optional[Tensor] = None,
        encoder_out_aug: Optional[Tensor] = None, encoder_padding_mask2: Optional[Tensor] = None,
        incremental_state: State = None, prev_self_attn_state: Optional[List[Tensor]] = None,
        prev_attn_state: Optional[List[Tensor]] = None, self_attn_mask: Optional[Tensor] = None,
        self_attn_padding_mask: Optional[Tensor] = None, need_attn: bool = False, need_head_weights: bool = False,
    ) -> Tuple[Tensor, Optional[Tensor], Optional[Tensor], Optional[List[Tensor]]]:  # fmt: skip
        """Run the layer.

        Args:
            x: ``(T, B, C)``.
            encoder_out, encoder_out_aug: the two encoder outputs, ``(S, B, C)`` each, of lengths of their own; one that
                is ``None`` is left out.
            encoder_padding_mask, encoder_padding_mask2: ``(B, S)``, true at padding.
            incremental_state, prev_self_attn_state, prev_attn_state, self_attn_mask, self_attn_padding_mask: as in the
                base class; ``prev_attn_state`` belongs to ``encoder_attn``.
            need_attn, need_head_weights: as in the base class.

        Returns:
            ``(x, attn, attn2, state)``: ``(T, B, C)``; the attention to each encoder, ``(B, T, S)`` or ``(H, B, T, S)``
            or ``None``; ``state`` as in the base class.
        """
        need_attn = need_attn or need_head_weights
        x, _ = self._self_attention_block(
            x, encoder_out, encoder_padding_mask, incremental_state, prev_self_attn_state, self_attn_mask,
            self_attn_padding_mask,
        )  # fmt: skip
        if prev_attn_state is not None:
            assert incremental_state is not None
            self.encoder_attn._set_input_buffer(incremental_state, _as_buffer(prev_attn_state))
        parts = [
            (self.encoder_attn, encoder_out, encoder_padding_mask),
            (self.encoder_attn2, encoder_out_aug, encoder_padding_mask2),
        ]
        found: List[Optional[Tensor]] = [None, None]
        if self.encoder_attn_merge_type == "sequential":
            for i, norm in enumerate((self.encoder_attn_layer_norm, self.encoder_attn_layer_norm2)):
                if parts[i][1] is not None:
                    query = norm(x) if self.normalize_before else x
                    y, found[i] = self._look(*parts[i], query, incremental_state, need_attn, need_head_weights)
                    x = self._merge(y, x, norm)
        elif encoder_out is not None or encoder_out_aug is not None:
            norm = self.encoder_attn_layer_norm
            query = norm(x) if self.normalize_before else x
            seen = []
            for i, part in enumerate(parts):
                if part[1] is not None:
                    y, found[i] = self._look(*part, query, incremental_state, need_attn, need_head_weights)
                    seen.append(y)
            if len(seen) == 2:
                first, second = self.get_dropnet_ratio()
                y = first * seen[0] + second * seen[1]
            x = self._merge(y, x, norm)
        x = self._feed_forward_block(x)
        state = None
        if self.onnx_trace and incremental_state is not None:
            state = self._self_attn_state(incremental_state)
        return x, found[0], found[1], state

    def _look(
        self, attention: Any, memory: Any, padding_mask: Optional[Tensor], query: Tensor, incremental_state: State,
        need_attn: bool, need_head_weights: bool,
    ) -> Tuple[Tensor, Optional[Tensor]]:  # fmt: skip
        found: Tuple[Tensor, Optional[Tensor]] = attention(
            query=query, key=memory, value=memory, key_padding_mask=padding_mask,
            incremental_state=incremental_state, static_kv=True,
            need_weights=need_attn or (not self.training and self.need_attn), need_head_weights=need_head_weights,
        )  # fmt: skip
        return found

    def _merge(self, x: Tensor, residual: Tensor, norm: Any) -> Tensor:
        joined: Tensor = self.residual_connection(self.dropout_module(x), residual)
        return joined if self.normalize_before else norm(joined)
