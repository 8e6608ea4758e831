"""Ctrl-C while worker processes read data: the whole group gets the signal, as in a terminal."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fairseq import options

WORDS = (  # noqa: SIM905
    "--task translation -s aa -t bb --cpu --num-workers 2 --log-format json --log-interval 1 --batch-size 2 "
    "--arch lstm --encoder-embed-dim 8 --encoder-hidden-size 8 --decoder-embed-dim 8 --decoder-hidden-size 8 "
    "--decoder-out-embed-dim 8 --optimizer adam --lr 0.01 --max-epoch 1000 --no-save --disable-validation"
).split()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    draw = random.Random(1)
    for language in ("aa", "bb"):
        lines = [" ".join(draw.choices("abcdefgh", k=draw.randint(2, 8))) for _ in range(200)]
        (tmp_path / f"train.{language}").write_text("\n".join(lines) + "\n")
    from fairseq_cli.preprocess import main

    words = ["-s", "aa", "-t", "bb", "--destdir", f"{tmp_path}/bin"]
    words += ["--trainpref", f"{tmp_path}/train", "--validpref", f"{tmp_path}/train"]
    main(options.get_preprocessing_parser().parse_args(words))
    return tmp_path / "bin"


def members_of(group: int) -> list[str]:
    """Commands of the processes of a group that still run."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            state, _, pgrp = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            if folder.name.isdigit() and int(pgrp) == group and state != "Z":
                found.append((folder / "cmdline").read_text())
        except (OSError, ValueError):
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_ctrl_c_ends_training_and_its_workers_without_a_traceback(data: Path, repository: Path) -> None:
    command = [sys.executable, "-m", "fairseq_cli.train", str(data), *WORDS]
    environment = {**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=data,
        start_new_session=True,
    )
    try:
        assert process.stdout
        seen = []
        for line in process.stdout:
            seen.append(line)
            if '"num_updates": "3"' in line:
                break
        else:
            pytest.fail("".join(seen))
        assert len(members_of(process.pid)) >= 3
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(timeout=60) in (1, 130), rest
        assert "Traceback" not in rest
        for _ in range(50):
            left = members_of(process.pid)
            if not left:
                break
            time.sleep(0.1)
        assert not left
    finally:
        if members_of(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
