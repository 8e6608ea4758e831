"""Training a transformer: words per CPU second and peak memory of ``transformer_iwslt_de_en``, 4,096 tokens a batch.

Both sides train on the same batches (seed and batching agree) and take turns after every update, so that what else the
machine does falls on both alike. The first update is left out: it makes the optimizer's states.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks._measure import Row, Setup, Side

STEPPER = Path(__file__).resolve().parent / "_stepper.py"
UPDATES = 8
RECIPE = [
    *["-s", "de", "-t", "en", "--arch", "transformer_iwslt_de_en", "--max-tokens", "4096", "--dropout", "0.3"],
    *["--optimizer", "adam", "--adam-betas", "(0.9, 0.98)", "--weight-decay", "0.0001", "--lr", "5e-4"],
    *["--lr-scheduler", "inverse_sqrt", "--warmup-updates", "4000", "--clip-norm", "0.0", "--seed", "1"],
    *["--criterion", "label_smoothed_cross_entropy", "--label-smoothing", "0.1", "--cpu", "--num-workers", "0"],
    *["--no-save", "--disable-validation", "--log-format", "json", "--max-update", str(UPDATES)],
]


class Turns:
    """One training run that makes an update whenever it is told to."""

    def __init__(self, side: Side, data: Path, *more: str) -> None:
        self.side = side
        self.found: dict[str, Any] | None = None
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  open for as long as the child writes
        self._child = subprocess.Popen(
            [side.python, str(STEPPER), "1", str(data), *RECIPE, *more],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=side.environment(),
            cwd="/",
            text=True,
        )
        self._wait()

    def _wait(self) -> None:
        """Until the next update could begin, or all are made."""
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if line.startswith("{"):
            self.found = json.loads(line)
        elif line != "ready\n":
            self._child.wait()
            self._log.seek(0)
            sys.exit(f"{self.side.name}: training failed:\n{self._log.read()[-3000:]}")

    def step(self) -> bool:
        """Make one update; false when there are no more."""
        if self.found is None:
            assert self._child.stdin is not None
            self._child.stdin.write("go\n")
            self._child.stdin.flush()
            self._wait()
        return self.found is None


def train_in_turns(setup: Setup, *more: str) -> dict[str, dict[str, Any]]:
    """Per side: ``words`` and ``cpu`` (seconds) of every update, ``memory`` of the process in MB."""
    runs = [Turns(side, setup.data, *more) for side in setup.sides]
    going = list(runs)
    while going:
        going = [run for run in going if run.step()]
    return {run.side.name: run.found or {} for run in runs}


def rows(setup: Setup) -> Iterator[Row]:
    """Speed and memory; one run per side, whose updates take turns."""
    found = train_in_turns(setup)
    mine, other = found["this"], found.get("peer")
    speeds = {name: sum(run["words"]) / sum(run["cpu"]) for name, run in found.items()}
    spread = 0.0
    if other:
        ratios = [theirs / ours for ours, theirs in zip(mine["cpu"], other["cpu"])]
        middle = statistics.median(ratios)
        spread = max(abs(ratio - middle) / middle for ratio in ratios)
    what = f"{len(mine['cpu'])} updates in turns"
    yield Row(what, "words per second", speeds["this"], speeds.get("peer"), spread=spread)
    yield Row(what, "memory", mine["memory"], other["memory"] if other else None)
