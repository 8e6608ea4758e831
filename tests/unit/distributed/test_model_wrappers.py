"""Wrappers around a model, in one process."""

from __future__ import annotations

import signal
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from fairseq.distributed import (
    DistributedTimeoutWrapper,
    LegacyDistributedDataParallel,
    ModuleProxyWrapper,
    TPUDistributedDataParallel,
    fsdp_enable_wrap,
    fsdp_wrap,
)
from fairseq.distributed.wrap import wrap_model


class Model(nn.Linear):
    max_positions = 7


def test_attributes_and_states_are_those_of_the_model() -> None:
    model = Model(2, 2)
    wrapped = ModuleProxyWrapper(LegacyDistributedDataParallel(model, None))
    assert wrapped.max_positions == 7 and wrapped.accumulate_grads is False
    assert list(wrapped.state_dict()) == ["weight", "bias"]
    wrapped.load_state_dict({"weight": torch.ones(2, 2), "bias": torch.zeros(2)})
    assert torch.equal(wrapped(torch.ones(1, 2)), torch.full((1, 2), 2.0))
    with pytest.raises(AttributeError):
        _ = wrapped.no_such_thing
    with pytest.raises(AssertionError, match="wrap another module"):
        ModuleProxyWrapper(nn.Linear(2, 2))


def test_missing_gradients_become_zeros_and_experts_are_left_alone() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight.expert = True  # type: ignore[assignment]
    wrapped = LegacyDistributedDataParallel(model, None, buffer_size=3)
    with wrapped.no_sync():
        wrapped.all_reduce_grads()
        assert model[0].weight.grad is None
    wrapped.all_reduce_grads()
    assert torch.equal(model[0].weight.grad, torch.zeros(2, 2)) and model[1].weight.grad is None  # type: ignore[arg-type]


def test_a_stalled_job_is_signalled_and_a_working_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    sent, arrived = [], threading.Event()

    def kill(process: int, number: int) -> None:
        sent.append(number)
        arrived.set()

    monkeypatch.setattr("os.kill", kill)
    idle = DistributedTimeoutWrapper(Model(2, 2), timeout=0.05, signal=signal.SIGTERM)
    time.sleep(0.2)
    assert not sent  # the clock starts with the first forward pass
    idle(torch.ones(1, 2))
    assert arrived.wait(5) and sent == [signal.SIGTERM]
    assert idle.max_positions == 7 and list(idle.state_dict()) == ["weight", "bias"]
    stopped = DistributedTimeoutWrapper(Model(2, 2), timeout=0.05)
    stopped(torch.ones(1, 2))
    stopped.stop_timeout()
    time.sleep(0.2)
    assert len(sent) == 1


def test_a_job_that_does_not_heed_the_signal_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    sent, arrived = [], threading.Event()

    def kill(process: int, number: int) -> None:
        sent.append(number)
        if number == signal.SIGKILL:
            arrived.set()

    monkeypatch.setattr("os.kill", kill)
    monkeypatch.setattr("fairseq.distributed.distributed_timeout_wrapper.GRACE", 0.05)
    idle = DistributedTimeoutWrapper(Model(2, 2), timeout=0.05)
    idle(torch.ones(1, 2))
    assert arrived.wait(5) and sent == [signal.SIGINT, signal.SIGKILL]


def backend(name: str, **given: Any) -> Any:
    return SimpleNamespace(ddp_backend=name, tpu=False, heartbeat_timeout=-1, **given)


def test_backends_that_cannot_work_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="slowmo is not supported"):
        wrap_model(backend("slowmo"), Model(2, 2), None, torch.device("cpu"))
    with pytest.raises(ValueError, match="Unknown --ddp-backend: magic"):
        wrap_model(backend("magic"), Model(2, 2), None, torch.device("cpu"))
    with pytest.raises(RuntimeError, match="TPUs are not supported"):
        TPUDistributedDataParallel(Model(2, 2), None)
    with pytest.raises(RuntimeError, match="needs several processes"), fsdp_enable_wrap(backend("fully_sharded")):
        pass


def test_both_names_of_a_backend_are_the_same_and_the_watch_is_put_around() -> None:
    cfg = backend("no_c10d")
    cfg.heartbeat_timeout = 60
    wrapped = wrap_model(cfg, Model(2, 2), None, torch.device("cpu"))
    assert isinstance(wrapped, DistributedTimeoutWrapper) and isinstance(wrapped.module, ModuleProxyWrapper)
    assert wrapped.max_positions == 7
    wrapped.stop_timeout()


def test_marking_a_layer_alone_changes_nothing() -> None:
    layer = nn.Linear(2, 2)
    assert fsdp_wrap(layer, min_num_params=1) is layer and type(layer) is nn.Linear
