"""The NaN detector names the module where trouble begins."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

from fairseq.nan_detector import NanDetector


class Multiply(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor


class Root(nn.Module):
    """Finite at zero, with an infinite gradient."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * 0).abs().sqrt() + 0


@pytest.mark.parametrize(("factor", "kind"), [(float("nan"), "NaN"), (float("inf"), "Inf")])
def test_the_first_bad_output_is_reported_once(caplog: pytest.LogCaptureFixture, factor: float, kind: str) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Sequential(Multiply(factor)), nn.Linear(3, 2))
    with caplog.at_level(logging.INFO), NanDetector(model, backward=False):
        model(torch.ones(2, 3))
    messages = [m for m in caplog.messages if "detected in output" in m]
    assert len(messages) == 1
    assert messages[0].startswith(f"{kind} detected in output of 1.0, shape: (2, 3), forward input max: ")


def test_the_module_whose_backward_goes_wrong_is_named(caplog: pytest.LogCaptureFixture) -> None:
    model = nn.Sequential(nn.Linear(3, 3), Root(), nn.ReLU(inplace=True), nn.Linear(3, 2))
    with caplog.at_level(logging.INFO), NanDetector(model):
        model(torch.ones(2, 3)).sum().backward()
    assert any(m.startswith("NaN detected in output of 1, shape: (2, 3), backward") for m in caplog.messages)
    assert "Detected nan/inf grad norm" in caplog.text


def test_a_healthy_model_is_silent_and_has_no_hooks_afterwards(caplog: pytest.LogCaptureFixture) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
    with caplog.at_level(logging.INFO), NanDetector(model):
        model(torch.ones(2, 3)).sum().backward()
    assert caplog.messages == []
    assert not any(module._forward_hooks for module in model.modules())
