"""What every benchmark stands on: the two sides, what a child process costs, medians and ratios.

Time is CPU time (user and system, with all children) unless a figure says otherwise: other work on the machine moves
it much less than the wall clock. Memory is the largest resident set of any single process of a run.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

__all__ = ["LONGEST", "QUANTITIES", "ROOT", "Row", "Setup", "Side", "Usage", "measure_child"]

ROOT = Path(__file__).resolve().parent.parent

# quantity -> (unit, whether more is better)
QUANTITIES: dict[str, tuple[str, bool]] = {
    "cpu": ("s", False),
    "wall": ("s", False),
    "memory": ("MB", False),
    "words per second": ("words/s", True),
    "sentences per second": ("sentences/s", True),
    "batches per second": ("batches/s", True),
}
# A model after a few hundred updates does not always know when to end, and the speed of a search depends on the length
# of its outputs: no more words than so many times those of the source, and some.
LONGEST = (1.2, 8)


@dataclass(frozen=True)
class Usage:
    """What one child process cost. Seconds and megabytes (10**6 bytes)."""

    cpu: float
    wall: float
    memory: float
    output: str = field(repr=False, default="")

    def figures(self) -> dict[str, float]:
        """The three figures by the names of ``QUANTITIES``."""
        return {"cpu": self.cpu, "wall": self.wall, "memory": self.memory}


def measure_child(command: list[str], environment: Mapping[str, str], folder: str = "/") -> tuple[int, Usage]:
    """Run a command to its end: exit code, and what it and all its children cost.

    The children's CPU time counts if the command waited for them, as ``multiprocessing`` and data loaders do.
    """
    with tempfile.TemporaryFile() as out:
        begin = time.perf_counter()
        child = subprocess.Popen(command, env=dict(environment), cwd=folder, stdout=out, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(child.pid, 0)
        wall = time.perf_counter() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read().decode("utf-8", errors="replace")
    # Linux counts the resident set in kilobytes, macOS in bytes.
    scale = 1e-6 if sys.platform == "darwin" else 1024e-6
    return child.returncode, Usage(used.ru_utime + used.ru_stime, wall, used.ru_maxrss * scale, text)


@dataclass
class Side:
    """One of the two programs that are compared."""

    name: str
    python: str
    path: str
    plugin: Path

    def environment(self) -> dict[str, str]:
        """One thread, no GPU, and the right package first."""
        return {
            **os.environ,
            "PYTHONPATH": self.path,
            "PYTHONIOENCODING": "utf-8",
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            # The peer may be too old to read its own checkpoints with today's safe default.
            "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
        }

    def run(self, *words: object) -> Usage:
        """Run ``python words...``; ends the program if that fails."""
        code, used = measure_child([self.python, *map(str, words)], self.environment())
        if code != 0:
            sys.exit(f"{self.name}: {' '.join(map(str, words))} failed with {code}:\n{used.output[-3000:]}")
        return used

    def versions(self) -> str:
        """The versions of fairseq, Python and PyTorch that a side runs on."""
        program = "import sys, torch, fairseq; print('versions', fairseq.__version__, sys.version.split()[0], torch.__version__)"  # noqa: E501
        # Some packages log while they are imported.
        lines = self.run("-c", program).output.splitlines()
        fairseq, python, torch = next(line for line in lines if line.startswith("versions ")).split()[1:]
        return f"fairseq {fairseq}, Python {python}, PyTorch {torch}"


@dataclass(frozen=True)
class Runs:
    """The figures of several runs of the same."""

    figures: list[float]

    @property
    def median(self) -> float:
        """The one in the middle."""
        return statistics.median(self.figures)

    @property
    def spread(self) -> float:
        """Largest difference of a run from the median, as a share of it."""
        return max(abs(figure - self.median) for figure in self.figures) / (self.median or 1.0)


@dataclass(frozen=True)
class Row:
    """One figure of the report.

    Args:
        what: what was done, in a few words.
        quantity: a key of ``QUANTITIES``, or any other name with ``unit`` and ``more_is_better`` given.
        this: median on this side.
        peer: median on the other side, if there is one; or the figure that ``against`` names.
        against: what ``peer`` is, where it is not the peer.
        runs: how many runs each median is of.
        spread: largest difference of a run from its median, as a share of the median, over both sides.
    """

    what: str
    quantity: str
    this: float
    peer: float | None = None
    against: str = "peer"
    runs: int = 1
    spread: float = 0.0
    unit: str = ""
    more_is_better: bool | None = None

    @property
    def shown_unit(self) -> str:
        """The unit of both figures."""
        return self.unit or QUANTITIES[self.quantity][0]

    @property
    def ratio(self) -> float | None:
        """How many times better this side is: above 1 is better, whatever is counted."""
        if self.peer is None or not self.this or not self.peer:
            return None
        more = QUANTITIES[self.quantity][1] if self.more_is_better is None else self.more_is_better
        return self.this / self.peer if more else self.peer / self.this


@dataclass
class Setup:
    """What a benchmark gets: the sides, a folder to work in, and data that is made once for all benchmarks."""

    this: Side
    peer: Side | None
    repeat: int
    work: Path
    given_corpus: Path | None = None
    given_checkpoint: Path | None = None
    given_transformer: Path | None = None
    given_dictionaries: Path | None = None

    @property
    def sides(self) -> list[Side]:
        """This side, and the peer if there is one."""
        return [self.this] + ([self.peer] if self.peer else [])

    @cached_property
    def corpus(self) -> Path:
        """A folder with subword text ``{train,valid,test}.{de,en}``: the one given, or numbers in words."""
        if self.given_corpus:
            return self.given_corpus
        folder = self.work / "numbers"
        self.this.run("-m", "plugins.tutorial_lstm.prepare", "numbers", "--destdir", folder)
        return folder / "work"

    @cached_property
    def data(self) -> Path:
        """The corpus, binarised by this side."""
        folder = self.work / "data"
        words: list[str | Path] = ["--validpref", self.corpus / "valid", "--testpref", self.corpus / "test"]
        if self.given_dictionaries:
            given = self.given_dictionaries
            words += ["--srcdict", given / "dict.de.txt", "--tgtdict", given / "dict.en.txt"]
        self.preprocess(self.this, self.corpus, folder, *words)
        return folder

    def preprocess(self, side: Side, source: Path, target: Path, *words: str | Path) -> Usage:
        """Binarise the ``train`` part of a corpus, and what more words of the command say."""
        shutil.rmtree(target, ignore_errors=True)
        command = ["-s", "de", "-t", "en", "--trainpref", source / "train", "--destdir", target, *words]
        return side.run("-m", "fairseq_cli.preprocess", *command)

    def compare(self, what: str, measure: Callable[[Side, int], Mapping[str, float]]) -> Iterator[Row]:
        """Measure both sides in turns, so that both see the same weather; one row for every quantity.

        Args:
            what: the rows' title.
            measure: from a side and the number of the run to ``{quantity: figure}``.
        """
        found = self.in_turns({side.name: partial(measure, side) for side in self.sides})
        for quantity in found[self.this.name]:
            figures = {name: quantities[quantity] for name, quantities in found.items()}
            peer = figures[self.peer.name].median if self.peer else None
            spread = max(runs.spread for runs in figures.values())
            yield Row(what, quantity, figures[self.this.name].median, peer, runs=self.repeat, spread=spread)

    def in_turns(self, measures: Mapping[str, Callable[[int], Mapping[str, float]]]) -> dict[str, dict[str, Runs]]:
        """Several ways of doing the same, one after the other, over and over.

        Args:
            measures: what to do under each name: from the number of the run to ``{quantity: figure}``.

        Returns:
            ``{name: {quantity: runs}}``.
        """
        found: dict[str, list[Mapping[str, float]]] = {name: [] for name in measures}
        for turn in range(self.repeat):
            for name, measure in measures.items():
                found[name].append(measure(turn))
        return {
            name: {quantity: Runs([figures[quantity] for figures in runs]) for quantity in runs[0]}
            for name, runs in found.items()
        }
