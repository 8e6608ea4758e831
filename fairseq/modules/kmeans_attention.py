"""Attention within clusters that are found while training: the Routing Transformer (Roy et al. 2021).

Tokens meet the means of an online k-means; each mean gathers the tokens that are most like it, and these attend to each
other. With W tokens per cluster and T / W clusters, the cost grows with ``T * W`` instead of ``T * T``.

``Kmeans``           the means, moved towards what is seen
``KmeansAttention``  attention within clusters
``SelfAttention``    projections around it; some heads look at a local window instead

The wrappers and helpers that complete the module are in ``routing_parts``.

Shapes in this file:  B = batch, H = heads, T = tokens, D = width of a head, K = clusters, W = tokens of a cluster
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fairseq.modules.routing_parts import (
    GELU,
    GELU_,
    Chunk,
    DepthWiseConv1d,
    FeedForward,
    FixedPositionalEmbedding,
    LocalAttention,
    MatrixMultiply,
    PreNorm,
    ProjectInOut,
    ReZero,
    ScaleNorm,
    apply_rotary_pos_emb,
    batched_bincount,
    batched_index_select,
    cache_fn,
    cast_tuple,
    default,
    ema,
    ema_inplace,
    exists,
    expand_dim,
    find_modules,
    identity,
    is_empty,
    map_first_tuple_or_el,
    max_neg_value,
    merge_dims,
    reshape_dim,
    rotate_every_two,
    scatter_mean,
    split_at_index,
    to,
)

__all__ = [
    "GELU",
    "GELU_",
    "KMEAN_INIT_ITERS",
    "TOKEN_SELF_ATTN_VALUE",
    "Chunk",
    "DepthWiseConv1d",
    "FeedForward",
    "FixedPositionalEmbedding",
    "Kmeans",
    "KmeansAttention",
    "LocalAttention",
    "MatrixMultiply",
    "PreNorm",
    "ProjectInOut",
    "ReZero",
    "ScaleNorm",
    "SelfAttention",
    "apply_rotary_pos_emb",
    "batched_bincount",
    "batched_index_select",
    "cache_fn",
    "cast_tuple",
    "default",
    "distribution",
    "dists_and_buckets",
    "ema",
    "ema_inplace",
    "exists",
    "expand_dim",
    "find_modules",
    "identity",
    "is_empty",
    "kmeans_iter",
    "map_first_tuple_or_el",
    "max_neg_value",
    "merge_dims",
    "reshape_dim",
    "rotate_every_two",
    "scatter_mean",
    "similarity",
    "split_at_index",
    "to",
    "update_kmeans_on_backwards",
]

# The score of a token with itself where queries and keys are shared: low, but it wins where nothing else is seen.
TOKEN_SELF_ATTN_VALUE = -5e4
KMEAN_INIT_ITERS = 10


def similarity(x: Tensor, means: Tensor) -> Tensor:
    """Products of ``x (B, H, T, D)`` and ``means (H, K, D)``: ``(B, H, T, K)``."""
    return torch.einsum("bhtd,hkd->bhtk", x, means)


def dists_and_buckets(x: Tensor, means: Tensor) -> tuple[Tensor, Tensor]:
    """Similarities ``(B, H, T, K)`` and the most similar mean of each token ``(B, H, T)``."""
    found = similarity(x, means)
    return found, found.argmax(dim=-1)


def _sums(x: Tensor, buckets: Tensor, num_clusters: int) -> tuple[Tensor, Tensor]:
    """Sums of the members of each cluster ``(H, K, D)``, and their numbers ``(H, K)``."""
    members = F.one_hot(buckets, num_clusters).type_as(x)
    return torch.einsum("bhtk,bhtd->hkd", members, x), members.sum(dim=(0, 2))


def kmeans_iter(x: Tensor, means: Tensor, buckets: Tensor | None = None) -> Tensor:
    """The normalised means of what is nearest to each mean ``(H, K, D)``; a mean without members stays.

    Args:
        x: ``(B, H, T, D)``, of length 1.
        means: ``(H, K, D)``.
        buckets: the mean of each token, ``(B, H, T)``, if it is known.
    """
    if buckets is None:
        buckets = dists_and_buckets(x, means)[1]
    sums, counts = _sums(x, buckets, means.size(1))
    return torch.where((counts == 0)[..., None], means, F.normalize(sums, dim=-1).type_as(means))


def distribution(dists: Tensor, window_size: int) -> Tensor:
    """The W tokens that are most like each mean, in order of position.

    Args:
        dists: ``(B, H, T, K)``.
        window_size: W, cut to T.

    Returns:
        Positions, ``(B, H, K * W)``, cluster by cluster.
    """
    chosen = dists.topk(min(window_size, dists.size(2)), dim=2)[1].transpose(2, 3)
    return chosen.sort(dim=-1)[0].flatten(2)


class Kmeans(nn.Module):
    """Means on the unit sphere, per head, that follow the data by exponential averages.

    Args:
        num_heads: H.
        head_dim: D.
        num_clusters: K.
        ema_decay: share of a mean that stays at an update.
        commitment: weight of the loss that pulls tokens to their means.
    """

    means: Tensor
    initted: Tensor

    def __init__(
        self, num_heads: int, head_dim: int, num_clusters: int, ema_decay: float = 0.999, commitment: float = 1e-4
    ) -> None:
        super().__init__()
        self.ema_decay, self.commitment = ema_decay, commitment
        self.new_means: Tensor | None = None
        self.num_new_means = 0
        # Replaced by the first tokens.
        self.register_buffer("means", torch.randn(num_heads, num_clusters, head_dim))
        self.register_buffer("initted", torch.tensor(False))

    @torch.no_grad()
    def init(self, x: Tensor) -> None:
        """Begin with tokens of ``x (B, H, T, D)`` and a few iterations; does nothing the second time."""
        if bool(self.initted):
            return
        tokens = x.transpose(0, 1).flatten(1, 2)
        clusters = self.means.size(1)
        if tokens.size(1) >= clusters:
            picked = torch.randperm(tokens.size(1), device=x.device)[:clusters]
        else:
            picked = torch.randint(0, tokens.size(1), (clusters,), device=x.device)
        means = tokens[:, picked]
        for _ in range(KMEAN_INIT_ITERS):
            means = kmeans_iter(x, means)
        self.means.copy_(means)
        self.initted.fill_(True)
        self.num_new_means, self.new_means = 0, None

    @torch.no_grad()
    def update(self, new_means: Tensor | None = None) -> None:
        """Move the means towards ``new_means (H, K, D)``, or towards those that forward passes have collected."""
        new_means = self.new_means if new_means is None else new_means
        if new_means is None:
            raise ValueError("there are no new means: run forward with update_means=True, or give them")
        ema_inplace(self.means, F.normalize(new_means, dim=-1), self.ema_decay)
        self.num_new_means, self.new_means = 0, None

    def forward(self, x: Tensor, update_means: bool = False) -> tuple[Tensor, Tensor]:
        """Compare tokens with the means.

        Args:
            x: ``(B, H, T, D)``.
            update_means: collect the means of these tokens for :meth:`update`.

        Returns:
            Similarities ``(B, H, T, K)`` and the commitment loss, a scalar.
        """
        x = F.normalize(x, dim=-1)
        self.init(x)
        means = self.means.type_as(x)
        with torch.no_grad():
            dists, buckets = dists_and_buckets(x, means)
        routed = batched_index_select(means.expand(x.size(0), -1, -1, -1), buckets)
        loss = F.mse_loss(x, routed) * self.commitment
        if update_means:
            with torch.no_grad():
                found = kmeans_iter(x, means, buckets)
            count = self.num_new_means
            self.new_means = found if self.new_means is None else ema(self.new_means, found, count / (count + 1))
            self.num_new_means += 1
        return dists, loss


class KmeansAttention(nn.Module):
    """Attention between tokens that are gathered by the same mean; where clusters overlap, results are averaged.

    Args:
        num_clusters: K.
        window_size: W, queries per cluster.
        num_heads: H.
        head_dim: D.
        causal: a query sees keys of its own and earlier positions only.
        dropout: on attention weights.
        ema_decay, commitment: see :class:`Kmeans`.
        context_window_size: keys per cluster; ``window_size`` if ``None``.
        receives_context: keys are another sequence.
        num_mem_kv: learned keys and values of each cluster.
        shared_qk: queries and keys are the same tensor, so a token sees itself only where it sees nothing else.
    """

    def __init__(
        self, num_clusters: int, window_size: int, num_heads: int, head_dim: int, causal: bool = False,
        dropout: float = 0.0, ema_decay: float = 0.999, commitment: float = 1e-4,
        context_window_size: int | None = None, receives_context: bool = False, num_mem_kv: int = 0,
        shared_qk: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.num_heads, self.num_clusters, self.head_dim = num_heads, num_clusters, head_dim
        self.window_size, self.context_window_size = window_size, default(context_window_size, window_size)
        self.causal, self.shared_qk, self.receives_context = causal, shared_qk, receives_context
        self.kmeans = Kmeans(num_heads, head_dim, num_clusters, ema_decay, commitment)
        self.dropout = nn.Dropout(dropout)
        self.num_mem_kv = max(num_mem_kv, 1 if causal and not shared_qk else 0)
        shape = (num_heads, num_clusters, self.num_mem_kv, head_dim)
        self.mem_key = nn.Parameter(torch.randn(shape))
        self.mem_value = nn.Parameter(torch.randn(shape))

    def forward(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        query_mask: Tensor | None = None,
        key_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor]:
        """Attend.

        Args:
            q: ``(B, H, T, D)``; ``k`` and ``v``: of equal length, or of another with ``receives_context``.
            query_mask, key_mask: ``(B, T)``, true at tokens, false at padding.
            kwargs: ``_reverse=True`` (the second pass of a reversible network) leaves the means alone.

        Returns:
            ``(B, H, T, D)``, zero where no cluster has gathered a token, and the commitment loss.
        """
        updates = self.training and not kwargs.pop("_reverse", False)
        key_mask = default(key_mask, query_mask) if not self.receives_context else key_mask
        dists, loss = self._compare(q, k, updates)
        q_dists, k_dists = dists
        q_at = distribution(_without(q_dists, query_mask), self.window_size)
        k_at = q_at if k_dists is None else distribution(_without(k_dists, key_mask), self.context_window_size)
        q_in, k_in, v_in = (self._gather(x, at) for x, at in ((q, q_at), (k, k_at), (v, k_at)))
        scores = torch.einsum("bhkid,bhkjd->bhkij", q_in, k_in) / math.sqrt(self.head_dim)
        q_at, k_at = (at.unflatten(2, (self.num_clusters, -1)) for at in (q_at, k_at))
        scores = self._hide(scores, q_at, k_at, query_mask, key_mask)
        memory = torch.einsum("bhkid,hkmd->bhkim", q_in, self.mem_key) / math.sqrt(self.head_dim)
        weights = self.dropout(torch.softmax(torch.cat([memory, scores], dim=-1), dim=-1))
        mixed = torch.einsum("bhkim,hkmd->bhkid", weights[..., : self.num_mem_kv], self.mem_value)
        mixed = mixed + torch.einsum("bhkij,bhkjd->bhkid", weights[..., self.num_mem_kv :], v_in)
        out = torch.zeros_like(q)
        return scatter_mean(
            out, mixed.flatten(2, 3), q_at.flatten(2)[..., None].expand(-1, -1, -1, q.size(3)), -2
        ), loss

    def _compare(self, q: Tensor, k: Tensor, updates: bool) -> tuple[tuple[Tensor, Tensor | None], Tensor]:
        if self.shared_qk or q is k:
            dists, loss = self.kmeans(q, updates)
            return (dists, None), loss
        both, loss = self.kmeans(torch.cat([q, k], dim=2), updates)
        return (both[:, :, : q.size(2)], both[:, :, q.size(2) :]), loss

    def _gather(self, x: Tensor, at: Tensor) -> Tensor:
        """``(B, H, K, W, D)``."""
        return batched_index_select(x, at).unflatten(2, (self.num_clusters, -1))

    def _hide(
        self, scores: Tensor, q_at: Tensor, k_at: Tensor, query_mask: Tensor | None, key_mask: Tensor | None
    ) -> Tensor:
        least = max_neg_value(scores)
        if key_mask is not None:
            seen = key_mask[:, None, None].expand(-1, *k_at.shape[1:3], -1).gather(3, k_at)
            scores = scores.masked_fill(~seen[..., None, :], least)
        if self.causal:
            scores = scores.masked_fill(k_at[..., None, :] > q_at[..., :, None], least)
        if self.shared_qk:
            scores = scores.masked_fill(k_at[..., None, :] == q_at[..., :, None], TOKEN_SELF_ATTN_VALUE)
        return scores


def _without(dists: Tensor, mask: Tensor | None) -> Tensor:
    """Padding is gathered last."""
    return dists if mask is None else dists.masked_fill(~mask[:, None, :, None], max_neg_value(dists))


def update_kmeans_on_backwards(module: nn.Module) -> Any:
    """Update all means of a module after each backward pass; returns the hook's handle."""
    clusters = find_modules(module, Kmeans)

    def update(_: Any, grad_in: Any, grad_out: Any) -> None:
        for kmeans in clusters:
            if kmeans.new_means is not None:
                kmeans.update()

    return module.register_full_backward_hook(update)


