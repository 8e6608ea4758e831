"""Training called from a program leaves the program's signal handlers alone; the commands have their own."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from toy_training import MODEL, RUN, run

from fairseq.training_loop import preemption

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]


@pytest.fixture
def mine() -> Any:
    """Handlers of a surrounding program; yields the signals that reached them."""
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        seen.append(number)

    before = {number: signal.signal(number, note) for number in SIGNALS}
    yield note, seen
    for number, handler in before.items():
        signal.signal(number, handler)


def send_in_update(monkeypatch: pytest.MonkeyPatch, number: int) -> list[Any]:
    """Send this process a signal in the second update; returns the handlers that were installed then."""
    from fairseq.trainer import Trainer

    real, handlers = Trainer.train_step, []

    def step(self: Any, samples: Any, raise_oom: bool = False) -> Any:
        if self.get_num_updates() == 1:
            handlers.extend(signal.getsignal(each) for each in SIGNALS)
            os.kill(os.getpid(), number)
        return real(self, samples, raise_oom)

    monkeypatch.setattr(Trainer, "train_step", step)
    return handlers


@pytest.mark.parametrize("number", SIGNALS)
def test_a_program_keeps_its_handlers_while_it_trains(
    number: int, mine: Any, toy_pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note, seen = mine
    installed = send_in_update(monkeypatch, number)
    run(toy_pairs, tmp_path, "--max-update", 3, "--no-save")
    assert installed == [note] * 3 and seen == [number]
    assert [signal.getsignal(each) for each in SIGNALS] == [note] * 3


@pytest.mark.parametrize("tool", ["train", "hydra_train"])
def test_the_command_saves_and_gives_the_handlers_back(
    tool: str, mine: Any, toy_pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fairseq_cli import hydra_train, train

    note, seen = mine
    send_in_update(monkeypatch, signal.SIGTERM)
    if tool == "train":
        words = [toy_pairs, *MODEL, *RUN, "--save-dir", str(tmp_path), "--max-update", "5"]
        monkeypatch.setattr(sys, "argv", ["fairseq-train", *words])
    else:
        # What Hydra does before and after is not of interest here.
        monkeypatch.setattr(sys, "argv", ["fairseq-hydra-train", "task=translation"])
        monkeypatch.setattr(hydra_train, "cli_main", lambda: run(toy_pairs, tmp_path, "--max-update", 5))
    with pytest.raises(SystemExit) as left:
        (train if tool == "train" else hydra_train).console_main()
    assert left.value.code == 128 + signal.SIGTERM and seen == []
    assert (tmp_path / "checkpoint_last.pt").exists()
    assert [signal.getsignal(each) for each in SIGNALS] == [note] * 3
    assert preemption.LEAVE_ENV not in os.environ


@pytest.mark.parametrize(
    ("value", "taken"),
    [("1", True), (str(os.getppid()), True), ("2", False), ("", False)],
    ids=["asked for", "worker of the command", "another command's", "not asked for"],
)
def test_who_heeds_the_signals(value: str, taken: bool, mine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    note, _ = mine
    monkeypatch.setenv(preemption.LEAVE_ENV, value)
    with preemption.leave_if_command():
        assert (signal.getsignal(signal.SIGTERM) is not note) == taken
    assert signal.getsignal(signal.SIGTERM) is note
