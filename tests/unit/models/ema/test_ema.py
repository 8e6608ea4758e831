"""Averages of parameters."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from fairseq.models.ema import EMA, build_ema
from fairseq.modules.weight_norm import weight_norm


def config(**changes: Any) -> Any:
    values = {
        "ema_decay": 0.75,
        "ema_start_update": 0,
        "ema_update_freq": 1,
        "ema_fp32": False,
        "ema_seed_model": None,
    }
    return SimpleNamespace(**{**values, **changes})


def shift(model: nn.Module, by: float) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(by)


def test_the_average_moves_by_one_minus_decay_of_the_distance() -> None:
    model = nn.Linear(2, 2)
    ema = build_ema(model, config(), "cpu")
    start = model.weight.detach().clone()
    shift(model, 4.0)
    ema.step(model, updates=1)
    torch.testing.assert_close(ema.get_model().weight, start + 1.0)
    assert not any(p.requires_grad for p in ema.get_model().parameters())
    assert ema.get_decay() == 0.75


def test_before_the_first_averaged_update_the_model_is_copied() -> None:
    model = nn.Linear(2, 2)
    ema = EMA(model, config(ema_start_update=10))
    shift(model, 4.0)
    ema.step(model, updates=9)
    torch.testing.assert_close(ema.get_model().weight, model.weight)


def test_only_every_nth_call_averages() -> None:
    model = nn.Linear(2, 2)
    ema = EMA(model, config(ema_update_freq=2))
    start = model.weight.detach().clone()
    shift(model, 4.0)
    ema.step(model, updates=1)
    torch.testing.assert_close(ema.get_model().weight, start)
    ema.step(model, updates=2)
    torch.testing.assert_close(ema.get_model().weight, start + 1.0)


def test_a_shared_parameter_decays_once() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    ema = EMA(model, config())
    start = model[0].weight.detach().clone()
    shift(model, 4.0)
    ema.step(model, updates=1)
    torch.testing.assert_close(ema.get_model()[1].weight, start + 1.0)  # type: ignore[index]


def test_float32_masters_keep_what_half_precision_would_lose() -> None:
    model = nn.Linear(1, 1, bias=False).half()
    nn.init.constant_(model.weight, 1.0)
    ema = EMA(model, config(ema_fp32=True, ema_decay=0.9999))
    shift(model, 1.0)
    for update in range(100):
        ema.step(model, updates=update)
    wanted = 2 - 0.9999**100
    assert ema.fp32_params["weight"].item() == pytest.approx(wanted, rel=1e-5)
    assert ema.get_model().weight.dtype == torch.float16
    assert ema.get_model().weight.item() == pytest.approx(wanted, rel=1e-3)


def test_versions_stay_integers_and_named_entries_are_copied() -> None:
    model = nn.BatchNorm1d(2)
    model.register_buffer("version", torch.zeros(1))
    ema = EMA(model, config(), skip_keys={"bias"})
    model.version += 5
    model.num_batches_tracked += 3
    shift(model, 4.0)
    ema.step(model, updates=1)
    shadow = ema.get_model()
    assert shadow.version.item() == 0
    assert shadow.num_batches_tracked.item() == 3
    torch.testing.assert_close(shadow.bias, model.bias)
    torch.testing.assert_close(shadow.weight, model.weight - 3.0)


def test_weight_normalised_models_can_be_averaged_after_a_forward_pass() -> None:
    for model in (weight_norm(nn.Linear(2, 2)), nn.Sequential(weight_norm(nn.Linear(2, 2)))):
        model(torch.ones(1, 2)).sum().backward()
        assert EMA(model, config()).get_model()(torch.ones(1, 2)).shape == (1, 2)


def test_restoring_and_reversing_carry_weights_in_and_out() -> None:
    model, other = nn.Linear(2, 2), nn.Linear(2, 2)
    ema = EMA(model, config(ema_fp32=True))
    ema.restore(other.state_dict(), build_fp32_params=True)
    torch.testing.assert_close(ema.fp32_params["weight"], other.weight.detach())
    assert ema.reverse(model) is model
    torch.testing.assert_close(model.weight, other.weight)


def test_float32_masters_need_their_option_and_shapes_must_agree() -> None:
    ema = EMA(nn.Linear(2, 2), config())
    with pytest.raises(RuntimeError, match="--ema-fp32"):
        ema.build_fp32_params()
    with pytest.raises(ValueError, match="incompatible tensor shapes"):
        ema.step(nn.Linear(3, 2))
