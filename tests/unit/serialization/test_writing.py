"""A file's name always holds a complete file."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch

from fairseq.checkpoint_utils.background import BackgroundWriter
from fairseq.serialization import CheckpointWriteError, read_checkpoint, replacing, write, write_checkpoint


def test_a_new_file_takes_the_place_of_the_old_one(tmp_path):
    write_checkpoint({"n": 1}, tmp_path / "x.pt")
    write_checkpoint({"n": 2}, tmp_path / "x.pt")
    assert read_checkpoint(tmp_path / "x.pt") == {"n": 2}
    assert os.listdir(tmp_path) == ["x.pt"]


def test_an_error_while_writing_leaves_the_old_file_and_no_trace(tmp_path):
    write_checkpoint({"n": 1}, tmp_path / "x.pt")
    with pytest.raises(RuntimeError), replacing(tmp_path / "x.pt") as file:
        file.write(b"half")
        raise RuntimeError
    assert read_checkpoint(tmp_path / "x.pt") == {"n": 1}
    assert os.listdir(tmp_path) == ["x.pt"]


def full_disk(monkeypatch, after: int, code: int = errno.ENOSPC):
    real = write._Recorder.write
    state = {"written": 0, "calls": 0}

    def limited(self, data):
        state["written"] += len(memoryview(data).cast("B"))
        if state["written"] > after:
            state["calls"] += 1
            self.error = self.error or OSError(code, os.strerror(code))
            raise self.error
        return real(self, data)

    monkeypatch.setattr(write._Recorder, "write", limited)
    return state


def test_a_full_disk_is_reported_as_one_and_the_old_file_stays(tmp_path, monkeypatch):
    write_checkpoint({"n": 1}, tmp_path / "x.pt")
    full_disk(monkeypatch, after=10_000)
    with pytest.raises(CheckpointWriteError, match="No space left on device") as caught:
        write_checkpoint({"n": torch.zeros(100_000)}, tmp_path / "x.pt")
    assert caught.value.errno == errno.ENOSPC
    assert str(tmp_path / "x.pt") in str(caught.value)
    assert read_checkpoint(tmp_path / "x.pt") == {"n": 1}
    assert os.listdir(tmp_path) == ["x.pt"]


def test_errors_of_network_disks_are_tried_three_times(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "_PAUSE_SECONDS", 0)
    state = full_disk(monkeypatch, after=0, code=errno.EIO)
    with pytest.raises(CheckpointWriteError):
        write_checkpoint({"n": 1}, tmp_path / "x.pt")
    assert state["calls"] >= 3


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(CheckpointWriteError, match=r"none.*x\.pt"):
        write_checkpoint({}, tmp_path / "none" / "x.pt")


def test_the_checksum_file_is_that_of_sha256sum(tmp_path):
    write_checkpoint({"n": 1}, tmp_path / "x.pt", checksum=True)
    digest = hashlib.sha256((tmp_path / "x.pt").read_bytes()).hexdigest()
    assert (tmp_path / "x.pt.sha256").read_text() == f"{digest}  x.pt\n"


def test_the_background_writer_saves_what_was_true_when_it_was_asked(tmp_path):
    writer = BackgroundWriter()
    weights = torch.zeros(1000)
    for n in range(4):
        weights.fill_(n)
        writer.save({"w": weights}, str(tmp_path / f"{n}.pt"))
        writer.submit(lambda n=n: (tmp_path / f"{n}.done").touch(), str(tmp_path / f"{n}.pt"))
    weights.fill_(-1)
    writer.wait()
    for n in range(4):
        assert (read_checkpoint(tmp_path / f"{n}.pt")["w"] == n).all()
        assert (tmp_path / f"{n}.done").exists()
    writer.close()


def test_what_depends_on_a_failed_background_save_is_not_done_and_waiting_tells(tmp_path):
    writer = BackgroundWriter()
    target = str(tmp_path / "none" / "x.pt")
    writer.save({"n": 1}, target)
    writer.submit(lambda: (tmp_path / "copied").touch(), target)
    with pytest.raises(CheckpointWriteError):
        writer.wait()
    assert not (tmp_path / "copied").exists()
    writer.wait()  # told once
    writer.close()


SAVER = """
import sys, torch
from fairseq.serialization import write_checkpoint
print("ready", flush=True)
n = 0
while True:
    n += 1
    write_checkpoint({"n": n, "w": torch.full((200_000,), float(n))}, sys.argv[1])
"""


def test_a_kill_at_any_moment_leaves_a_complete_file(tmp_path):
    path = tmp_path / "x.pt"
    write_checkpoint({"n": 0, "w": torch.zeros(10)}, path)
    draw = random.Random(3)
    last = 0
    for _ in range(int(os.environ.get("FAIRSEQ_TEST_KILLS", "2"))):
        with subprocess.Popen([sys.executable, "-c", SAVER, str(path)], stdout=subprocess.PIPE) as saver:
            assert saver.stdout is not None and saver.stdout.readline() == b"ready\n"
            time.sleep(draw.uniform(0.01, 0.15))
            saver.send_signal(signal.SIGKILL)
        state = read_checkpoint(path)
        assert (state["w"] == state["n"]).all()
        last = max(last, state["n"])
    assert last > 0
