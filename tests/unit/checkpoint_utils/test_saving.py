"""Saving during training: which names, what happens when it fails, and that a kill loses nothing.

``FAIRSEQ_TEST_KILLS`` is the number of kills (4).
"""

from __future__ import annotations

import logging
import os
import random
import re
import signal
import time
from types import SimpleNamespace

import pytest
import torch

from fairseq import checkpoint_utils
from fairseq.checkpoint_utils.background import BackgroundWriter
from fairseq.serialization import CorruptCheckpointError, read_checkpoint, write
from fairseq.serialization.notes import NOTES, read_notes

KILLS = int(os.environ.get("FAIRSEQ_TEST_KILLS", "4"))


def options(folder, **changes):
    """The checkpoint section with upstream's defaults."""
    from fairseq.dataclass.configs import CheckpointConfig

    cfg = CheckpointConfig()
    cfg.save_dir = str(folder)
    for name, value in changes.items():
        setattr(cfg, name, value)
    return cfg


class Trainer:
    """As much of a trainer as saving asks for: a model whose numbers tell the update."""

    data_parallel_rank = 0
    should_save_checkpoint_on_current_rank = True
    always_call_state_dict_during_save_checkpoint = False
    checkpoint_suffix = ""

    def __init__(self, size=1000, asynchronous=False):
        self.updates, self.size, self.asynchronous = 0, size, asynchronous

    def get_num_updates(self):
        return self.updates

    def consolidate_optimizer(self):
        pass

    def save_checkpoint(self, filename, extra_state):
        model = {"w": torch.full((self.size,), float(self.updates))}
        state = {"model": model, "n": self.updates, "extra_state": extra_state, NOTES: {"n": self.updates}}
        checkpoint_utils.torch_persistent_save(state, filename, async_write=self.asynchronous)


def position(epoch, at_end):
    state = {"version": 2, "epoch": epoch, "iterations_in_epoch": 1, "shuffle": True}
    return SimpleNamespace(epoch=epoch, end_of_epoch=lambda: at_end, state_dict=lambda: state)


@pytest.fixture(autouse=True)
def forget_best():
    checkpoint_utils.save_checkpoint.__dict__.pop("best", None)
    yield
    checkpoint_utils.save_checkpoint.__dict__.pop("best", None)


def save(cfg, trainer, epoch, updates, at_end, value=None):
    trainer.updates = updates
    return checkpoint_utils.save_checkpoint(cfg, trainer, position(epoch, at_end), value)


def names(folder):
    return sorted(os.listdir(folder))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["checkpoint1.pt", "checkpoint2.pt", "checkpoint3.pt"]),
        ({"no_epoch_checkpoints": True}, []),
        ({"keep_last_epochs": 2}, ["checkpoint2.pt", "checkpoint3.pt"]),
        ({"save_interval": 2}, ["checkpoint2.pt"]),
        (
            {"save_interval_updates": 5, "no_epoch_checkpoints": True},
            [f"checkpoint_{e}_{10 * e - 5}.pt" for e in (1, 2, 3)],
        ),
        (
            {"save_interval_updates": 5, "no_epoch_checkpoints": True, "keep_interval_updates": 1},
            ["checkpoint_3_25.pt"],
        ),
        (
            {
                "save_interval_updates": 5,
                "no_epoch_checkpoints": True,
                "keep_interval_updates": 1,
                "keep_interval_updates_pattern": 15,
            },
            ["checkpoint_2_15.pt", "checkpoint_3_25.pt"],
        ),
    ],
)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_numbered_files_and_what_is_kept_of_them(changes, expected, asynchronous, tmp_path):
    cfg, trainer = options(tmp_path, write_checkpoints_asynchronously=asynchronous, **changes), Trainer()
    trainer.asynchronous = asynchronous
    for epoch in (1, 2, 3):
        save(cfg, trainer, epoch, 10 * epoch - 5, False)
        save(cfg, trainer, epoch, 10 * epoch, True)
    checkpoint_utils.background.WRITER.wait()
    assert names(tmp_path) == sorted([*expected, "checkpoint_last.pt"])
    assert read_checkpoint(tmp_path / "checkpoint_last.pt")["n"] == 30


