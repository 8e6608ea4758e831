"""Whole blocks of a transformer layer as one operation: the numbers of the single steps, and never behind a back."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fairseq.modules import MultiheadAttention
from fairseq.modules.fused import attention, feed_forward, layers

TOKENS = torch.tensor([[4, 5, 6, 7, 8], [9, 10, 2, 1, 1], [11, 12, 13, 2, 1]])
ROUNDING = {"rtol": 1e-4, "atol": 1e-7}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Let small tensors take the way of large ones; counts the whole blocks."""
    monkeypatch.setattr(attention, "SMALLEST", 1)
    monkeypatch.setattr(feed_forward, "SMALLEST", 1)
    done: dict[str, int] = {}

    def counted(name: str) -> Any:
        real = getattr(layers, name)

        def call(*args: Any) -> Any:
            result = real(*args)
            done[name] = done.get(name, 0) + (result is not None)
            return result

        return call

    for name in ("attend_add_norm", "feed_forward", "feed_forward_add_norm"):
        monkeypatch.setattr(layers, name, counted(name))
    return done


def gradients(model: Any) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    model.train()
    model.zero_grad()
    out, _ = model(TOKENS, torch.tensor([5, 3, 4]), TOKENS)
    out.square().mean().backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return {"output": out.detach(), **found}


def plain(model: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    with monkeypatch.context() as patch:
        for name in ("attend_add_norm", "feed_forward", "feed_forward_add_norm"):
            patch.setattr(layers, name, lambda *args: None)
        return gradients(model)


@pytest.mark.parametrize("norm_first", [False, True])
def test_whole_blocks_give_the_numbers_of_their_steps(
    build: Any, small: dict[str, int], monkeypatch: pytest.MonkeyPatch, norm_first: bool
) -> None:
    model = build(dropout=0.4, encoder_normalize_before=norm_first, decoder_normalize_before=norm_first)
    expected, found = plain(model, monkeypatch), gradients(model)
    if norm_first:
        assert small == {"feed_forward": 4}
    else:
        # The last decoder layer is asked for its attention to the source.
        assert small == {"attend_add_norm": 2 + 2 + 1, "feed_forward_add_norm": 4}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, **ROUNDING, msg=lambda text, name=name: f"{name}: {text}")


def test_parts_that_somebody_looks_into_are_called(build: Any, small: dict[str, int]) -> None:
    model = build(dropout=0.4)
    seen: list[str] = []
    layer = model.encoder.layers[0]
    layer.fc1.register_forward_hook(lambda *_: seen.append("fc1"))
    layer.self_attn.k_proj.register_forward_hook(lambda *_: seen.append("k_proj"))
    gradients(model)
    assert sorted(seen) == ["fc1", "k_proj"]
    assert small["feed_forward_add_norm"] == 3


def test_a_replaced_attention_is_called(build: Any, small: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls, real = build(dropout=0.4), [], MultiheadAttention.forward
    monkeypatch.setattr(MultiheadAttention, "forward", lambda *args, **more: calls.append(1) or real(*args, **more))
    gradients(model)
    assert len(calls) == 2 + 2 * 2 and not small.get("attend_add_norm")


@pytest.mark.parametrize("words", [{"activation_dropout": 0.1}, {"attention_dropout": 0.1}, {"activation_fn": "gelu"}])
def test_what_lies_between_keeps_a_block_in_steps(build: Any, small: dict[str, int], words: dict[str, Any]) -> None:
    gradients(build(dropout=0.4, **words))
    if "attention_dropout" in words:
        assert small["attend_add_norm"] == 0
    else:
        assert not small.get("feed_forward_add_norm") and not small.get("feed_forward")


def test_the_gradient_may_be_taken_twice_from_one_graph(build: Any, small: dict[str, int]) -> None:
    model = build(dropout=0.4)
    torch.manual_seed(1)
    model.train()
    out, _ = model(TOKENS, torch.tensor([5, 3, 4]), TOKENS)
    loss = out.square().mean()
    loss.backward(retain_graph=True)
    once = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    loss.backward()
    assert small["attend_add_norm"] > 0 and small["feed_forward_add_norm"] > 0
    for name, p in model.named_parameters():
        if name in once:
            torch.testing.assert_close(p.grad, 2 * once[name], **ROUNDING)


@pytest.mark.parametrize("offload", [False, True])
def test_recomputed_layers_give_the_same_numbers_and_keep_nothing_in_between(
    build: Any, small: dict[str, int], offload: bool
) -> None:
    expected = gradients(build(dropout=0.4))
    small.clear()
    found = gradients(build(dropout=0.4, checkpoint_activations=True, offload_activations=offload))
    assert small["attend_add_norm"] == 0 and small["feed_forward_add_norm"] == 4
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, **ROUNDING)