class SelfAttention(nn.Module):
    """Projections around clustered heads and heads that see a local window.

    Args:
        dim: C.
        max_seq_len: T at most; ``window_size`` divides it, which gives the number of clusters.
        heads: heads in all; ``local_attn_heads`` of them are local.
        window_size: W.
        dim_head: D; ``dim / heads`` if ``None``.
        local_attn_window_size: of local heads; half of ``window_size`` if ``None``.
        local_attn_radius_blocks: how many windows back (and, if not causal, ahead) they see.
        causal: no position sees later ones.
        attn_dropout, dropout: on attention weights, and of the result.
        kmeans_ema_decay, commitment_factor: see :class:`Kmeans`.
        receives_context, context_window_size, num_mem_kv, shared_qk: see :class:`KmeansAttention`.
        rel_pos_emb: local heads turn queries and keys by ``pos_emb``.
        conv_query_kernel: frames of the depthwise convolution that makes queries.

    Raises:
        ValueError: sizes that do not fit.
    """

    def __init__(
        self, dim: int, max_seq_len: int, heads: int, local_attn_heads: int, window_size: int,
        dim_head: int | None = None, local_attn_window_size: int | None = None, local_attn_radius_blocks: int = 1,
        causal: bool = False, attn_dropout: float = 0.0, dropout: float = 0.0, kmeans_ema_decay: float = 0.999,
        commitment_factor: float = 1e-4, receives_context: bool = False, context_window_size: int | None = None,
        rel_pos_emb: bool = True, num_mem_kv: int = 0, shared_qk: bool = False, conv_query_kernel: int = 9,
    ) -> None:  # fmt: skip
        super().__init__()
        if dim_head is None and dim % heads != 0:
            raise ValueError(f"{heads} heads do not divide a width of {dim}")
        if max_seq_len % window_size != 0:
            raise ValueError(f"window_size={window_size} does not divide max_seq_len={max_seq_len}")
        if receives_context and (local_attn_heads > 0 or causal):
            raise ValueError("with receives_context, heads can be neither local nor causal")
        self.dim_head = default(dim_head, dim // heads)
        self.heads, self.local_attn_heads = heads, local_attn_heads
        self.global_attn_heads = heads - local_attn_heads
        self.window_size, self.causal, self.shared_qk = window_size, causal, shared_qk
        self.receives_context, self.rel_pos_emb = receives_context, rel_pos_emb
        width = self.dim_head * heads
        self.to_q = DepthWiseConv1d(dim, width, conv_query_kernel, causal=causal)
        self.to_k = None if shared_qk else nn.Linear(dim, width, bias=False)
        self.to_v = nn.Linear(dim, width, bias=False)
        self.to_out = nn.Linear(width, dim, bias=False)
        self.dropout = nn.Dropout(dropout)
        if local_attn_heads > 0:
            local_size = default(local_attn_window_size, window_size // 2)
            self.local_attn = LocalAttention(local_size, causal, local_attn_radius_blocks, attn_dropout, shared_qk)
        if self.global_attn_heads > 0:
            self.global_attn = KmeansAttention(
                max_seq_len // window_size, window_size, self.global_attn_heads, self.dim_head, causal, attn_dropout,
                kmeans_ema_decay, commitment_factor, context_window_size, receives_context, num_mem_kv, shared_qk,
            )  # fmt: skip

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, context: Tensor | None = None,
        key_padding_mask: Tensor | None = None, context_mask: Tensor | None = None, pos_emb: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Attend.

        Args:
            query, key, value: ``(T, B, C)``.
            context: ``(S, B, C)``, what is looked at with ``receives_context``.
            key_padding_mask, context_mask: ``(B, T)`` and ``(B, S)``, true at padding.
            pos_emb: of :class:`FixedPositionalEmbedding`, for local heads.

        Returns:
            ``(T, B, C)`` and the commitment loss.

        Raises:
            ValueError: ``receives_context`` without ``context``.
        """
        if self.receives_context:
            if context is None:
                raise ValueError("context is needed: the attention was made with receives_context")
            key = value = context
        mask = None if key_padding_mask is None else ~key_padding_mask.bool()
        seen = mask if not self.receives_context else (None if context_mask is None else ~context_mask.bool())
        q = self._heads(self.to_q(query.transpose(0, 1)))
        k = q if self.to_k is None else self._heads(self.to_k(key.transpose(0, 1)))
        v = self._heads(self.to_v(value.transpose(0, 1)))
        local, loss, parts = self.local_attn_heads, q.new_zeros(()), []
        if local > 0:
            turned = q[:, :local], k[:, :local]
            if self.rel_pos_emb and pos_emb is not None:
                turned = apply_rotary_pos_emb(*turned, pos_emb)
            parts.append(self.local_attn(*turned, v[:, :local], input_mask=mask))
        if self.global_attn_heads > 0:
            found, loss = self.global_attn(
                q[:, local:], k[:, local:], v[:, local:], query_mask=mask, key_mask=seen, **kwargs
            )
            parts.append(found)
        out = torch.cat(parts, dim=1).transpose(1, 2).flatten(2)
        return self.dropout(self.to_out(out)).transpose(0, 1), loss

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, self.dim_head)).transpose(1, 2)