@pytest.mark.parametrize("maximize", [False, True])
def test_the_best_are_named_by_value_and_the_worst_of_them_go(maximize, tmp_path):
    metric = {"best_checkpoint_metric": "bleu", "maximize_best_checkpoint_metric": maximize}
    cfg = options(tmp_path, keep_best_checkpoints=2, no_epoch_checkpoints=True, no_last_checkpoints=True, **metric)
    trainer = Trainer()
    for epoch, value in enumerate([3.0, 5.0, 4.0, 1.0], start=1):
        save(cfg, trainer, epoch, epoch, True, value)
    best = "5.000" if maximize else "1.000"
    second = "4.000" if maximize else "3.000"
    found = [name for name in names(tmp_path) if name.startswith("checkpoint.best_")]
    assert sorted(name[: len("checkpoint.best_bleu_0.000")] for name in found) == sorted(
        f"checkpoint.best_bleu_{value}" for value in (best, second)
    )
    assert all(re.fullmatch(r"checkpoint\.best_bleu_\d\.\d{3}[01]\.pt", name) for name in found)
    assert read_checkpoint(tmp_path / "checkpoint_best.pt")["n"] == (2 if maximize else 4)


def test_nothing_is_saved_when_that_is_wanted_but_the_best_is_known(tmp_path):
    assert save(options(tmp_path, no_save=True), Trainer(), 1, 1, True, 2.0) is None
    assert names(tmp_path) == [] and checkpoint_utils.save_checkpoint.best == 2.0


def test_a_link_is_replaced_and_what_it_points_to_stays(tmp_path):
    cfg, trainer = options(tmp_path), Trainer()
    save(cfg, trainer, 1, 1, True)
    (tmp_path / "checkpoint_last.pt").unlink()
    (tmp_path / "checkpoint_last.pt").symlink_to("checkpoint1.pt")
    save(cfg, trainer, 2, 2, True)
    assert read_checkpoint(tmp_path / "checkpoint1.pt")["n"] == 1
    assert read_checkpoint(tmp_path / "checkpoint_last.pt")["n"] == 2


@pytest.mark.parametrize("asynchronous", [False, True])
def test_notes_are_beside_the_pickle_however_a_file_is_written(asynchronous, tmp_path):
    trainer = Trainer(asynchronous=asynchronous)
    save(options(tmp_path, write_checkpoints_asynchronously=asynchronous), trainer, 1, 7, True)
    checkpoint_utils.background.WRITER.wait()
    assert read_notes(tmp_path / "checkpoint_last.pt") == {"n": 7}
    assert NOTES not in read_checkpoint(tmp_path / "checkpoint_last.pt")


@pytest.mark.parametrize("asynchronous", [False, True])
def test_checksums_follow_copies_and_removals_and_are_compared(asynchronous, tmp_path, monkeypatch):
    monkeypatch.setenv(write.CHECKSUM_ENV, "1")
    cfg = options(tmp_path, keep_last_epochs=1, write_checkpoints_asynchronously=asynchronous)
    trainer = Trainer(asynchronous=asynchronous)
    for epoch in (1, 2):
        save(cfg, trainer, epoch, epoch, True)
    checkpoint_utils.background.WRITER.wait()
    files = ["checkpoint2.pt", "checkpoint_last.pt"]
    assert names(tmp_path) == sorted([*files, *(f"{name}.sha256" for name in files)])
    assert write.verify_checksum(tmp_path / "checkpoint_last.pt")
    data = bytearray((tmp_path / "checkpoint_last.pt").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "checkpoint_last.pt").write_bytes(data)
    with pytest.raises(CorruptCheckpointError, match="checksum"):
        checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "checkpoint_last.pt"))
    monkeypatch.delenv(write.CHECKSUM_ENV)
    save(options(tmp_path, write_checkpoints_asynchronously=asynchronous), trainer, 3, 3, True)
    checkpoint_utils.background.WRITER.wait()
    assert not (tmp_path / "checkpoint_last.pt.sha256").exists()  # of the file that was replaced


