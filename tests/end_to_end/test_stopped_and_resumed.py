"""A run that is stopped and resumed equals one that was never stopped: each piece of what a run knows.

A run is ended by an exception before an update, as by a power cut: nothing is validated or saved that an uninterrupted
run would not have validated or saved. The same command then goes on in the same folder. Both stories (losses, rates,
validations, files) and both last checkpoints must be equal.
"""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy_training
from toy_training import checkpoint, run

from fairseq.logging import metrics
from fairseq.serialization.notes import read_notes
from fairseq.trainer import Trainer
from fairseq.training_loop import loop

# Updates in an epoch of the made-up data.
EPOCH = 9
SAVE = ("--save-interval-updates", 4)
# Values of the issue that this module began with; the best one is the first for a while.
LOSSES = (28.5, 56.7, 63.5, 36.9, 30.9, 45.5, 29.0, 28.0, 31.0)
TRANSFORMER = (  # noqa: SIM905
    "--arch transformer --encoder-embed-dim 8 --decoder-embed-dim 8 --encoder-ffn-embed-dim 8 "
    "--decoder-ffn-embed-dim 8 --encoder-attention-heads 2 --decoder-attention-heads 2 --encoder-layers 2 "
    "--decoder-layers 2"
).split()


class Stopped(Exception):
    """The power is gone."""


class Story:
    """Follows runs: what each update and each validation gave, and when to stop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, losses: tuple[float, ...] | None = None) -> None:
        self.told: list[Any] = []
        self.saves: list[tuple[int, bool]] = []
        self.stop: int | None = None
        step, validate, save = Trainer.train_step, loop.validate, Trainer.save_checkpoint

        def save_checkpoint(trainer: Any, filename: str, extra_state: dict[str, Any]) -> None:
            self.saves.append((trainer.get_num_updates(), extra_state["train_iterator"]["iterations_in_epoch"] == 0))
            save(trainer, filename, extra_state)

        def train_step(trainer: Any, samples: Any, raise_oom: bool = False) -> Any:
            if trainer.get_num_updates() == self.stop:
                raise Stopped
            output = step(trainer, samples, raise_oom)
            loss = None if output is None else round(float(output["loss"]), 6)
            self.told.append(("update", trainer.get_num_updates(), loss, trainer.get_lr()))
            return output

        def validated(cfg: Any, trainer: Any, task: Any, epoch_itr: Any, subsets: list[str]) -> Any:
            values = validate(cfg, trainer, task, epoch_itr, subsets)
            if losses is not None:
                values = [losses[min(trainer.get_num_updates() // EPOCH, len(losses)) - 1]]
            self.told.append(("validation", trainer.get_num_updates(), values))
            return values

        monkeypatch.setattr(Trainer, "train_step", train_step)
        monkeypatch.setattr(Trainer, "save_checkpoint", save_checkpoint)
        monkeypatch.setattr(loop, "validate", validated)

    def of(self, stop: int | None, *words: Any) -> list[Any]:
        """Train, stopping before the update after ``stop``, if given, and again to the end."""
        self.told, self.saves, self.stop = [], [], stop
        if stop is not None:
            with pytest.raises(Stopped):
                run(*words)
            self.stop = None
        run(*words)
        return self.told


def without_times(state: dict[str, Any]) -> dict[str, Any]:
    """What must be equal in two checkpoints."""
    extra = {
        key: value for key, value in state["extra_state"].items() if key not in ("metrics", "previous_training_time")
    }
    last = dict(state["optimizer_history"][-1].items())
    return {**{key: state[key] for key in ("model", "last_optimizer_state")}, "extra": extra, "last": last}


def assert_equal(a: Any, b: Any, place: str = "") -> None:
    """Equality to the last bit, wherever tensors are."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), place
        for key in a:
            assert_equal(a[key], b[key], f"{place}/{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), place
        for index, (left, right) in enumerate(zip(a, b)):
            assert_equal(left, right, f"{place}[{index}]")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), place
    else:
        assert a == b or (a != a and b != b), f"{place}: {a} and {b}"


