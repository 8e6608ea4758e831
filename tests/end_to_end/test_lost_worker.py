"""A worker that dies or hangs ends the others, with a message, within the time that was set."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time

import pytest
from toy_training import MODEL, ROOT, RUN, environment

TIMEOUT = 6


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["dies", "hangs"])
def test_the_other_worker_stops_and_says_why(number: signal.Signals, toy_pairs: str) -> None:
    words = [toy_pairs, *MODEL, *RUN, "--max-epoch", "100000", "--no-save", "--disable-validation"]
    command = [sys.executable, "-m", "fairseq_cli.train", *words, "--heartbeat-timeout", str(TIMEOUT)]
    # The variables of torchrun, without torchrun, which would end both by itself.
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    workers = [
        subprocess.Popen(
            command,
            env=environment(**meeting, RANK=str(rank), LOCAL_RANK=str(rank)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
        )
        for rank in (0, 1)
    ]
    first, second = workers
    try:
        assert first.stdout is not None
        for line in first.stdout:
            if '"num_updates": "3"' in line:
                break
        second.send_signal(number)
        told = time.monotonic()
        rest = first.communicate(timeout=120)[0]
        lasted = time.monotonic() - told
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    assert first.returncode in (1, 130), rest[-2000:]
    if number == signal.SIGKILL:
        assert "rank 0 lost contact with another worker" in rest
    else:
        assert "lost contact" in rest or "Killing job for not making progress" in rest
    assert "Traceback" not in rest
    assert lasted < 10 * TIMEOUT  # a hang would last until the test's own limit


def test_processes_started_by_hand_meet_and_only_the_first_one_tells(toy_pairs: str) -> None:
    place = ["--distributed-init-method", f"tcp://127.0.0.1:{free_port()}", "--distributed-world-size", "2"]
    words = [toy_pairs, *MODEL, *RUN, *place, "--max-update", "2", "--no-save", "--disable-validation"]
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "fairseq_cli.train", *words, "--distributed-rank", str(rank)],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
        )
        for rank in (0, 1)
    ]
    told = [worker.communicate(timeout=240)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], told
    assert "training on 2 devices" in told[0] and "2 updates in 0.00 hours" in told[0]
    assert "num_updates" not in told[1]
