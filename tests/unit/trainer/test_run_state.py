"""What schedules and optimizers tell a resumed run besides their state."""

from __future__ import annotations

import json
from argparse import Namespace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fairseq.optim.bmuf import FairseqBMUF
from fairseq.optim.composite import CompositeLRScheduler
from fairseq.optim.dynamic_loss_scaler import DynamicLossScaler
from fairseq.trainer import draws, run_state


class Part:
    """Something with notes."""

    def __init__(self, **values: Any) -> None:
        self.values = values

    def notes(self) -> dict[str, Any]:
        return self.values

    def resume(self, notes: dict[str, Any]) -> None:
        self.values = {name: int(value) for name, value in notes.items()}


def test_each_schedule_of_a_composite_is_asked() -> None:
    before = CompositeLRScheduler({"a": Part(x=1), "b": Part()})  # type: ignore[dict-item]
    after = CompositeLRScheduler({"a": Part(), "b": Part()})  # type: ignore[dict-item]
    after.resume(json.loads(json.dumps(before.notes())))
    assert after.notes() == {"a": {"x": 1}, "b": {}}


def test_block_momentum_goes_on_counting() -> None:
    options = Namespace(
        distributed_world_size=1, warmup_iterations=5, global_sync_iter=2, block_lr=1.0, block_momentum=0.0,
        use_nbm=False, average_sync=False,
    )  # fmt: skip
    from fairseq.optim.sgd import SGD

    def make() -> FairseqBMUF:
        parameter = torch.nn.Parameter(torch.zeros(2))
        parameter.grad = torch.ones(2)
        return FairseqBMUF(options, SGD(SimpleNamespace(lr=[0.1], momentum=0.0, weight_decay=0.0), [parameter]))

    first, second = make(), make()
    for _ in range(3):
        first.step()
    second.resume(json.loads(json.dumps(first.notes())))
    assert second.get_num_updates() == 3


def test_a_loss_scaler_grows_when_it_would_have_grown() -> None:
    whole, first, second = (DynamicLossScaler(init_scale=8.0, scale_window=4) for _ in range(3))
    for _ in range(3):
        whole.update()
        first.update()
    second.resume(json.loads(json.dumps(first.notes())))
    for _ in range(6):
        whole.update()
        second.update()
        assert whole.loss_scale == second.loss_scale
    assert whole.loss_scale > 8.0


@pytest.mark.parametrize("saved", [None, 3, {"optimizer": 3}, {"optimizer": {"x": "much"}}, {"optimizer": {"x": []}}])
def test_notes_that_are_not_understood_change_nothing(saved: Any) -> None:
    part = Part(x=1)
    run_state.resume_optimizer(SimpleNamespace(optimizer=part), saved)
    assert part.values == {"x": 1}


@pytest.mark.parametrize("saved", [3, {}, {"numpy": ["MT19937", "AAAA", 0, 0, 0.0], "torch": "AAAA"}, {"numpy": 1}])
def test_random_states_that_are_not_understood_change_nothing(saved: Any) -> None:
    before = draws.state_of_draws()
    draws.resume_draws(saved)
    assert draws.state_of_draws() == before


def test_random_states_come_back() -> None:
    import numpy as np

    before = json.loads(json.dumps(draws.state_of_draws()))
    drawn = torch.rand(3), np.random.rand(3)
    draws.resume_draws(before)
    assert torch.equal(drawn[0], torch.rand(3)) and (drawn[1] == np.random.rand(3)).all()