def compare(story: Story, data: str, folder: Path, *words: Any, at: str = "one of each") -> None:
    """Train without a stop and with one after a save; all must be equal.

    Args:
        at: stop after ``all`` saves but the last, in turn, or after ``one of each`` kind: within and between epochs.
    """
    words = (*SAVE, *words) if "--max-epoch" in words else (*SAVE, "--max-epoch", 2, *words)
    whole = story.of(None, data, folder / "whole", *words)
    stops = {ends: update for update, ends in reversed(story.saves[:-1])}.values()
    for stop in stops if at == "one of each" else [update for update, _ in story.saves[:-1]]:
        parts = story.of(stop, data, folder / "parts", *words)
        assert_equal(whole, parts, f"stopped after {stop}")
        files = [sorted(path.name for path in (folder / name).iterdir()) for name in ("whole", "parts")]
        assert files[0] == files[1]
        one, other = (checkpoint(folder / name) for name in ("whole", "parts"))
        assert_equal(without_times(one), without_times(other), f"stopped after {stop}")
        notes = [read_notes(folder / name / "checkpoint_last.pt") for name in ("whole", "parts")]
        assert_equal(notes[0], notes[1], f"notes, stopped after {stop}")
        shutil.rmtree(folder / "parts")


SCHEDULES = {
    "fixed": "--lr-scheduler fixed --lr 0.01,0.02,0.03 --force-anneal 3",
    "fixed, warming up": "--lr-scheduler fixed --lr 0.01 --warmup-updates 10",
    "inverse_sqrt": "--lr-scheduler inverse_sqrt --warmup-updates 6",
    "polynomial_decay": "--lr-scheduler polynomial_decay --lr 0.01,0.02 --total-num-update 30",
    "polynomial_decay, annealed": "--lr-scheduler polynomial_decay --total-num-update 30 --force-anneal 1",
    "cosine": "--lr-scheduler cosine --lr-period-updates 5 --warmup-updates 2 --t-mult 2",
    "tri_stage": "--lr-scheduler tri_stage --warmup-steps 3 --hold-steps 3 --decay-steps 9",
    "triangular": "--lr-scheduler triangular --max-lr 0.05 --lr-period-updates 6",
    "step": "--lr-scheduler step --lr-deacy-period 3",
    "manual": "--lr-scheduler manual --epoch2lr {'1':0.01,'2':0.02} --update2lr {'5':0.03,'16':0.001}",
    "manual, by epoch": "--lr-scheduler manual --epoch2lr {'1':0.01,'2':0.02}",
}