def test_old_files_that_cannot_be_removed_are_only_a_warning(tmp_path, monkeypatch, caplog):
    cfg, trainer = options(tmp_path, keep_last_epochs=1), Trainer()
    monkeypatch.setattr(checkpoint_utils.save.PathManager, "rm", lambda path: os.rmdir(path))
    for epoch in (1, 2):
        save(cfg, trainer, epoch, epoch, True)
    assert "not removed" in caplog.text
    assert read_checkpoint(tmp_path / "checkpoint_last.pt")["n"] == 2


def test_a_folder_that_is_gone_is_an_error_of_the_system_not_of_the_program(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        save(options(tmp_path / "file" / "ck"), Trainer(), 1, 1, True)


def test_a_later_background_save_makes_up_for_a_failed_one(tmp_path, caplog):
    writer = BackgroundWriter()
    writer.save({"n": 1}, str(tmp_path / "none" / "x.pt"))
    writer._jobs.join()
    with pytest.raises(OSError):
        writer.check()
    writer.save({"n": 2}, str(tmp_path / "x.pt"))
    writer.wait()
    writer.close()
    assert "NO CHECKPOINT WAS SAVED" in caplog.text
    assert read_checkpoint(tmp_path / "x.pt")["n"] == 2


def save_for_ever(folder, asynchronous, start, ready):
    logging.disable(logging.CRITICAL)
    trainer = Trainer(60_000, asynchronous)
    settings = {
        "save_interval_updates": 1,
        "keep_interval_updates": 2,
        "keep_last_epochs": 2,
        "keep_best_checkpoints": 2,
    }
    cfg = options(folder, write_checkpoints_asynchronously=asynchronous, **settings)
    update = start
    while True:
        update += 1
        save(cfg, trainer, update, update, update % 2 == 0, 1000.0 - update)
        if update == start + 1:
            checkpoint_utils.background.WRITER.wait()
            os.write(ready, b"x")


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_kill_at_any_moment_leaves_a_newest_checkpoint(asynchronous, tmp_path):
    save(options(tmp_path, no_epoch_checkpoints=True), Trainer(60_000), 1, 1, True)
    draw, last = random.Random(3), 1
    for _ in range(KILLS):
        begun, ready = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                save_for_ever(tmp_path, asynchronous, last, ready)
            finally:
                os._exit(1)
        os.close(ready)
        assert os.read(begun, 1) == b"x"
        os.close(begun)
        time.sleep(draw.uniform(0, 0.1))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        found = {name: read_checkpoint(tmp_path / name) for name in names(tmp_path) if name.endswith(".pt")}
        assert all((state["model"]["w"] == state["n"]).all() for state in found.values())
        newest = found["checkpoint_last.pt"]["n"]
        assert newest > last
        last = newest
        checkpoint_utils.verify_checkpoint_directory(str(tmp_path))  # the next start
        assert [name for name in names(tmp_path) if not name.endswith(".pt")] == []


def test_the_next_start_removes_half_written_files_and_nothing_else(tmp_path):
    stale = ["checkpoint_1_5.pt.tmp", "checkpoint_last.pt.tmp", "checkpoint_last.pt.sha256.tmp", "crash.pt.tmp"]
    kept = ["checkpoint_last.pt", "checkpoint_last.pt.sha256", "notes.tmp", "mine.txt.tmp"]
    for name in [*stale, *kept]:
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.pt.tmp").mkdir()
    (tmp_path / "link.pt.tmp").symlink_to(tmp_path / "checkpoint_last.pt")
    assert write.remove_stale(tmp_path) == sorted(stale)
    assert names(tmp_path) == sorted([*kept, "folder.pt.tmp", "link.pt.tmp"])


def test_a_file_that_another_process_still_writes_is_kept(tmp_path):
    begun, ready = os.pipe()
    held, done = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            with write.replacing(tmp_path / "x.pt") as file:
                file.write(b"new")
                os.write(ready, b"x")
                os.read(held, 1)
        finally:
            os._exit(0)
    try:
        os.read(begun, 1)
        assert write.remove_stale(tmp_path) == []
    finally:
        os.write(done, b"x")
        os.waitpid(pid, 0)
    assert (tmp_path / "x.pt").read_bytes() == b"new"
