"""``fairseq-train`` on a few made-up sentences: logs, files, resuming, leaving, failing."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
import toy_training
from toy_training import MODEL, RUN, run, same

from fairseq import checkpoint_utils
from fairseq.serialization import read_checkpoint
from fairseq.training_loop import preemption


@pytest.fixture
def data(toy_pairs):
    """A folder of sixty pairs of sentences, ten to validate on."""
    return toy_pairs


def weights(folder, name="checkpoint_last.pt"):
    return toy_training.checkpoint(folder, name)["model"]


@pytest.mark.parametrize(
    ("first", "options_"),
    [
        (["--max-epoch", 1], []),
        (["--max-update", 3], []),
        (["--max-update", 2], ["--update-freq", 2]),
        (["--max-update", 3], ["--save-async", "--clip-norm", 0.1]),
        (["--max-update", 3], ["--num-workers", 2, "--update-freq", 2]),
    ],
    ids=["end of epoch", "mid epoch", "update-freq", "written in the background", "workers"],
)
def test_a_resumed_run_ends_bit_for_bit_like_one_that_was_never_stopped(first, options_, data, tmp_path):
    run(data, tmp_path / "whole", "--max-epoch", 3, *options_)
    run(data, tmp_path / "parts", *first, *options_)
    run(data, tmp_path / "parts", "--max-epoch", 3, *options_)
    whole, parts = (read_checkpoint(tmp_path / name / "checkpoint_last.pt") for name in ("whole", "parts"))
    assert same(whole["model"], parts["model"])
    assert whole["extra_state"]["train_iterator"] == parts["extra_state"]["train_iterator"]
    for key, entry in whole["last_optimizer_state"]["state"].items():
        assert torch.equal(entry["exp_avg"], parts["last_optimizer_state"]["state"][key]["exp_avg"])


def test_the_log_tells_the_story_in_the_known_order(data, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    run(data, tmp_path / "ck", "--max-epoch", 1)
    story = [
        "task: TranslationTask",
        "model: LSTMModel",
        "criterion: CrossEntropyCriterion",
        "num. shared model params: ",
        "num. expert model params: 0 (num. trained: 0)",
        "training on 1 devices (GPUs/TPUs)",
        "max tokens per device = 60 and max sentences per device = None",
        f"Preparing to load checkpoint {tmp_path}/ck/checkpoint_last.pt",
        f"No existing checkpoint found {tmp_path}/ck/checkpoint_last.pt",
        "loading train data for epoch 1",
        'begin dry-run validation on "valid" subset',
        "grouped total_num_itrs = ",
        "begin training epoch 1",
        "Start iterating over samples",
        'begin validation on "valid" subset',
        "Preparing to save checkpoint for epoch 1 @ ",
        f"Saving checkpoint to {tmp_path}/ck/checkpoint1.pt",
        f"Finished saving checkpoint to {tmp_path}/ck/checkpoint1.pt",
        f"Saved checkpoint {tmp_path}/ck/checkpoint1.pt (epoch 1 @ ",
        "end of epoch 1 (average epoch stats below)",
        "done training in ",
        "9 updates in 0.00 hours in all; best loss ",
    ]
    messages = iter(record.getMessage() for record in caplog.records)
    for line in story:
        assert any(message.startswith(line) for message in messages), line
    inner = [json.loads(r.getMessage()) for r in caplog.records if r.name == "train_inner"]
    assert [row["num_updates"] for row in inner] == [str(n + 1) for n in range(len(inner))]
    assert list(inner[-1]) == (
        [
            "epoch",
            "update",
            "loss",
            "ppl",
            "wps",
            "ups",
            "wpb",
            "bsz",
            "num_updates",
            "lr",
            "gnorm",
            "train_wall",
            "wall",
        ]
    )


@pytest.mark.parametrize(
    "precision", ["--fp16", "--bf16", "--memory-efficient-fp16", "--memory-efficient-bf16", "--amp"]
)
def test_reduced_precisions_train_save_as_float32_and_resume(precision, data, tmp_path):
    run(data, tmp_path, precision, "--max-update", 3)
    run(data, tmp_path, precision, "--max-update", 5)
    state = read_checkpoint(tmp_path / "checkpoint_last.pt")
    assert state["optimizer_history"][-1]["num_updates"] == 5
    assert {value.dtype for value in state["model"].values()} == {torch.float32}
    assert all(value.isfinite().all() for value in state["model"].values())


def test_the_averaged_model_is_saved_restored_and_begun_late(data, tmp_path, caplog):
    run(data, tmp_path, "--max-update", 2)
    run(data, tmp_path, "--max-update", 4, "--store-ema", "--ema-decay", 0.5)
    assert "no averaged weights" in caplog.text
    run(data, tmp_path, "--max-update", 6, "--store-ema", "--ema-decay", 0.5)
    state = read_checkpoint(tmp_path / "checkpoint_last.pt")
    assert state["extra_state"]["ema"].keys() == state["model"].keys()
    assert not same(state["extra_state"]["ema"], state["model"])
    averaged = checkpoint_utils.load_ema_from_checkpoint(str(tmp_path / "checkpoint_last.pt"))
    assert same(averaged["model"], state["extra_state"]["ema"])


def test_validation_stops_after_as_many_batches_as_it_is_told(data, tmp_path, monkeypatch):
    from fairseq.trainer import Trainer

    seen = []
    real = Trainer.valid_step
    monkeypatch.setattr(Trainer, "valid_step", lambda self, sample, **k: seen.append(1) or real(self, sample, **k))
    run(data, tmp_path, "--max-update", 1, "--max-valid-steps", 2, "--batch-size-valid", 2)
    assert len(seen) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_saves_and_the_same_command_goes_on(number, data, tmp_path):
    run(data, tmp_path / "whole", "--max-epoch", 3)
    words = [data, *MODEL, *RUN, "--save-dir", str(tmp_path / "ck"), "--max-epoch", "3"]
    command = [sys.executable, "-m", "fairseq_cli.train", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if '"num_updates": "2"' in line:
                process.send_signal(number)
                break
        rest = process.stdout.read()
    if process.returncode == 0:
        pytest.skip("training was over before the signal came")
    assert process.returncode == 128 + number, rest
    assert f"received {number.name}" in rest and "Traceback" not in rest
    state = read_checkpoint(tmp_path / "ck" / "checkpoint_last.pt")
    assert state["optimizer_history"][-1]["num_updates"] < 21
    run(data, tmp_path / "ck", "--max-epoch", 3)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "ck"))


def test_signals_do_what_they_did_before_once_training_is_over(data, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with preemption.leave_on_signals():
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.01)
        assert preemption.requested() == signal.SIGUSR1
    assert signal.getsignal(signal.SIGTERM) is before
    assert preemption.requested() == 0


def fail_after(monkeypatch, good_saves):
    from fairseq.checkpoint_utils import save

    real, calls = save.write_checkpoint, []

    def limited(obj, path, **options_):
        calls.append(path)
        if len(calls) > good_saves:
            from fairseq.serialization import CheckpointWriteError

            raise CheckpointWriteError(f"{path} was not written: No space left on device.")
        real(obj, path, **options_)

    monkeypatch.setattr(save, "write_checkpoint", limited)
    return calls


def test_a_disk_that_fills_up_does_not_end_training_before_the_last_save(data, tmp_path, monkeypatch, caplog):
    calls = fail_after(monkeypatch, 1)
    with pytest.raises(OSError, match="No space left"):
        run(data, tmp_path, "--max-update", 7, "--save-interval-updates", 2)
    assert len(calls) >= 4  # went on after the first failure, and failed at the end, where nothing comes after
    assert "NO CHECKPOINT WAS SAVED" in caplog.text
    assert read_checkpoint(tmp_path / "checkpoint_last.pt")["optimizer_history"][-1]["num_updates"] == 2


def test_a_failed_save_ends_training_at_once_when_that_is_wanted(data, tmp_path, monkeypatch):
    calls = fail_after(monkeypatch, 1)
    monkeypatch.setenv("FAIRSEQ_STOP_ON_SAVE_ERROR", "1")
    with pytest.raises(OSError, match="No space left"):
        run(data, tmp_path, "--max-update", 7, "--save-interval-updates", 2)
    assert len(calls) == 2


def test_a_save_folder_that_cannot_be_written_is_known_before_training(data, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        run(data, tmp_path / "file" / "ck", "--max-update", 1)


def test_a_truncated_checkpoint_is_an_error_and_is_not_overwritten(data, tmp_path):
    run(data, tmp_path, "--max-update", 2)
    last = tmp_path / "checkpoint_last.pt"
    last.write_bytes(last.read_bytes()[:5000])
    with pytest.raises(RuntimeError, match="checkpoint_last.pt cannot be loaded"):
        run(data, tmp_path, "--max-update", 4)
    assert last.stat().st_size == 5000


def test_numbers_that_blow_up_end_training_and_leave_what_led_there(data, tmp_path, monkeypatch):
    from fairseq.criterions.cross_entropy import CrossEntropyCriterion

    real = CrossEntropyCriterion.forward

    def broken(self, model, sample, reduce=True):
        loss, size, output = real(self, model, sample, reduce)
        return loss * float("nan"), size, output

    monkeypatch.setattr(CrossEntropyCriterion, "forward", broken)
    with pytest.raises(FloatingPointError, match="gradients are Nan/Inf"):
        run(data, tmp_path, "--max-update", 2)
    assert (tmp_path / "crash.pt").exists()


def test_runs_in_one_process_do_not_know_each_others_best(data, tmp_path):
    run(data, tmp_path / "a", "--max-update", 3)
    first = read_checkpoint(tmp_path / "a" / "checkpoint_last.pt")["extra_state"]["best"]
    run(data, tmp_path / "b", "--max-update", 1)
    assert read_checkpoint(tmp_path / "b" / "checkpoint_last.pt")["extra_state"]["best"] != first


def test_a_profile_is_written_when_it_is_asked_for(data, tmp_path, monkeypatch):
    from fairseq.training_loop import profiling

    monkeypatch.setattr(profiling, "SKIPPED", 1)
    monkeypatch.setattr(profiling, "RECORDED", 2)
    run(data, tmp_path, "--max-update", 6, "--profile", "--no-save", "--disable-validation")
    assert (tmp_path / "profile" / "rank0.trace.json.gz").stat().st_size > 1000
