"""Metric lines in the formats that people parse."""

from __future__ import annotations

import json
import logging
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fairseq.logging import progress_bar
from fairseq.logging.meters import AverageMeter


class Counting(list):
    n = 0


def run(caplog: pytest.LogCaptureFixture, items: Any = range(4), **settings: Any) -> list[tuple[str, str]]:
    with caplog.at_level(logging.INFO):
        bar = progress_bar.progress_bar(Counting(items), epoch=3, log_interval=2, **settings)
        assert len(bar) == 4
        for step, _ in enumerate(bar, start=1):
            bar.log({"loss": 1.23456789, "wps": torch.tensor(1e7)}, tag="train_inner", step=step)
        bar.print({"loss": 1.23456789, "num_updates": 4}, tag="train", step=4)
    return [(record.name, record.getMessage()) for record in caplog.records]


def test_simple_lines(caplog: pytest.LogCaptureFixture) -> None:
    assert run(caplog, log_format="simple", prefix="valid on 'valid' subset") == [
        ("train_inner", "epoch 003 | valid on 'valid' subset:      2 / 4 loss=1.23457, wps=1e+07"),
        ("train_inner", "epoch 003 | valid on 'valid' subset:      4 / 4 loss=1.23457, wps=1e+07"),
        ("train", "epoch 003 | valid on 'valid' subset | loss 1.23457 | num_updates 4"),
    ]


def test_json_lines_hold_strings(caplog: pytest.LogCaptureFixture) -> None:
    lines = [json.loads(text) for _, text in run(caplog, log_format="json")]
    assert lines[0] == {"epoch": 3, "update": 2.5, "loss": "1.23457", "wps": "1e+07"}
    assert lines[-1] == {"epoch": 3, "train_loss": "1.23457", "train_num_updates": "4"}
    assert list(lines[0]) == ["epoch", "update", "loss", "wps"]


def test_none_is_silent_and_tqdm_without_a_terminal_is_simple(caplog: pytest.LogCaptureFixture) -> None:
    assert run(caplog, log_format="none") == []
    assert type(progress_bar.progress_bar([1])) is progress_bar.SimpleProgressBar
    with pytest.raises(ValueError, match="Unknown log format: fancy"):
        progress_bar.progress_bar([1], log_format="fancy")


def test_tqdm_shows_the_final_line_too(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert run(caplog) == [("train", "epoch 003 | loss 1.23457 | num_updates 4")]


def test_a_resumed_epoch_goes_on_counting(caplog: pytest.LogCaptureFixture) -> None:
    items = Counting(range(4))
    items.n = 2
    with caplog.at_level(logging.INFO):
        bar = progress_bar.SimpleProgressBar(items, epoch=1, log_interval=1)
        next(iter(bar))
        bar.log({"x": 1}, step=3)
    assert caplog.records[0].getMessage() == "epoch 001:      3 / 4 x=1"


def test_metric_lines_are_also_written_to_the_log_file_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "log.txt"
    logger = logging.getLogger("fairseq.logging.progress_bar")
    try:
        for _ in range(2):
            run(caplog, log_format="simple", log_file=str(file))
    finally:
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
            handler.close()
    assert len(file.read_text(encoding="utf-8").splitlines()) == 6


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (12345678.0, "1.23457e+07"),
        (float("nan"), "nan"),
        (np.float32(0.5), "0.5"),
        (torch.tensor(2.0), "2"),
        (torch.tensor([1, 2]), [1, 2]),
        ("text", "text"),
    ],
)
def test_numbers_have_six_digits(value: Any, text: Any) -> None:
    assert progress_bar.format_stat(value) == text


def test_average_meters_have_three_decimals() -> None:
    meter = AverageMeter()
    meter.update(1.23456)
    assert progress_bar.format_stat(meter) == "1.235"


@pytest.fixture
def writers(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[Any]]]:
    from fairseq.logging.progress_bar import tensorboard

    written: dict[str, list[Any]] = {}

    class Writer:
        def __init__(self, folder: str) -> None:
            self.rows = written.setdefault(folder, [])

        def add_scalar(self, *row: Any) -> None:
            self.rows.append(row)

        def add_text(self, *row: Any) -> None:
            self.rows.append(row[:1])

        def flush(self) -> None:
            pass

        def close(self) -> None:
            self.rows.append("closed")

    monkeypatch.setattr(progress_bar, "SummaryWriter", Writer, raising=False)
    yield written
    tensorboard.close_writers()


def test_tensorboard_has_a_folder_per_tag_and_only_scalars(writers: dict[str, list[Any]]) -> None:
    bar = progress_bar.progress_bar([1, 2], log_format="none", tensorboard_logdir="logs")
    with bar as entered:
        for _ in entered:
            entered.log({"loss": 1.5, "name": "x", "v": torch.ones(2), "num_updates": 7}, tag="train_inner")
        entered.print({"loss": torch.tensor(2.0)}, tag="train", step=9)
    assert writers["logs/train_inner"] == [("sys.argv",), ("loss", 1.5, 7), ("loss", 1.5, 7), "closed"]
    assert writers["logs/train"] == [("sys.argv",), ("loss", 2.0, 9), "closed"]


def test_missing_packages_are_named_and_training_goes_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SummaryWriter", "wandb", "Run", "get_aim_run"):
        monkeypatch.setattr(progress_bar, name, None, raising=False)
    settings = {"tensorboard_logdir": "x", "wandb_project": "p", "aim_repo": "r", "azureml_logging": True}
    bar = progress_bar.progress_bar([1], log_format="none", **settings)
    bar.log({"x": 1.0}, tag="t", step=1)
    bar.update_config({"a": 1})
    assert "tensorboard not found, please install with: pip install tensorboard" in caplog.text
    assert "wandb not found, pip install wandb" in caplog.text


def test_wandb_gets_metrics_under_their_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    class Wandb:
        run = None
        config = Namespace(update=lambda config, allow_val_change: calls.append(config))

        @staticmethod
        def init(**settings: Any) -> None:
            calls.append(settings)

        @staticmethod
        def log(values: Any, step: int) -> None:
            calls.append((values, step))

    monkeypatch.setattr(progress_bar, "wandb", Wandb, raising=False)
    bar = progress_bar.progress_bar([1], log_format="none", wandb_project="p", wandb_run_name="run")
    bar.print({"loss": 1.0, "num_updates": 3}, tag="valid")
    bar.update_config({"seed": 1})
    assert calls == [{"project": "p", "name": "run"}, ({"valid/loss": 1.0}, 3), {"seed": 1}]


def test_the_old_builder_fills_in_the_format() -> None:
    args = Namespace(no_progress_bar=True, log_interval=5)
    assert isinstance(progress_bar.build_progress_bar(args, [1]), progress_bar.NoopProgressBar)
    assert args.log_format == "none"


@pytest.mark.parametrize(
    "settings", [{"log_format": "simple"}, {"log_format": "json"}, {}], ids=["simple", "json", "tqdm"]
)
def test_a_finished_line_is_the_message_itself(
    settings: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with caplog.at_level(logging.INFO):
        bar = progress_bar.progress_bar(Counting(range(2)), epoch=1, prefix="100%", log_interval=1, **settings)
        for step, _ in enumerate(bar, start=1):
            bar.log({"a%s": 1.5}, tag="train_inner", step=step)
        bar.print({"a%s": 1.5}, tag="valid", step=2)
    assert {record.name for record in caplog.records} >= {"valid"}
    for record in caplog.records:
        assert record.args == () and record.msg == record.getMessage()