@pytest.mark.parametrize("options", SCHEDULES.values(), ids=SCHEDULES.keys())
def test_schedules(options: str, toy_pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Without the schedule of the other tests, whose options not all schedules have.
    monkeypatch.setattr(toy_training, "RUN", toy_training.RUN[: toy_training.RUN.index("--lr-scheduler")])
    compare(Story(monkeypatch), toy_pairs, tmp_path, *options.split(), "--max-epoch", 3)


@pytest.mark.parametrize("options", ["", "--lr-patience 1", "--warmup-updates 5", "--maximize-best-checkpoint-metric"])
def test_rates_that_follow_validation(
    options: str, toy_pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--lr-scheduler", "reduce_lr_on_plateau", "--lr-shrink", 0.5, "--max-epoch", 4, *options.split()]
    compare(Story(monkeypatch, LOSSES), toy_pairs, tmp_path, *words, at="all")


def test_a_rate_that_has_become_too_small_ends_both(
    toy_pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [
        "--lr-scheduler",
        "reduce_lr_on_plateau",
        "--lr-shrink",
        0.1,
        "--warmup-updates",
        0,
        "--max-epoch",
        4,
        "--stop-min-lr",
        0.002,
    ]
    story = Story(monkeypatch, LOSSES)
    compare(story, toy_pairs, tmp_path, *words)
    assert story.told[-1][1] == 2 * EPOCH


def test_patience(toy_pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(monkeypatch, LOSSES)
    compare(story, toy_pairs, tmp_path, "--patience", 4, "--max-epoch", 9, "--save-interval-updates", 0, at="all")
    # The best is the first, in epoch 1; the fourth validation after it is in epoch 5.
    assert story.told[-1][1] == 5 * EPOCH


def test_a_finished_run_does_not_begin_again(
    toy_pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    story = Story(monkeypatch, LOSSES)
    for name, words in {"patience": ["--patience", 1, "--max-epoch", 9], "updates": ["--max-update", 5]}.items():
        story.of(None, toy_pairs, tmp_path / name, *words)
        before = (tmp_path / name / "checkpoint_last.pt").read_bytes()
        caplog.clear()
        assert story.of(None, toy_pairs, tmp_path / name, *words) == []
        assert "nothing is left to train" in caplog.text
        assert (tmp_path / name / "checkpoint_last.pt").read_bytes() == before
    assert len(story.of(None, toy_pairs, tmp_path / "updates", "--max-update", 6)) > 0
    assert story.of(None, toy_pairs, tmp_path / "patience", "--patience", 3, "--max-epoch", 9)[-1][1] == 4 * EPOCH


def test_resetting_meters_forgets_patience_as_it_forgets_the_best_value(
    toy_pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Story(monkeypatch, LOSSES)
    story.of(None, toy_pairs, tmp_path, "--patience", 4, "--max-epoch", 3)
    told = story.of(None, toy_pairs, tmp_path, "--patience", 4, "--max-epoch", 9, "--reset-meters")
    assert told[-1][1] == 9 * EPOCH


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("larger", [[], ["--maximize-best-checkpoint-metric"]], ids=["smaller", "larger"])
def test_lists_of_best_checkpoints(
    larger: list[str], sign: int, toy_pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--keep-best-checkpoints", 2, "--keep-last-epochs", 2, "--keep-interval-updates", 1, "--max-epoch", 4]
    story = Story(monkeypatch, tuple(sign * loss for loss in LOSSES))
    compare(story, toy_pairs, tmp_path, *words, *larger, at="all")
    assert len(list((tmp_path / "whole").glob("checkpoint.best_*"))) == 2


PIECES = {
    "several batches per update": ["--update-freq", "2,3,1"],
    "groups of batches": ["--grouped-shuffling"],
    "batches anew in each epoch": ["--update-epoch-batch-itr", "true", "--update-ordered-indices-seed"],
    "curriculum": ["--curriculum", 1],
    "without the last batch": ["--skip-remainder-batch"],
    "validation by updates": ["--validate-interval-updates", 3, "--fixed-validation-seed", 5],
    "average": ["--store-ema", "--ema-decay", 0.5],
    "average of every third update": ["--store-ema", "--ema-decay", 0.5, "--ema-update-freq", 3],
    "average from the fifth update": ["--store-ema", "--ema-decay", 0.5, "--ema-start-update", 5, "--ema-fp32"],
    "loss scale": ["--memory-efficient-fp16", "--fp16-scale-window", 3],
    "loss scale that is too large": [
        "--memory-efficient-fp16",
        "--fp16-init-scale",
        2**28,
        "--fp16-scale-tolerance",
        0.4,
    ],
    "memory-efficient bf16": ["--memory-efficient-bf16"],
    "clipping": ["--clip-norm", 0.1, "--sentence-avg"],
    "layer drop": [*TRANSFORMER, "--encoder-layerdrop", 0.5, "--decoder-layerdrop", 0.5],
    "quantisation noise": [*TRANSFORMER, "--quant-noise-pq", 0.5, "--quant-noise-pq-block-size", 4],
    "nag": ["--optimizer", "nag"],
    "sgd": ["--optimizer", "sgd", "--momentum", 0.9],
    "adagrad": ["--optimizer", "adagrad"],
    "adadelta": ["--optimizer", "adadelta"],
    "adamax": ["--optimizer", "adamax"],
    "adafactor": ["--optimizer", "adafactor", "--beta1", 0.9],
}


@pytest.mark.parametrize("options", PIECES.values(), ids=PIECES.keys())
def test_pieces(options: list[Any], toy_pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compare(Story(monkeypatch), toy_pairs, tmp_path, *options)


@pytest.mark.parametrize("generator", ["torch", "numpy"])
def test_data_that_draw_from_the_global_generators(
    generator: str, toy_pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fairseq.data import LanguagePairDataset

    real = LanguagePairDataset.__getitem__

    def noisy(self: Any, index: int) -> Any:
        sample = real(self, index)
        drawn = int(torch.randint(4, 12, ())) if generator == "torch" else np.random.randint(4, 12)
        source = sample["source"].clone()
        source[0] = drawn
        return {**sample, "source": source}

    monkeypatch.setattr(LanguagePairDataset, "__getitem__", noisy)
    # A thread that reads ahead draws at its own time.
    compare(Story(monkeypatch), toy_pairs, tmp_path, "--data-buffer-size", 0)


def lines_of(caplog: pytest.LogCaptureFixture, name: str) -> list[dict[str, Any]]:
    times = ("wps", "ups", "wall", "train_wall", "train_wps", "train_ups", "train_train_wall", "valid_wps")
    found = [json.loads(record.msg) for record in caplog.records if record.name == name]
    return [{key: value for key, value in line.items() if key not in times} for line in found]


@pytest.mark.parametrize("stop", [4, EPOCH])
def test_log_lines(
    stop: int, toy_pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    story, seen = Story(monkeypatch), []
    words = [*SAVE, "--max-epoch", 3, "--log-interval", 3]
    for place, when in (("whole", None), ("parts", stop)):
        caplog.clear()
        story.of(when, toy_pairs, tmp_path / place, *words)
        seen.append({name: lines_of(caplog, name) for name in ("train_inner", "train", "valid")})
    assert_equal(seen[0], seen[1])


@pytest.mark.parametrize("stop", [4, EPOCH])
def test_wall_goes_on(
    stop: int, toy_pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    story = Story(monkeypatch)
    story.stop = stop
    with pytest.raises(Stopped):
        run(toy_pairs, tmp_path, *SAVE, "--max-epoch", 2)
    # As if it had taken an hour.
    file = tmp_path / "checkpoint_last.pt"
    state = torch.load(file, weights_only=False)
    state["extra_state"]["previous_training_time"] += 3600
    torch.save(state, file)
    caplog.clear()
    story.stop = None
    run(toy_pairs, tmp_path, *SAVE, "--max-epoch", 2)
    walls = [json.loads(record.msg)["wall"] for record in caplog.records if record.name == "train_inner"]
    assert walls and all(3600 <= float(wall) < 5000 for wall in walls)
    assert checkpoint(tmp_path)["extra_state"]["previous_training_time"] >= 3600
    meter: Any = metrics.get_meter("default", "wall")
    assert meter.elapsed_time >= 3600


def test_a_checkpoint_without_notes_starts_counters_anew(
    toy_pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Story(monkeypatch, LOSSES)
    story.of(None, toy_pairs, tmp_path, "--patience", 4, "--max-epoch", 4)
    file = tmp_path / "checkpoint_last.pt"
    torch.save(torch.load(file, weights_only=False), file)
    assert read_notes(file) == {}
    assert story.of(None, toy_pairs, tmp_path, "--patience", 4, "--max-epoch", 9)[-1][1] == 9 * EPOCH
