"""Clustered and local attention, against plain loops and dense attention."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fairseq.modules import kmeans_attention as module
from fairseq.modules.kmeans_attention import Kmeans, KmeansAttention, LocalAttention, SelfAttention

B, H, T, D = 2, 2, 12, 4


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(11)


def _qkv() -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = (torch.randn(B, H, T, D) for _ in range(3))
    return q, k, v


def test_one_cluster_of_all_tokens_is_dense_attention() -> None:
    q, k, v = _qkv()
    layer = KmeansAttention(1, T, H, D)
    padding = torch.arange(T)[None, :] < torch.tensor([T, 7])[:, None]
    found, loss = layer(q, k, v, query_mask=padding)
    scores = (q @ k.mT / math.sqrt(D)).masked_fill(~padding[:, None, None], -math.inf)
    torch.testing.assert_close(found, scores.softmax(-1) @ v, rtol=1e-4, atol=1e-4)
    assert loss.dim() == 0 and loss > 0


def test_tokens_meet_in_clusters_only() -> None:
    """Loops over clusters; a token in two of them gets the mean, one in none gets zero."""
    q, k, v = _qkv()
    layer = KmeansAttention(3, 5, H, D).eval()
    found, _ = layer(q, k, v)
    means = layer.kmeans.means
    expected, counts = torch.zeros(B, H, T, D), torch.zeros(B, H, T)
    for b in range(B):
        for h in range(H):
            for mean in means[h]:
                ranked = []
                for x in (q, k):
                    likeness = nn.functional.normalize(x[b, h], dim=-1) @ mean
                    ranked.append(sorted(sorted(range(T), key=lambda t, s=likeness: -float(s[t]))[:5]))
                mine, theirs = ranked
                weights = (q[b, h, mine] @ k[b, h, theirs].T / math.sqrt(D)).softmax(-1)
                expected[b, h, mine] += weights @ v[b, h, theirs]
                counts[b, h, mine] += 1
    expected /= counts.clamp(min=1)[..., None]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("shared", [False, True])
def test_causal_clusters_do_not_see_later_tokens(shared: bool) -> None:
    q, k, v = _qkv()
    layer = KmeansAttention(1, T, H, D, causal=True, shared_qk=shared).eval()
    k = q if shared else k
    before, _ = layer(q, k, v)
    v2 = v.clone()
    v2[:, :, 8:] += 1
    after, _ = layer(q, k, v2)
    torch.testing.assert_close(after[:, :, :8], before[:, :, :8])
    assert not torch.allclose(after[:, :, 8:], before[:, :, 8:])


def test_means_are_those_of_their_members() -> None:
    x = nn.functional.normalize(torch.randn(B, H, T, D), dim=-1)
    kmeans = Kmeans(H, D, 3, ema_decay=0.9, commitment=0.5)
    dists, loss = kmeans(x, update_means=True)
    assert bool(kmeans.initted) and dists.shape == (B, H, T, 3)
    means = kmeans.means.clone()
    new, total = torch.zeros_like(means), 0.0
    for h in range(H):
        nearest = [[int((means[h] @ x[b, h, t]).argmax()) for t in range(T)] for b in range(B)]
        for c in range(3):
            members = [x[b, h, t] for b in range(B) for t in range(T) if nearest[b][t] == c]
            new[h, c] = nn.functional.normalize(torch.stack(members).sum(0), dim=0) if members else means[h, c]
        total += sum(float((x[b, h, t] - means[h, nearest[b][t]]).square().sum()) for b in range(B) for t in range(T))
    assert loss.item() == pytest.approx(0.5 * total / x.numel(), rel=1e-4)
    kmeans.update()
    torch.testing.assert_close(kmeans.means, 0.9 * means + 0.1 * new, rtol=1e-4, atol=1e-5)
    assert kmeans.new_means is None and set(kmeans.state_dict()) == {"means", "initted"}
    with pytest.raises(ValueError, match="no new means"):
        kmeans.update()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("length", [12, 10, 2])
def test_local_attention_sees_its_windows(causal: bool, length: int) -> None:
    q, k, v = (x[:, :, :length] for x in _qkv())
    mask = torch.arange(length)[None, :] < torch.tensor([length, max(length - 3, 2)])[:, None]
    found = LocalAttention(3, causal, radius=1)(q, k, v, input_mask=mask)
    for b in range(B):
        for i in range(int(mask[b].sum())):
            first, last = (i // 3 - 1) * 3, i if causal else (i // 3 + 2) * 3 - 1
            keys = [j for j in range(max(first, 0), min(last, length - 1) + 1) if mask[b, j]]
            weights = torch.einsum("hd,hjd->hj", q[b, :, i], k[b][:, keys]) / math.sqrt(D)
            expected = torch.einsum("hj,hjd->hd", weights.softmax(-1), v[b][:, keys])
            torch.testing.assert_close(found[b, :, i], expected)


@pytest.mark.parametrize(
    "options", [{}, {"causal": True}, {"shared_qk": True}, {"num_mem_kv": 2}, {"causal": True, "shared_qk": True}]
)
def test_self_attention_trains(options: dict[str, Any]) -> None:
    layer = SelfAttention(8, T, H, 1, 4, **options)
    x = torch.randn(T, B, 8)
    positions = module.FixedPositionalEmbedding(D, T)(x.transpose(0, 1))
    padding = torch.arange(T)[None, :] >= torch.tensor([T, 7])[:, None]
    found, loss = layer(x, x, x, key_padding_mask=padding, pos_emb=positions)
    assert found.shape == x.shape
    (found.sum() + loss).backward()
    for name, parameter in layer.named_parameters():
        if parameter.numel():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    handle = module.update_kmeans_on_backwards(layer)
    means = layer.global_attn.kmeans.means.clone()
    y = x.clone().requires_grad_()
    layer(y, y, y)[0].sum().backward()
    assert not torch.equal(layer.global_attn.kmeans.means, means)
    handle.remove()


def test_another_sequence_is_looked_at() -> None:
    layer = SelfAttention(8, T, H, 0, 4, receives_context=True)
    x, memory = torch.randn(T, B, 8), torch.randn(8, B, 8)
    assert layer(x, x, x, context=memory, context_mask=torch.zeros(B, 8, dtype=torch.bool))[0].shape == x.shape
    with pytest.raises(ValueError, match="context is needed"):
        layer(x, x, x)
    with pytest.raises(ValueError, match="does not divide max_seq_len"):
        SelfAttention(8, T, H, 0, 5)


def test_helpers() -> None:
    index = torch.tensor([[0, 2, 2], [1, 1, 1]])
    assert module.batched_bincount(index, 3).tolist() == [[1, 0, 2], [0, 3, 0]]
    assert module.rotate_every_two(torch.tensor([1.0, 2.0, 3.0, 4.0])).tolist() == [-2, 1, -4, 3]
    assert module.expand_dim(torch.zeros(2, 3), 1, 4).shape == (2, 4, 3)
    assert module.merge_dims(0, 1, torch.zeros(2, 3, 4)).shape == (6, 4)
    assert module.reshape_dim(torch.zeros(2, 6), 1, (2, 3)).shape == (2, 2, 3)
    first, second = module.split_at_index(1, 2, torch.arange(10).view(2, 5))
    assert first.tolist() == [[0, 1], [5, 6]] and second.shape == (2, 3)
    counter = iter(range(5))
    once = module.cache_fn(lambda: next(counter))
    assert (once(), once()) == (0, 0)
    x = torch.randn(3, 8)
    part = module.FeedForward(8)
    torch.testing.assert_close(module.Chunk(3, part, along_dim=0)(x), part(x))
    torch.testing.assert_close(module.ScaleNorm(8)(x).norm(dim=1), torch.ones(3))
    torch.testing.assert_close(module.ReZero(part)(x), part(x) * 1e-3)
    torch.testing.assert_close(module.PreNorm(nn.LayerNorm, 8, part)(x), part(nn.LayerNorm(8)(x)))
    torch.testing.assert_close(module.MatrixMultiply(torch.eye(8) * 2, transpose=True)(x), 2 * x)
    assert module.FeedForward(8, glu=True)(x).shape == x.shape
    wide = module.ProjectInOut(lambda y: (y, 0), 8, 4)  # type: ignore[arg-type]
    assert wide(x)[0].shape == x.shape
    q = torch.randn(1, 1, 3, 4)
    turned, _ = module.apply_rotary_pos_emb(q, q, module.FixedPositionalEmbedding(4, 3)(torch.zeros(1, 3)))
    torch.testing.assert_close(turned.norm(dim=-1), q.norm(dim=-1))
    angle = 2.0
    pair = q[0, 0, 2, :2]
    expected = [
        pair[0] * math.cos(angle) - pair[1] * math.sin(angle),
        pair[1] * math.cos(angle) + pair[0] * math.sin(angle),
    ]
    torch.testing.assert_close(turned[0, 0, 2, :2], torch.stack(expected))
