"""Conformer blocks, their attentions and positions, and parts of Tacotron, against plain loops over formulas."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fairseq.modules.conformer_layer import (
    ConformerEncoderLayer,
    ConformerWav2Vec2EncoderLayer,
    ConvolutionModule,
    FeedForwardModule,
)
from fairseq.modules.espnet_multihead_attention import (
    ESPNETMultiHeadedAttention,
    RelPositionMultiHeadedAttention,
    RotaryPositionMultiHeadedAttention,
)
from fairseq.modules.location_attention import LocationAttention
from fairseq.modules.lstm_cell_with_zoneout import LSTMCellWithZoneOut
from fairseq.modules.positional_encoding import PositionalEncoding, RelPositionalEncoding

T, B, C, H = 5, 2, 8, 2
D = C // H


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(7)


def _frames() -> Tensor:
    return torch.randn(T, B, C)


def _padding() -> Tensor:
    return torch.arange(T)[None, :] >= torch.tensor([T, T - 2])[:, None]


def _code(distance: int, width: int) -> list[float]:
    pairs = [distance / 10000 ** (2 * i / width) for i in range(width // 2)]
    return [value for angle in pairs for value in (math.sin(angle), math.cos(angle))]


def test_absolute_positions_are_added_to_the_scaled_input() -> None:
    x = torch.randn(B, T, C)
    table = torch.tensor([_code(position, C) for position in range(T)])
    torch.testing.assert_close(PositionalEncoding(C, 0.0, max_len=3)(x), x * math.sqrt(C) + table)
    torch.testing.assert_close(PositionalEncoding(C, 0.0, max_len=T, reverse=True)(x), x * math.sqrt(C) + table.flip(0))
    assert not PositionalEncoding(C, 0.0).state_dict()


def test_relative_positions_are_codes_of_distances() -> None:
    encoding = RelPositionalEncoding(3, C)
    assert encoding.pe is not None and encoding.pe.shape == (1, 5, C)
    for length in (2, T, 1):
        codes = encoding(torch.zeros(length, B, C))
        expected = torch.tensor([[_code(distance, C)] for distance in range(length - 1, -length, -1)])
        torch.testing.assert_close(codes, expected)
    assert encoding(torch.zeros(2, B, C, dtype=torch.float64)).dtype == torch.float64
    assert not encoding.state_dict()


def _plain_attention(layer: Any, x: Tensor, padding: Tensor, score: Any) -> Tensor:
    """One number at a time, in float64 numpy."""
    q, k, v = (
        np.asarray(torch.nn.functional.linear(y, m.weight, m.bias).detach().double())
        for y, m in ((x, layer.linear_q), (x, layer.linear_k), (x, layer.linear_v))
    )
    out = np.zeros((T, B, C))
    for b in range(B):
        keys = [j for j in range(T) if not padding[b, j]]
        for h in range(H):
            part = slice(h * D, (h + 1) * D)
            for i in range(T):
                scores = np.array([score(q[i, b, part], k[j, b, part], h, i, j) for j in keys]) / math.sqrt(D)
                weights = np.exp(scores - scores.max())
                weights /= weights.sum()
                out[i, b, part] = sum(w * v[j, b, part] for w, j in zip(weights, keys))
    mixed = torch.tensor(out).float()
    return layer.linear_out(mixed)


def test_attention_of_absolute_positions() -> None:
    layer, x, padding = ESPNETMultiHeadedAttention(C, H, 0.0), _frames(), _padding()
    found, none = layer(x, x, x, key_padding_mask=padding)
    assert none is None and layer.attn.shape == (B, H, T, T) and not layer.attn[1, :, :, T - 2 :].any()
    torch.testing.assert_close(found, _plain_attention(layer, x, padding, lambda q, k, h, i, j: q @ k))
    assert sorted(layer.state_dict()) == sorted(
        f"linear_{name}.{kind}" for name in ("q", "k", "v", "out") for kind in ("weight", "bias")
    )
    with pytest.raises(ValueError, match="3 heads do not divide a width of 8"):
        ESPNETMultiHeadedAttention(C, 3, 0.0)


def test_a_row_of_padding_gives_the_bias_and_finite_gradients() -> None:
    layer, x = ESPNETMultiHeadedAttention(C, H, 0.0), _frames().requires_grad_()
    found, _ = layer(x, x, x, key_padding_mask=torch.tensor([[False] * T, [True] * T]))
    torch.testing.assert_close(found[:, 1], layer.linear_out.bias.expand(T, C))
    found.sum().backward()
    assert all(p.grad.isfinite().all() for p in layer.parameters()) and x.grad.isfinite().all()


@pytest.mark.parametrize("batch_first", [False, True])
def test_attention_of_relative_positions(batch_first: bool) -> None:
    layer, x, padding = RelPositionMultiHeadedAttention(C, H, 0.0), _frames(), _padding()
    codes = RelPositionalEncoding(T, C)(x)
    found, _ = layer(x, x, x, codes.transpose(0, 1) if batch_first else codes, key_padding_mask=padding)
    with torch.no_grad():
        p = {i: layer.linear_pos(torch.tensor(_code(i, C))).double().numpy() for i in range(-T, T)}
        u, v = layer.pos_bias_u.double().numpy(), layer.pos_bias_v.double().numpy()

    def score(q: Any, k: Any, h: int, i: int, j: int) -> float:
        return (q + u[h]) @ k + (q + v[h]) @ p[i - j][h * D : (h + 1) * D]

    torch.testing.assert_close(found, _plain_attention(layer, x, padding, score), rtol=1e-4, atol=1e-5)
    assert {"linear_pos.weight", "pos_bias_u", "pos_bias_v"} < set(layer.state_dict())
    assert layer.pos_bias_u.shape == (H, D) and "linear_pos.bias" not in layer.state_dict()
    assert layer.pos_bias_u.abs().max() > 0


@pytest.mark.parametrize("length", [1, 2, 5])
def test_distances_are_shifted_to_keys(length: int) -> None:
    layer = RelPositionMultiHeadedAttention(C, H, 0.0)
    x = torch.randn(B, H, length, 2 * length - 1)
    shifted = layer.rel_shift(x)
    assert shifted.shape == (B, H, length, length)
    for i in range(length):
        for j in range(length):
            torch.testing.assert_close(shifted[..., i, j], x[..., i, length - 1 - i + j])
    layer.zero_triu = True
    torch.testing.assert_close(layer.rel_shift(x), shifted.tril())


def test_attention_of_rotary_positions_turns_the_input() -> None:
    layer, x, padding = RotaryPositionMultiHeadedAttention(C, H, 0.0, precision="fp16"), _frames(), _padding()
    found, _ = layer(x, x, x, key_padding_mask=padding)
    turned = torch.zeros_like(x)
    for i in range(T):
        for h in range(H):
            for d in range(D // 2):
                a, b = h * D + d, h * D + D // 2 + d
                angle = i / 10000 ** (2 * d / D)
                turned[i, :, a] = x[i, :, a] * math.cos(angle) - x[i, :, b] * math.sin(angle)
                turned[i, :, b] = x[i, :, b] * math.cos(angle) + x[i, :, a] * math.sin(angle)
    plain = ESPNETMultiHeadedAttention(C, H, 0.0)
    plain.load_state_dict(layer.state_dict(), strict=False)
    torch.testing.assert_close(found, plain(turned, turned, x, key_padding_mask=padding)[0])


def test_the_convolution_module_is_its_formula() -> None:
    layer = ConvolutionModule(C, 6, 3, 0.0).eval()
    nn.init.normal_(layer.batch_norm.running_mean)
    x = torch.randn(B, T, C)
    normed = layer.layer_norm(x)
    wide = torch.einsum("btc,oc->bto", normed, layer.pointwise_conv1.weight[..., 0])
    gated = wide[..., :6] * torch.sigmoid(wide[..., 6:])
    mixed = torch.zeros(B, T, 6)
    for t in range(T):
        for k in range(3):
            if 0 <= t + k - 1 < T:
                mixed[:, t] += gated[:, t + k - 1] * layer.depthwise_conv.weight[:, 0, k]
    norm = layer.batch_norm
    mixed = (mixed - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
    active = mixed * torch.sigmoid(mixed)
    torch.testing.assert_close(layer(x), active @ layer.pointwise_conv2.weight[..., 0].t(), rtol=1e-4, atol=1e-6)
    assert not any(name.endswith("bias") and "conv" in name for name in layer.state_dict())
    with pytest.raises(ValueError, match="odd"):
        ConvolutionModule(C, C, 4, 0.0)


def test_the_feed_forward_module_is_its_formula() -> None:
    layer, x = FeedForwardModule(C, 12, 0.0, 0.0), _frames()
    inside = layer.w_1(layer.layer_norm(x))
    torch.testing.assert_close(layer(x), layer.w_2(inside * torch.sigmoid(inside)))
    assert FeedForwardModule(C, 12, 0.0, 0.0, activation_fn="relu")(x).shape == x.shape


KINDS = [(None, "abs"), ("espnet", "abs"), ("espnet", "rel_pos"), ("espnet", "rope")]


@pytest.mark.parametrize(("attn_type", "positions"), KINDS)
def test_a_conformer_layer_is_its_formula(attn_type: str | None, positions: str) -> None:
    options: dict[str, Any] = {"depthwise_conv_kernel_size": 3, "attn_type": attn_type, "pos_enc_type": positions}
    layer = ConformerEncoderLayer(C, 12, H, 0.0, False, **options)
    x, padding = _frames().requires_grad_(), _padding()
    codes = RelPositionalEncoding(T, C)(x) if positions == "rel_pos" else None
    found, (attn, ffn) = layer(x, padding, codes)
    assert attn is None and ffn.shape == x.shape
    found.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())
    layer.eval()
    found, (_, ffn) = layer(x, padding, codes)
    y = x + layer.ffn1(x) / 2
    extra = {} if codes is None else {"pos_emb": codes}
    normed = layer.self_attn_layer_norm(y)
    y = y + layer.self_attn(normed, normed, normed, key_padding_mask=padding, **extra)[0]
    y = y + layer.conv_module(y.transpose(0, 1)).transpose(0, 1)
    torch.testing.assert_close(ffn, layer.ffn2(y))
    torch.testing.assert_close(found, layer.final_layer_norm(y + ffn / 2))
    same = ConformerWav2Vec2EncoderLayer(C, 12, H, 0.0, False, **options).eval()
    same.load_state_dict(layer.state_dict())
    other, _ = same(x, self_attn_padding_mask=padding, need_weights=False, position_emb=codes)
    torch.testing.assert_close(other, found)


def test_the_names_of_a_conformer_layer() -> None:
    layer = ConformerEncoderLayer(C, 12, H, 0.0, False, attn_type="espnet", pos_enc_type="rel_pos")
    norm, linear = ("weight", "bias"), ("weight", "bias")
    expected = {f"{part}.layer_norm.{kind}" for part in ("ffn1", "ffn2", "conv_module") for kind in norm}
    expected |= {f"{part}.{name}.{kind}" for part in ("ffn1", "ffn2") for name in ("w_1", "w_2") for kind in linear}
    expected |= {f"{part}.{kind}" for part in ("self_attn_layer_norm", "final_layer_norm") for kind in norm}
    expected |= {f"self_attn.linear_{name}.{kind}" for name in ("q", "k", "v", "out") for kind in linear}
    expected |= {"self_attn.linear_pos.weight", "self_attn.pos_bias_u", "self_attn.pos_bias_v"}
    expected |= {f"conv_module.{name}.weight" for name in ("pointwise_conv1", "depthwise_conv", "pointwise_conv2")}
    statistics = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected |= {f"conv_module.batch_norm.{kind}" for kind in statistics}
    assert set(layer.state_dict()) == expected
    assert layer.conv_module.depthwise_conv.weight.shape == (C, 1, 31)
    assert layer.conv_module.pointwise_conv1.weight.shape == (2 * C, C, 1)
    with pytest.raises(ValueError, match="pos_enc_type no: expected abs, rel_pos or rope"):
        ConformerEncoderLayer(C, 12, H, 0.0, False, attn_type="espnet", pos_enc_type="no")


def test_zoneout_keeps_units_in_training_and_mixes_in_evaluation() -> None:
    cell = LSTMCellWithZoneOut(0.25, 3, 4)
    assert set(cell.state_dict()) == {f"lstm_cell.{n}_{m}" for n in ("weight", "bias") for m in ("ih", "hh")}
    x, old = torch.randn(500, 3), (torch.randn(500, 4), torch.randn(500, 4))
    new = cell.lstm_cell(x, old)
    for before, after, found in zip(old, new, cell(x, old)):
        kept = found == before
        assert torch.equal(torch.where(kept, before, after), found) and 0.2 < kept.float().mean() < 0.3
    for before, after, found in zip(old, new, cell.eval()(x, old)):
        torch.testing.assert_close(found, 0.25 * before + 0.75 * after)
    with pytest.raises(ValueError, match="zoneout probability must be in"):
        LSTMCellWithZoneOut(1.5, 3, 4)


def test_location_attention_is_its_formula() -> None:
    layer = LocationAttention(6, C, 4, 2, 3, 5)
    memory, hidden, state, padding = torch.randn(B, T, C), torch.randn(B, 4), torch.rand(B, 2, T), _padding()
    context, weights = layer(memory, padding, hidden, state)
    scores = torch.full((B, T), -math.inf)
    for b in range(B):
        for t in range(T):
            if padding[b, t]:
                continue
            seen = torch.zeros(3)
            for k in range(5):
                if 0 <= t + k - 2 < T:
                    seen += layer.conv.weight[:, :, k] @ state[b, :, t + k - 2]
            total = layer.proj_enc(memory[b, t]) + layer.proj_dec(hidden[b]) + layer.proj_attn(seen)
            scores[b, t] = 2.0 * (layer.proj_out[1](torch.tanh(total))).item()
    torch.testing.assert_close(weights, scores.softmax(1))
    torch.testing.assert_close(context, (weights[..., None] * memory).sum(1))
    context.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())
    other, _ = layer(memory, padding, None, state)
    torch.testing.assert_close(other, layer(memory, padding, torch.zeros(B, 4), state)[0])
    # Encoder states are projected once per batch.
    cached = layer.proj_enc_out
    layer(memory + 1, padding, hidden, state)
    assert layer.proj_enc_out is cached
    layer.clear_cache()
    assert layer.proj_enc_out is None
    shapes = {name: tuple(value.shape) for name, value in layer.state_dict().items()}
    assert shapes == {
        "proj_enc.weight": (6, C), "proj_enc.bias": (6,), "proj_dec.weight": (6, 4), "proj_attn.weight": (6, 3),
        "conv.weight": (3, 2, 5), "proj_out.1.weight": (1, 6), "proj_out.1.bias": (1,),
    }  # fmt: skip
