"""Multi-head attention (Vaswani et al. 2017, sec. 3.2.2), for self-attention and attention to an encoder.

Shapes in this file:  B = batch, H = heads, T = queries, S = keys, C = embedding, D = C / H.  Inputs and outputs are
time-first, ``(T, B, C)``, and outputs lie in memory as the queries do.  With a beam, K = B / beam is the number of
sentences whose keys the hypotheses share.
"""

import math
from typing import Any, Dict, List, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fairseq.models.fairseq_incremental_decoder import FairseqIncrementalDecoder
from fairseq.modules.attention_masks import is_future_mask, merge
from fairseq.modules.fairseq_dropout import FairseqDropout
from fairseq.modules.fused.layout import acts_on_rows, is_batch_first, swap_batch_time
from fairseq.modules.quant_noise import quant_noise

__all__ = ["MultiheadAttention"]


def _mask_for_xformers(mask: Tensor, to_dtype: Optional[torch.dtype] = None) -> Tensor:
    """Turn a mask of this module into one for the xFormers library, where true means that a position is seen.

    Args:
        mask: floating point: added to the scores; boolean or integer: true where a position is hidden. Any shape.
        to_dtype: wanted type, floating point for a mask that is added, else one that is true where a position is seen;
            ``None`` for the type of ``mask``.
    """
    dtype = mask.dtype if to_dtype is None else to_dtype
    if mask.is_floating_point() and dtype.is_floating_point:
        return mask.to(dtype)
    hidden = mask < 0 if mask.is_floating_point() else mask.bool()
    if dtype.is_floating_point:
        return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(hidden, -math.inf)
    return (~hidden).to(dtype)


