"""Meters and the global aggregators."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch

import fairseq.meters
import fairseq.metrics
from fairseq.logging import meters, metrics


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    metrics.reset()
    yield
    metrics.reset()


def test_old_module_names_are_the_same_modules() -> None:
    assert fairseq.metrics is metrics and sys.modules["fairseq.metrics"] is metrics
    assert fairseq.meters.AverageMeter is meters.AverageMeter
    from fairseq import distributed_utils, progress_bar
    from fairseq.distributed import utils
    from fairseq.logging import progress_bar as real

    assert progress_bar is real and distributed_utils is utils


def test_averages_are_weighted_and_rounded() -> None:
    with metrics.aggregate() as agg:
        metrics.log_scalar("loss", 2.0, weight=1, round=3)
        metrics.log_scalar("loss", torch.tensor(5.0, requires_grad=True), weight=2)
        metrics.log_scalar("lr", 0.5, weight=0)
        metrics.log_scalar("lr", 0.25, weight=0)
        metrics.log_scalar("loss", None)
    assert agg.get_smoothed_values() == {"loss": 4.0, "lr": 0.25}


def test_lines_are_ordered_by_priority_then_by_first_use() -> None:
    with metrics.aggregate("train") as agg:
        metrics.log_scalar("late", 1, priority=300)
        metrics.log_scalar("a", 1)
        metrics.log_derived("ppl", lambda m: 2 ** m["a"].avg)
        metrics.log_scalar("b", 1)
        metrics.log_scalar("_hidden", 1)
        metrics.log_scalar("late", 3, priority=1)
    assert list(agg.get_smoothed_values()) == ["a", "b", "ppl", "late"]
    assert metrics.get_smoothed_value("train", "ppl") == 2.0


def test_a_new_root_hides_the_outer_aggregators() -> None:
    with metrics.aggregate("train"):
        metrics.log_scalar("x", 1)
        with metrics.aggregate(new_root=True) as inner:
            metrics.log_scalar("x", 5)
            metrics.log_scalar("y", 5)
        metrics.log_scalar("x", 3)
    assert metrics.get_smoothed_values("train") == {"x": 2.0} and inner.get_smoothed_value("x") == 5
    assert metrics.get_smoothed_values("default") == {"x": 2.0}


def test_entering_a_name_twice_logs_once_and_an_exception_leaves_nothing_behind() -> None:
    with metrics.aggregate("a"):
        with metrics.aggregate("a"):
            metrics.log_scalar_sum("n", 1)
        metrics.log_scalar_sum("n", 1)
    assert metrics.get_smoothed_values("a") == {"n": 2}
    for new_root in (False, True):
        with pytest.raises(ValueError), metrics.aggregate("b", new_root=new_root):
            raise ValueError
    assert len(metrics.get_active_aggregators()) == 1
    with metrics.aggregate("c"):
        metrics.reset()
    assert len(metrics.get_active_aggregators()) == 1
    with pytest.raises(AssertionError), metrics.aggregate("default"):
        pass


def test_aggregation_works_as_a_decorator() -> None:
    @metrics.aggregate("deco")
    def step() -> None:
        metrics.log_scalar("x", 1)

    step()
    step()
    assert metrics.get_meter("deco", "x").count == 2  # type: ignore[union-attr]


def test_weights_that_are_zero_on_a_device_do_not_spoil_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    # As on CUDA, where values stay tensors.
    monkeypatch.setattr(meters, "_settle", lambda value: value)
    meter = meters.AverageMeter()
    meter.update(torch.tensor(3.0), torch.tensor(2.0))
    meter.update(torch.tensor(float("nan")), torch.tensor(0.0))
    assert float(meter.avg) == 3.0


def test_values_on_the_cpu_are_kept_as_python_numbers() -> None:
    meter = meters.SumMeter()
    meter.update(torch.tensor(3))
    meter.update(np.float64(0.5))
    assert type(meter.sum) is float and meter.sum == 3.5


def test_clocks_start_when_first_logged_and_stop_to_totals_or_means(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(meters.time, "perf_counter", lambda: now[0])
    with metrics.aggregate("t"):
        metrics.log_start_time("wall", round=0)
        metrics.log_speed("wps", 1000)
        now[0] += 2
        metrics.log_speed("wps", 50)
        metrics.log_stop_time("wall")
        now[0] += 2
        metrics.log_stop_time("unknown")
    assert metrics.get_smoothed_values("t") == {"wps": 12.5, "wall": 2.0}
    metrics.reset_meters("t")
    now[0] += 5
    metrics.reset_meter("t", "nothing")
    assert metrics.get_meter("t", "wall").elapsed_time == 5.0  # type: ignore[union-attr]


def test_states_survive_a_round_trip_in_the_checkpoint_layout() -> None:
    with metrics.aggregate("train") as agg:
        metrics.log_scalar("loss", 2.0, weight=3, round=2)
        metrics.log_scalar_sum("n", 4)
        metrics.log_derived("d", lambda m: 1)
        metrics.log_concat_tensor("t", torch.ones(2))
        metrics.log_custom(meters.SumMeter, "mine", 5, priority=1)
        state = metrics.state_dict()
        assert state["train"][1] == (10, "loss", "AverageMeter", {"val": 2.0, "sum": 6.0, "count": 3, "round": 2})
        assert [row[1] for row in state["train"]] == ["mine", "loss", "n", "t"]
        metrics.load_state_dict(state)
        assert metrics.get_meters("train") is agg
        metrics.log_scalar("loss", 4.0, weight=3)
    assert metrics.get_smoothed_value("train", "loss") == 3.0


def test_old_clocks_and_unknown_meters_are_read(caplog: pytest.LogCaptureFixture) -> None:
    rows = [(1, "wps", "TimeMeter", {"start": 3.0, "init": 7.0, "n": 5}), (2, "x", "NoSuchMeter", {})]
    metrics.load_state_dict({"train": rows})
    meter = metrics.get_meter("train", "wps")
    assert isinstance(meter, meters.TimeMeter) and meter.n == 0 and meter.elapsed_time > 7
    assert "no meter class NoSuchMeter" in caplog.text


def test_meters_cannot_be_replaced_and_rounding_takes_anything() -> None:
    table = meters.MetersDict()
    table.add_meter("x", meters.SumMeter(), 1)
    with pytest.raises(AssertionError, match="reassignment"):
        table.add_meter("x", meters.SumMeter(), 1)
    assert meters.safe_round(torch.tensor(1.239), 2) == pytest.approx(1.24)
    assert meters.safe_round(np.float32(1.239), 2) == pytest.approx(1.24)
    assert meters.safe_round("text", 2) == "text"
