#!/usr/bin/env python3
"""A long run of tiny updates, watched from outside: memory, file descriptors and processes must stay flat.

    python benchmarks/soak.py                     20,000 updates of a tiny LSTM (some ten minutes on one core)
    python benchmarks/soak.py --updates 1000      a quick look

Loader processes, validation, checkpoints, rotation of old files and log lines are all part of it, because that is where
leaks hide. Every twentieth of the run is one line; the exit code is 1 when the last quarter needs more than the first
one by more than the allowance.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ALLOWED_MEGABYTES = 24.0
ALLOWED_DESCRIPTORS = 12


@dataclass
class Sample:
    """What the training process holds at one moment; ``children`` without those that have ended."""

    updates: int
    megabytes: float
    descriptors: int
    children: int
    zombies: int


def write_data(folder: Path, lines: int = 400) -> Path:
    """Made-up pairs of short sentences, binarised."""
    draw = random.Random(1)
    for split, count in (("train", lines), ("valid", 20)):
        rows = [[draw.choice("abcdefghij") for _ in range(draw.randint(2, 9))] for _ in range(count)]
        (folder / f"{split}.aa").write_text("".join(" ".join(row) + "\n" for row in rows))
        (folder / f"{split}.bb").write_text("".join(" ".join(reversed(row)) + "\n" for row in rows))
    words = ["-s", "aa", "-t", "bb", "--trainpref", folder / "train", "--validpref", folder / "valid"]
    command = [sys.executable, "-m", "fairseq_cli.preprocess", *words, "--destdir", folder / "bin"]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    return folder / "bin"


def command_for(data: Path, folder: Path, updates: int, extra: list[str]) -> list[str]:
    """A run in which everything that happens now and then happens often."""
    sizes = "--encoder-embed-dim 8 --encoder-hidden-size 8 --decoder-embed-dim 8 --decoder-hidden-size 8"
    words = f"""{data} --task translation -s aa -t bb --arch lstm {sizes} --decoder-out-embed-dim 8 --cpu
        --optimizer adam --lr 0.001 --clip-norm 1 --batch-size 4 --num-workers 2 --max-update {updates}
        --log-format json --log-interval 50 --save-dir {folder}/ck --tensorboard-logdir {folder}/tb
        --save-interval-updates 500 --keep-interval-updates 2 --no-epoch-checkpoints"""
    return [sys.executable, "-m", "fairseq_cli.train", *words.split(), *extra]


def look(process: int, updates: int) -> Sample:
    """Read the state of a process and of its children from /proc."""
    status = Path(f"/proc/{process}/status").read_text()
    resident = int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024  # type: ignore[union-attr]
    states = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # gone in the meantime
        if int(fields[1]) == process:
            states.append(fields[0])
    zombies = states.count("Z")
    return Sample(updates, resident, len(os.listdir(f"/proc/{process}/fd")), len(states) - zombies, zombies)


def watch(command: list[str], updates: int) -> list[Sample]:
    """Run the command; one sample per twentieth of its updates."""
    every, due, samples = max(1, updates // 100), 0, []
    started = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        tail: list[str] = []
        for line in process.stdout:
            tail = [*tail[-20:], line]
            found = re.search(r'\| train_inner \|.*"num_updates": "(\d+)"', line)
            if found and int(found.group(1)) >= due:
                sample = look(process.pid, int(found.group(1)))
                samples.append(sample)
                due = sample.updates + every
                if len(samples) % 5 != 1:
                    continue
                print(
                    f"{sample.updates:7d} updates  {sample.megabytes:7.1f} MB  {sample.descriptors:3d} descriptors  "
                    f"{sample.children} children  {sample.zombies} zombies  {time.monotonic() - started:6.0f} s",
                    flush=True,
                )
    if process.returncode != 0:
        raise SystemExit("".join(tail))
    return samples


def verdict(samples: list[Sample]) -> list[str]:
    """What is not flat; empty when all is well. The first twentieth is left out: caches fill then."""
    steady = samples[5:]
    quarter = max(1, len(steady) // 4)
    early, late = steady[:quarter], steady[-quarter:]
    found = []
    grown = max(s.megabytes for s in late) - max(s.megabytes for s in early)
    if grown > ALLOWED_MEGABYTES:
        found.append(f"memory grew by {grown:.1f} MB")
    # Batches in flight hold descriptors, more or fewer at the moment of looking: the smallest number is the basis.
    opened = min(s.descriptors for s in late) - min(s.descriptors for s in early)
    if opened > ALLOWED_DESCRIPTORS:
        found.append(f"{opened} more file descriptors are open")
    if max(s.children for s in late) > max(s.children for s in early):
        found.append("there are more child processes")
    if max(s.zombies for s in late) > 2:
        found.append(f"{max(s.zombies for s in late)} children have ended and were not waited for")
    return found


def main() -> None:
    """Make the data, run, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=20000)
    parser.add_argument("extra", nargs="*", help="further options of fairseq-train, after --")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        samples = watch(command_for(write_data(folder), folder, args.updates, args.extra), args.updates)
    found = verdict(samples)
    print("; ".join(found) if found else "flat: memory, file descriptors and processes")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
