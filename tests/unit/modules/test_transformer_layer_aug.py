"""The decoder layer with two encoders, against the blocks it is made of."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from fairseq.models.transformer.transformer_config import TransformerConfig
from fairseq.modules.transformer_layer import TransformerDecoderLayerBase
from fairseq.modules.transformer_layer_aug import AugTransformerDecoderLayerBase

T, B, C = 4, 2, 8


def _config(before: bool = False) -> TransformerConfig:
    config = TransformerConfig(dropout=0.0)
    for group in (config.encoder, config.decoder):
        group.embed_dim, group.ffn_embed_dim, group.attention_heads, group.normalize_before = C, 12, 2, before
    return config


def _given() -> dict[str, Any]:
    return {
        "x": torch.randn(T, B, C),
        "encoder_out": torch.randn(3, B, C),
        "encoder_padding_mask": torch.tensor([[False] * 3, [False, False, True]]),
        "encoder_out_aug": torch.randn(5, B, C),
        "encoder_padding_mask2": torch.tensor([[False] * 4 + [True], [False] * 5]),
        "self_attn_mask": torch.full((T, T), float("-inf")).triu(1),
    }


def _expected(layer: Any, given: dict[str, Any], weights: tuple[float, float]) -> Tensor:
    before = layer.normalize_before

    def block(x: Tensor, norm: Any, act: Any) -> Tensor:
        y = x + act(norm(x) if before else x)
        return y if before else norm(y)

    def look(attention: Any, number: str) -> Any:
        memory = given["encoder_out" + ("_aug" if number else "")]
        mask = given["encoder_padding_mask" + number]
        return lambda x: attention(x, memory, memory, key_padding_mask=mask, static_kv=True)[0]

    x = block(
        given["x"], layer.self_attn_layer_norm, lambda x: layer.self_attn(x, x, x, attn_mask=given["self_attn_mask"])[0]
    )
    first, second = look(layer.encoder_attn, ""), look(layer.encoder_attn2, "2")
    if layer.encoder_attn_merge_type == "sequential":
        x = block(x, layer.encoder_attn_layer_norm, first)
        x = block(x, layer.encoder_attn_layer_norm2, second)
    else:
        x = block(x, layer.encoder_attn_layer_norm, lambda x: weights[0] * first(x) + weights[1] * second(x))
    return block(x, layer.final_layer_norm, lambda x: layer.fc2(torch.relu(layer.fc1(x))))


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("kind", ["sequential", "parallel"])
def test_the_layer_is_its_blocks(kind: str, before: bool) -> None:
    torch.manual_seed(5)
    layer = AugTransformerDecoderLayerBase(_config(before), encoder_attn_merge_type=kind)
    given = _given()
    found, attn, attn2, state = layer(**given, need_attn=True)
    torch.testing.assert_close(found, _expected(layer, given, (0.5, 0.5)))
    assert attn.shape == (B, T, 3) and attn2.shape == (B, T, 5) and state is None
    assert not attn[1, :, 2].any() and not attn2[0, :, 4].any()
    found.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())
    plain = set(TransformerDecoderLayerBase(_config()).state_dict())
    extra = {name.replace("encoder_attn.", "encoder_attn2.") for name in plain if name.startswith("encoder_attn.")}
    if kind == "sequential":
        extra |= {"encoder_attn_layer_norm2.weight", "encoder_attn_layer_norm2.bias"}
    assert set(layer.state_dict()) == plain | extra


@pytest.mark.parametrize("kind", ["sequential", "parallel"])
def test_steps_give_what_the_whole_gives(kind: str) -> None:
    torch.manual_seed(5)
    layer = AugTransformerDecoderLayerBase(_config(), encoder_attn_merge_type=kind).eval()
    given = _given()
    whole = layer(**given)[0]
    state: dict[str, Any] = {}
    x = given.pop("x")
    given.pop("self_attn_mask")
    steps = [layer(x[i : i + 1], **given, incremental_state=state)[0] for i in range(T)]
    torch.testing.assert_close(torch.cat(steps), whole)


@pytest.mark.parametrize("kind", ["sequential", "parallel"])
@pytest.mark.parametrize("missing", ["encoder_out", "encoder_out_aug"])
def test_an_encoder_may_be_missing(kind: str, missing: str) -> None:
    torch.manual_seed(5)
    layer = AugTransformerDecoderLayerBase(_config(), encoder_attn_merge_type=kind)
    found, attn, attn2, _ = layer(**{**_given(), missing: None}, need_attn=True)
    assert found.shape == (T, B, C)
    assert (attn is None, attn2 is None) == (missing == "encoder_out", missing == "encoder_out_aug")


def test_drop_net_uses_one_attention_at_times() -> None:
    torch.manual_seed(5)
    layer = AugTransformerDecoderLayerBase(_config(), encoder_attn_merge_type="parallel", dropnet_ratio=0.5)
    draws = [layer.get_dropnet_ratio() for _ in range(2000)]
    shares = [draws.count(weights) / 2000 for weights in ((1.0, 0.0), (0.0, 1.0), (0.5, 0.5))]
    assert shares == pytest.approx([0.25, 0.25, 0.5], abs=0.05)
    given = _given()
    layer.get_dropnet_ratio = lambda: (0.0, 1.0)  # type: ignore[method-assign]
    torch.testing.assert_close(layer(**given)[0], _expected(layer, given, (0.0, 1.0)))
    del layer.get_dropnet_ratio
    assert {layer.eval().get_dropnet_ratio() for _ in range(50)} == {(0.5, 0.5)}


def test_other_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="expected sequential or parallel"):
        AugTransformerDecoderLayerBase(_config(), encoder_attn_merge_type="both")
    with pytest.raises(ValueError, match="dropnet_ratio"):
        AugTransformerDecoderLayerBase(_config(), dropnet_ratio=2.0)