class MultiheadAttention(FairseqIncrementalDecoder):
    """Scaled dot-product attention in several heads, with the caches that incremental decoding needs.

    Runs on ``torch.nn.functional.scaled_dot_product_attention`` unless someone wants to see the weights.

    Args:
        embed_dim: C, of queries and outputs.
        num_heads: H; must divide ``embed_dim``.
        kdim, vdim: width of keys and values, if not ``embed_dim``.
        dropout: on attention weights.
        bias: whether the projections have biases.
        add_bias_kv: append a learned key and value that every query may attend to.
        add_zero_attn: append a key and value of zeros.
        self_attention: keys and values are made of the query.
        encoder_decoder_attention: keys and values are made of an encoder output, which may be cached.
        dictionary: kept for interface compatibility.
        q_noise, qn_block_size: quantisation noise on the projections.
        xformers_att_config, xformers_blocksparse_layout, xformers_blocksparse_blocksize: refused; the block-sparse
            kernels of xFormers are not supported.

    Raises:
        AssertionError: sizes that do not fit, or self-attention with other widths for keys or values.
        NotImplementedError: an xFormers configuration is given.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        kdim: Optional[int] = None,
        vdim: Optional[int] = None,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        self_attention: bool = False,
        encoder_decoder_attention: bool = False,
        dictionary: Any = None,
        q_noise: float = 0.0,
        qn_block_size: int = 8,
        xformers_att_config: Optional[str] = None,
        xformers_blocksparse_layout: Optional[Tensor] = None,
        xformers_blocksparse_blocksize: Optional[int] = 16,
    ) -> None:
        super().__init__(dictionary)
        if xformers_att_config is not None or xformers_blocksparse_layout is not None:
            raise NotImplementedError(
                "attention of the xFormers library is not supported: leave --encoder-xformers-att-config and "
                "--decoder-xformers-att-config out; PyTorch's own fused attention is used"
            )
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.qkv_same_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.num_heads = num_heads
        self.dropout_module = FairseqDropout(dropout, module_name=self.__class__.__name__)
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError(
                f"embed_dim must be divisible by num_heads: {embed_dim} is not a multiple of {num_heads}"
            )
        self.scaling = self.head_dim**-0.5
        self.self_attention = self_attention
        self.encoder_decoder_attention = encoder_decoder_attention
        if self_attention and not self.qkv_same_dim:
            raise AssertionError("Self-attention requires query, key and value to be of the same size")

        self.k_proj: Any = quant_noise(nn.Linear(self.kdim, embed_dim, bias=bias), q_noise, qn_block_size)
        self.v_proj: Any = quant_noise(nn.Linear(self.vdim, embed_dim, bias=bias), q_noise, qn_block_size)
        self.q_proj: Any = quant_noise(nn.Linear(embed_dim, embed_dim, bias=bias), q_noise, qn_block_size)
        self.out_proj: Any = quant_noise(nn.Linear(embed_dim, embed_dim, bias=bias), q_noise, qn_block_size)
        self.bias_k: Optional[nn.Parameter] = None
        self.bias_v: Optional[nn.Parameter] = None
        if add_bias_kv:
            self.bias_k = nn.Parameter(torch.empty(1, 1, embed_dim))
            self.bias_v = nn.Parameter(torch.empty(1, 1, embed_dim))
        self.add_zero_attn = add_zero_attn
        self.beam_size = 1
        # Whether the encoder's keys are cached once for all hypotheses of a sentence. A subclass with a forward of its
        # own caches them for each hypothesis.
        self.one_key_per_sentence = False
        self.use_xformers = False
        self.onnx_trace = False
        self.skip_embed_dim_check = False
        # Subclasses may change scores by overriding apply_sparse_mask; fused kernels would not ask them.
        self._has_own_mask = type(self).apply_sparse_mask is not MultiheadAttention.apply_sparse_mask
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Xavier-uniform weights; query, key and value scaled as the one matrix they once were."""
        gain = 1 / math.sqrt(2) if self.qkv_same_dim else 1.0
        for projection in (self.k_proj, self.v_proj, self.q_proj):
            nn.init.xavier_uniform_(projection.weight, gain=gain)
        nn.init.xavier_uniform_(self.out_proj.weight)
        if self.out_proj.bias is not None:
            nn.init.zeros_(self.out_proj.bias)
        for learned in (self.bias_k, self.bias_v):
            if learned is not None:
                nn.init.xavier_normal_(learned)

    def prepare_for_onnx_export_(self) -> None:
        """Compute weights step by step, in operations that every ONNX opset has."""
        self.onnx_trace = True

    def forward(  # type: ignore[override]
        self, query: Tensor, key: Optional[Tensor], value: Optional[Tensor],
        key_padding_mask: Optional[Tensor] = None,
        incremental_state: Optional[Dict[str, Dict[str, Optional[Tensor]]]] = None, need_weights: bool = True,
        static_kv: bool = False, attn_mask: Optional[Tensor] = None, before_softmax: bool = False,
        need_head_weights: bool = False,
    ) -> Tuple[Tensor, Optional[Tensor]]:  # fmt: skip
        """Let each query attend to the keys.

        Args:
            query: ``(T, B, C)``.
            key, value: ``(S, B, kdim)``, ``(S, B, vdim)``; ignored in self-attention; ``None`` with ``static_kv`` once
                they are cached.
            key_padding_mask: ``(B, S)``, true at keys that are padding.
            incremental_state: caches of incremental decoding; keys of earlier steps are put in front.
            need_weights: also return the attention weights, averaged over heads.
            static_kv: keys and values never change, so compute them in the first step only.
            attn_mask: ``(T, S)`` or ``(B * H, T, S)``; additive, or bool with true = hidden.
            before_softmax: return scores and values, ``(B * H, T, S)`` and ``(B * H, S, D)``, instead.
            need_head_weights: return the weights of every head; implies ``need_weights``.

        Returns:
            ``(output, weights)``: ``(T, B, C)``, and ``(B, T, S)`` or ``(H, B, T, S)`` or ``None``.
        """
        need_weights = need_weights or need_head_weights
        _, batch, embed_dim = query.size()
        if not self.skip_embed_dim_check and embed_dim != self.embed_dim:
            raise AssertionError(f"query dim {embed_dim} != {self.embed_dim}")

        saved: Optional[Dict[str, Optional[Tensor]]] = None
        if incremental_state is not None:
            saved = self._get_input_buffer(incremental_state)
            if static_kv and "prev_key" in saved:
                # The keys are there already; what is given would only be projected to the same.
                key = value = None
            elif static_kv and self.encoder_decoder_attention and key is not None:
                self.one_key_per_sentence = self.beam_size > 1
                if self.one_key_per_sentence and key.size(1) == batch:
                    key, key_padding_mask = self._one_key_per_sentence(key, key_padding_mask)

        q, k, v = self._project(query, key, value)
        if self.bias_k is not None and k is not None and v is not None:
            k, v, key_padding_mask, attn_mask = self._append_learned(k, v, key_padding_mask, attn_mask)
        heads_k: Optional[Tensor] = None
        heads_v: Optional[Tensor] = None
        if k is not None and v is not None:
            heads_k, heads_v = self._split_heads(k), self._split_heads(v)
        if saved is not None and incremental_state is not None:
            heads_k, heads_v, key_padding_mask = self._extend_cache(
                incremental_state, saved, heads_k, heads_v, key_padding_mask, static_kv
            )
        if heads_k is None or heads_v is None:
            raise AssertionError("key and value are needed where nothing is cached")
        if key_padding_mask is not None and key_padding_mask.dim() == 0:
            key_padding_mask = None
        if self.add_zero_attn:
            heads_k, heads_v, key_padding_mask, attn_mask = self._append_zeros(
                heads_k, heads_v, key_padding_mask, attn_mask
            )
        heads_q = self._split_queries(q, heads_k.size(0))
        if heads_k.size(0) != batch and attn_mask is not None:
            # All hypotheses of a sentence are queries of the same keys.
            attn_mask = attn_mask.repeat(batch // heads_k.size(0), 1)

        batch_first = is_batch_first(query)
        if need_weights or before_softmax or self.onnx_trace or self._has_own_mask:
            return self._attend_visibly(
                heads_q,
                heads_k,
                heads_v,
                attn_mask,
                key_padding_mask,
                batch,
                batch_first,
                before_softmax,
                need_weights,
                need_head_weights,
            )
        attended = self._attend(heads_q, heads_k, heads_v, attn_mask, key_padding_mask)
        return self._project_out(attended, batch, batch_first), None

    # ------------------------------------------------------------------------------------------------- projections
    def _project(
        self, query: Tensor, key: Optional[Tensor], value: Optional[Tensor]
    ) -> Tuple[Tensor, Optional[Tensor], Optional[Tensor]]:
        """Queries ``(T, B, C)``, keys and values ``(S, B, C)``; the latter ``None`` if they are cached."""
        turn_query, turn_key = is_batch_first(query), key is not None and is_batch_first(key)
        if not torch.jit.is_scripting():
            plain = acts_on_rows(self.q_proj, self.k_proj, self.v_proj)
            turn_query, turn_key = turn_query and plain, turn_key and plain
        query = swap_batch_time(query, turn_query)
        q = swap_batch_time(self.q_proj(query), turn_query)
        if self.self_attention:
            return q, swap_batch_time(self.k_proj(query), turn_query), swap_batch_time(self.v_proj(query), turn_query)
        if key is None:
            return q, None, None
        key = swap_batch_time(key, turn_key)
        k = swap_batch_time(self.k_proj(key), turn_key)
        if self.encoder_decoder_attention:
            return q, k, swap_batch_time(self.v_proj(key), turn_key)
        if value is None:
            raise AssertionError("attention with a key needs a value")
        return q, k, self.v_proj(value)

    def _split_heads(self, x: Tensor) -> Tensor:
        """``(S, B, C)`` -> ``(B, H, S, D)``, a view."""
        return x.unflatten(2, (self.num_heads, -1)).permute(1, 2, 0, 3)

    def _split_queries(self, q: Tensor, num_keys: int) -> Tensor:
        """``(T, B, C)`` -> ``(B, H, T, D)``, or ``(K, H, beam * T, D)`` where a beam shares its sentence's keys."""
        if q.size(1) == num_keys:
            return self._split_heads(q)
        tgt_len = q.size(0)
        q = q.reshape(tgt_len, num_keys, -1, self.num_heads, self.head_dim)
        return q.permute(1, 3, 2, 0, 4).reshape(num_keys, self.num_heads, -1, self.head_dim)

    def _project_out(self, attended: Tensor, batch: int, batch_first: bool) -> Tensor:
        """``(B, H, T, D)`` or ``(K, H, beam * T, D)`` -> ``(T, B, C)``, batch-first in memory or contiguous."""
        num_keys = attended.size(0)
        if num_keys != batch:
            attended = attended.unflatten(2, (batch // num_keys, -1)).transpose(1, 2).flatten(0, 1)
        # The fused kernels leave their output as (B, T, H, D) in memory, so projecting it batch-first costs no copy,
        # and autograd has nothing to keep but what the kernel keeps anyway.
        out = self.out_proj(attended.transpose(1, 2).flatten(2)).transpose(0, 1)
        return out if batch_first else out.contiguous()

    # --------------------------------------------------------------------------------------------------- attention
    def _dropout(self) -> float:
        active = self.training or self.dropout_module.apply_during_inference
        return self.dropout_module.p if active else 0.0

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, attn_mask: Optional[Tensor], key_padding_mask: Optional[Tensor]
    ) -> Tensor:
        """Fused attention of ``(B, H, T, D)`` heads."""
        is_causal = False
        if not torch.jit.is_scripting():  # noqa: SIM102  what follows must stay hidden from the script compiler
            if attn_mask is not None and key_padding_mask is None and not torch.compiler.is_compiling():
                is_causal = is_future_mask(attn_mask)
        mask = None if is_causal else merge(attn_mask, key_padding_mask, self.num_heads, q)
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, dropout_p=self._dropout(), is_causal=is_causal, scale=self.scaling
        )

    def _attend_visibly(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        attn_mask: Optional[Tensor],
        key_padding_mask: Optional[Tensor],
        batch: int,
        batch_first: bool,
        before_softmax: bool,
        need_weights: bool,
        need_head_weights: bool,
    ) -> Tuple[Tensor, Optional[Tensor]]:
        """The same in single steps, for those who want scores or weights."""
        num_keys, _, num_queries, _ = q.size()
        src_len = k.size(2)
        scores = torch.matmul(q * self.scaling, k.transpose(2, 3))
        if self._has_own_mask:
            flat = scores.reshape(-1, num_queries, src_len)
            scores = self.apply_sparse_mask(flat, num_queries, src_len, num_keys).view_as(scores)
        mask = merge(attn_mask, key_padding_mask, self.num_heads, scores)
        if mask is not None:
            scores = scores + mask
        if before_softmax:
            return scores.reshape(-1, num_queries, src_len), v.reshape(-1, src_len, v.size(3))
        weights_float = torch.softmax(scores.float(), dim=-1)
        weights = self.dropout_module(weights_float.type_as(scores))
        out = self._project_out(torch.matmul(weights, v), batch, batch_first)
        if not need_weights:
            return out, None
        by_head = weights_float
        if num_keys != batch:
            by_head = by_head.unflatten(2, (batch // num_keys, -1)).transpose(1, 2).flatten(0, 1)
        by_head = by_head.transpose(0, 1)
        return out, by_head if need_head_weights else by_head.mean(dim=0)

    def apply_sparse_mask(self, attn_weights: Tensor, tgt_len: int, src_len: int, bsz: int) -> Tensor:
        """Hook for subclasses: change the scores ``(B * H, T, S)`` before masks and softmax."""
        return attn_weights

    # ----------------------------------------------------------------------------------------- extra keys and values
    def _append_learned(
        self, k: Tensor, v: Tensor, key_padding_mask: Optional[Tensor], attn_mask: Optional[Tensor]
    ) -> Tuple[Tensor, Tensor, Optional[Tensor], Optional[Tensor]]:
        """Put the learned key and value behind ``(S, B, C)``."""
        bias_k, bias_v = self.bias_k, self.bias_v
        assert bias_k is not None and bias_v is not None
        k = torch.cat([k, bias_k.expand(1, k.size(1), k.size(2))])
        v = torch.cat([v, bias_v.expand(1, v.size(1), v.size(2))])
        key_padding_mask, attn_mask = self._pad_masks(key_padding_mask, attn_mask)
        return k, v, key_padding_mask, attn_mask

    def _append_zeros(
        self, k: Tensor, v: Tensor, key_padding_mask: Optional[Tensor], attn_mask: Optional[Tensor]
    ) -> Tuple[Tensor, Tensor, Optional[Tensor], Optional[Tensor]]:
        """Put a key and value of zeros behind ``(B, H, S, D)``."""
        k = F.pad(k, (0, 0, 0, 1))
        v = F.pad(v, (0, 0, 0, 1))
        key_padding_mask, attn_mask = self._pad_masks(key_padding_mask, attn_mask)
        return k, v, key_padding_mask, attn_mask

    def _pad_masks(
        self, key_padding_mask: Optional[Tensor], attn_mask: Optional[Tensor]
    ) -> Tuple[Optional[Tensor], Optional[Tensor]]:
        """Masks for one key more, which is visible to all."""
        if attn_mask is not None:
            attn_mask = torch.cat([attn_mask, torch.zeros_like(attn_mask[..., :1])], dim=-1)
        if key_padding_mask is not None:
            key_padding_mask = torch.cat([key_padding_mask, torch.zeros_like(key_padding_mask[:, :1])], dim=1)
        return key_padding_mask, attn_mask

    def _add_bias(
        self, k: Tensor, v: Tensor, key_padding_mask: Optional[Tensor], attn_mask: Optional[Tensor], bsz: int
    ) -> Tuple[Tensor, Tensor, Optional[Tensor], Optional[Tensor]]:
        """For subclasses with a forward of their own: ``_append_learned`` under the name they know."""
        return self._append_learned(k, v, key_padding_mask, attn_mask)

    def _append_zero_attn(
        self, k: Tensor, v: Tensor, key_padding_mask: Optional[Tensor], attn_mask: Optional[Tensor]
    ) -> Tuple[Tensor, Tensor, Optional[Tensor], Optional[Tensor]]:
        """For subclasses with a forward of their own: zeros behind ``(B * H, S, D)``."""
        return self._append_zeros(k, v, key_padding_mask, attn_mask)

    # ------------------------------------------------------------------------------------------------------- caches
    def _one_key_per_sentence(self, key: Tensor, key_padding_mask: Optional[Tensor]) -> Tuple[Tensor, Optional[Tensor]]:
        """Of an encoder output that was repeated for every hypothesis, ``(S, B, C)``, keep ``(S, K, C)``."""
        key = key.unflatten(1, (-1, self.beam_size))[:, :, 0]
        if key_padding_mask is not None:
            key_padding_mask = key_padding_mask.unflatten(0, (-1, self.beam_size))[:, 0]
        return key, key_padding_mask

    def _extend_cache(
        self,
        incremental_state: Dict[str, Dict[str, Optional[Tensor]]],
        saved: Dict[str, Optional[Tensor]],
        k: Optional[Tensor],
        v: Optional[Tensor],
        key_padding_mask: Optional[Tensor],
        static_kv: bool,
    ) -> Tuple[Tensor, Tensor, Optional[Tensor]]:
        """Put the cached keys in front of the new ones, and cache them all; ``(B, H, S, D)``."""
        prev_key = saved["prev_key"] if "prev_key" in saved else None
        prev_value = saved["prev_value"] if "prev_value" in saved else None
        prev_mask = saved["prev_key_padding_mask"] if "prev_key_padding_mask" in saved else None
        if prev_key is not None and prev_value is not None:
            if static_kv or k is None or v is None:
                k, v = prev_key, prev_value
            else:
                k = torch.cat([prev_key, k], dim=2)
                v = torch.cat([prev_value, v], dim=2)
        if k is None or v is None:
            raise AssertionError("key and value are needed where nothing is cached")
        key_padding_mask = self._append_prev_key_padding_mask(
            key_padding_mask, prev_mask, batch_size=k.size(0), src_len=k.size(2), static_kv=static_kv
        )
        saved["prev_key"] = k
        saved["prev_value"] = v
        saved["prev_key_padding_mask"] = key_padding_mask
        self._set_input_buffer(incremental_state, saved)
        return k, v, key_padding_mask

    @staticmethod
    def _append_prev_key_padding_mask(
        key_padding_mask: Optional[Tensor], prev_key_padding_mask: Optional[Tensor], batch_size: int,
        src_len: int, static_kv: bool,
    ) -> Optional[Tensor]:  # fmt: skip
        """Padding of cached and new keys together, ``(B, src_len)``; a missing half has no padding."""
        if prev_key_padding_mask is not None and static_kv:
            return prev_key_padding_mask
        if prev_key_padding_mask is None and key_padding_mask is None:
            return None
        if prev_key_padding_mask is not None and key_padding_mask is not None:
            return torch.cat([prev_key_padding_mask.to(torch.bool), key_padding_mask.to(torch.bool)], dim=1)
        if prev_key_padding_mask is not None:
            missing = src_len - prev_key_padding_mask.size(1)
            if missing <= 0:
                return prev_key_padding_mask
            filler = torch.zeros((batch_size, missing), device=prev_key_padding_mask.device, dtype=torch.bool)
            return torch.cat([prev_key_padding_mask.to(torch.bool), filler], dim=1)
        assert key_padding_mask is not None
        missing = src_len - key_padding_mask.size(1)
        if missing <= 0:
            return key_padding_mask
        filler = torch.zeros((batch_size, missing), device=key_padding_mask.device, dtype=torch.bool)
        return torch.cat([filler, key_padding_mask.to(torch.bool)], dim=1)

    def _get_input_buffer(
        self, incremental_state: Optional[Dict[str, Dict[str, Optional[Tensor]]]]
    ) -> Dict[str, Optional[Tensor]]:
        """The caches ``prev_key``, ``prev_value`` ``(B, H, S, D)`` and ``prev_key_padding_mask``; empty at first."""
        empty: Dict[str, Optional[Tensor]] = {}
        filed = self.get_incremental_state(incremental_state, "attn_state")
        return empty if filed is None else filed

    def _set_input_buffer(
        self, incremental_state: Dict[str, Dict[str, Optional[Tensor]]], buffer: Dict[str, Optional[Tensor]]
    ) -> Optional[Dict[str, Dict[str, Optional[Tensor]]]]:
        """File the caches under this module's key."""
        return self.set_incremental_state(incremental_state, "attn_state", buffer)

    @torch.jit.export
    def reorder_incremental_state(
        self, incremental_state: Dict[str, Dict[str, Optional[Tensor]]], new_order: Tensor
    ) -> Optional[Dict[str, Dict[str, Optional[Tensor]]]]:
        """Let the caches follow their hypotheses; ``new_order`` ``(B,)`` indexes the old ones.

        A search moves hypotheses within their sentence. So keys of the encoder stay as they are for as long as the
        number of sentences does; when sentences are finished and dropped, they follow.
        """
        saved = self._get_input_buffer(incremental_state)
        if len(saved) == 0:
            return incremental_state
        order = new_order
        key = saved["prev_key"] if "prev_key" in saved else None
        if self.encoder_decoder_attention and key is not None:
            if key.size(0) * self.beam_size == new_order.size(0):
                return incremental_state
            if self.one_key_per_sentence and new_order.size(0) % self.beam_size == 0:
                order = new_order.view(-1, self.beam_size)[:, 0].div(self.beam_size, rounding_mode="floor")
        for name in saved.keys():  # noqa: SIM118  TorchScript iterates over keys() only
            entry = saved[name]
            if entry is not None:
                saved[name] = entry.index_select(0, order)
        return self._set_input_buffer(incremental_state, saved)

    @torch.jit.export
    def set_beam_size(self, beam_size: int) -> None:
        """Say how many hypotheses share a sentence, so that generation keeps one set of encoder keys for them."""
        self.beam_size = beam_size

    # ------------------------------------------------------------------------------------------------- head pruning
    def _get_reserve_head_index(self, num_heads_to_keep: int) -> List[Tuple[int, int]]:
        """Row ranges of the heads with the largest absolute weights, in their order."""
        importance = torch.zeros(self.num_heads)
        for projection in (self.q_proj, self.k_proj, self.v_proj):
            importance += projection.weight.detach().abs().view(self.num_heads, -1).sum(1).float().cpu()
            if projection.bias is not None:
                importance += projection.bias.detach().abs().view(self.num_heads, -1).sum(1).float().cpu()
        kept = sorted(importance.topk(num_heads_to_keep).indices.tolist())
        return [(head * self.head_dim, (head + 1) * self.head_dim) for head in kept]

    def _adaptive_prune_heads(self, reserve_head_index: List[Tuple[int, int]]) -> None:
        """Keep only the given heads, for good."""
        rows = torch.cat([torch.arange(start, end) for start, end in reserve_head_index])
        for projection in (self.q_proj, self.k_proj, self.v_proj):
            index = rows.to(projection.weight.device)
            projection.weight = nn.Parameter(projection.weight.detach()[index].clone())
            if projection.bias is not None:
                projection.bias = nn.Parameter(projection.bias.detach()[index].clone())
            projection.out_features = len(rows)
        index = rows.to(self.out_proj.weight.device)
        self.out_proj.weight = nn.Parameter(self.out_proj.weight.detach()[:, index].clone())
        self.out_proj.in_features = len(rows)
        self.num_heads = len(reserve_head_index)
        self._set_skip_embed_dim_check()

    def _set_skip_embed_dim_check(self) -> None:
        self.skip_embed_dim_check = True

    # ----------------------------------------------------------------------------------------------- old checkpoints
    def upgrade_state_dict_named(self, state_dict: Dict[str, Any], name: str) -> Dict[str, Any]:  # type: ignore[override]
        """Split the one input projection of old checkpoints, ``in_proj_weight`` ``(3C, C)``, into q, k and v."""
        prefix = name + "." if name else ""
        for kind in ("weight", "bias"):
            joined = state_dict.pop(f"{prefix}in_proj_{kind}", None)
            if joined is not None:
                for part, chunk in zip(("q", "k", "v"), joined.chunk(3)):
                    state_dict[f"{prefix}{part}_proj.{kind}"] = chunk
        return state_dict
