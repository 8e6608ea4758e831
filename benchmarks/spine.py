"""How fast the main job is, as ratios to another fairseq measured in the same run.

    python benchmarks/spine.py --peer /path/to/peer/python --peer-path /path/to/peer/source --corpus DIR

``--corpus`` is a folder with subword text ``{train,valid,test}.{de,en}``; without it the numbers corpus is made. The
peer is any Python that can run ``-m fairseq_cli.train``; without one only absolute figures are printed.

Questions, each repeated and answered by the median:
  start-up     ``--help`` of every tool, compared with a bare ``import torch`` of the same Python
  preprocess   the corpus ten times over, one process
  train        words per second of the tutorial LSTM, one thread, log's own figure of one epoch
  generate     sentences per second of the tutorial LSTM, beam 5, with the same weights on both sides
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ["preprocess", "train", "generate", "interactive", "score", "validate", "eval_lm"]
COPIES = 10
QUESTIONS = ["start-up", "preprocess", "train", "generate"]
Row = tuple[str, str, str]


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
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            # The peer may be too old to read its own checkpoints with today's safe default.
            "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
        }

    def run(self, *words: str) -> str:
        """Output of ``python words...``; ends the program if that fails."""
        done = subprocess.run(
            [self.python, *words], env=self.environment(), capture_output=True, text=True, encoding="utf-8", cwd="/"
        )
        if done.returncode != 0:
            sys.exit(f"{self.name}: {' '.join(words)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done.stdout + done.stderr


def seconds(work: Callable[[], object]) -> float:
    """How long a call takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def alternate(sides: list[Side], repeat: int, measure: Callable[[Side, int], float]) -> dict[str, float]:
    """Medians per side; the sides take turns, so that both see the same weather."""
    values: dict[str, list[float]] = {side.name: [] for side in sides}
    for turn in range(repeat):
        for side in sides:
            values[side.name].append(measure(side, turn))
    return {name: statistics.median(rows) for name, rows in values.items()}


def start_up(ours: Side, repeat: int) -> list[Row]:
    """``--help`` of every tool against ``import torch``."""
    torch = statistics.median(seconds(lambda: ours.run("-c", "import torch")) for _ in range(repeat))
    rows = [("import torch", f"{torch:.2f} s", "")]
    for tool in TOOLS:
        took = statistics.median(
            seconds(lambda tool=tool: ours.run("-m", f"fairseq_cli.{tool}", "--help")) for _ in range(repeat)
        )
        rows.append((f"{tool} --help", f"{took:.2f} s", f"{took / torch:.2f} x import torch"))
    return rows


def enlarge(corpus: Path, folder: Path) -> Path:
    """The corpus several times over."""
    folder.mkdir()
    for language in ("de", "en"):
        text = (corpus / f"train.{language}").read_bytes()
        (folder / f"train.{language}").write_bytes(text * COPIES)
    return folder


def preprocess(side: Side, source: Path, target: Path, *more: str) -> None:
    """Binarise a corpus."""
    shutil.rmtree(target, ignore_errors=True)
    command = ["-s", "de", "-t", "en", "--trainpref", str(source / "train"), "--destdir", str(target), *more]
    side.run("-m", "fairseq_cli.preprocess", *command)


def train(side: Side, data: Path, save: Path) -> float:
    """Words per second of one epoch."""
    output = side.run(
        *["-m", "fairseq_cli.train", str(data), "--user-dir", str(side.plugin), "--arch", "tutorial_simple_lstm"],
        *["--encoder-dropout", "0.2", "--decoder-dropout", "0.2", "--optimizer", "adam", "--lr", "0.005"],
        *["--lr-shrink", "0.5", "--max-tokens", "12000", "--max-epoch", "1", "--seed", "1", "--log-format", "json"],
        *["-s", "de", "-t", "en", "--save-dir", str(save), "--no-epoch-checkpoints", "--num-workers", "0"],
    )
    found = re.findall(r'"train_wps": "([\d.]+)"', output)
    if not found:
        sys.exit(f"{side.name}: no training speed in the log:\n{output[-3000:]}")
    return float(found[-1])


def generate(side: Side, data: Path, checkpoint: Path) -> float:
    """Sentences per second."""
    output = side.run(
        *["-m", "fairseq_cli.generate", str(data), "--user-dir", str(side.plugin), "--path", str(checkpoint)],
        *["--beam", "5", "--remove-bpe", "--batch-size", "64", "--required-batch-size-multiple", "1"],
        # The peer's own BLEU needs a compiled library that its source distribution cannot build.
        *["--num-workers", "0", "-s", "de", "-t", "en", "--scoring", "sacrebleu"],
    )
    found = re.search(r"\(([\d.,]+) sentences/s", output)
    if found is None:
        sys.exit(f"{side.name}: no generation speed in the output:\n{output[-3000:]}")
    return float(found.group(1).replace(",", ""))


def numbers_corpus(folder: Path, ours: Side) -> Path:
    """The embedded corpus as subword text."""
    ours.run("-m", "plugins.tutorial_lstm.prepare", "numbers", "--destdir", str(folder))
    return folder / "work"


def versions(side: Side) -> str:
    """What a side runs on."""
    program = (
        "import sys, torch, fairseq; print('versions', fairseq.__version__, sys.version.split()[0], torch.__version__)"
    )
    # Some packages log while they are imported.
    return next(line for line in side.run("-c", program).splitlines() if line.startswith("versions ")).partition(" ")[2]


def measure(args: argparse.Namespace, work: Path) -> Iterator[Row]:
    """The rows of the table, as they are found."""
    ours = Side("this", sys.executable, str(ROOT), ROOT / "plugins" / "tutorial_lstm")
    sides = [ours]
    if args.peer:
        plugin = work / "peer_tutorial_lstm"
        shutil.copytree(ROOT / "benchmarks" / "peer_plugin", plugin)
        sides.append(Side("peer", args.peer, args.peer_path, plugin))
    for side in sides:
        yield f"{side.name}: fairseq, Python, torch", versions(side), ""
    corpus = args.corpus or numbers_corpus(work / "numbers", ours)

    def compare(
        title: str, unit: str, values: dict[str, float], better: Callable[[float, float], float]
    ) -> Iterator[Row]:
        for name, value in values.items():
            both = name == "this" and "peer" in values
            ratio = f"{better(values['this'], values['peer']):.2f} x peer" if both else ""
            yield f"{title} ({name})", f"{value:,.1f} {unit}", ratio

    if "start-up" in args.only:
        yield from start_up(ours, args.repeat)
    if "preprocess" in args.only:
        large = enlarge(corpus, work / "large")
        took = alternate(
            sides, args.repeat, lambda side, turn: seconds(lambda: preprocess(side, large, work / f"pre-{side.name}"))
        )
        yield from compare(f"preprocess, corpus x {COPIES}", "s", took, lambda mine, other: other / mine)
    data = work / "data"
    preprocess(ours, corpus, data, "--validpref", str(corpus / "valid"), "--testpref", str(corpus / "test"))
    if "train" in args.only:
        speeds = alternate(sides, args.repeat, lambda side, turn: train(side, data, work / f"ck-{side.name}-{turn}"))
        yield from compare("train, tutorial LSTM", "words/s", speeds, lambda mine, other: mine / other)
    if "generate" in args.only:
        checkpoint = args.checkpoint or work / "ck-this-0" / "checkpoint_last.pt"
        if not checkpoint.exists():
            train(ours, data, checkpoint.parent)
        speeds = alternate(sides, args.repeat, lambda side, turn: generate(side, data, checkpoint))
        yield from compare("generate, tutorial LSTM, beam 5", "sentences/s", speeds, lambda mine, other: mine / other)


def main() -> None:
    """Measure and print one table (and JSON, if a file is named)."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--peer", help="Python interpreter of the other fairseq")
    parser.add_argument("--peer-path", default="", help="its source folder, if it is not installed")
    parser.add_argument("--corpus", type=Path, help="folder with {train,valid,test}.{de,en} in subwords")
    parser.add_argument("--checkpoint", type=Path, help="weights for generation (default: those trained here)")
    parser.add_argument("--repeat", type=int, default=3, help="runs per figure (default: %(default)s)")
    parser.add_argument("--only", nargs="+", default=QUESTIONS, choices=QUESTIONS, help="answer these questions only")
    parser.add_argument("--json", type=Path, help="write the rows to this file too")
    args = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, one thread; medians of {args.repeat}")
    rows = []
    with tempfile.TemporaryDirectory(prefix="fairseq-bench-") as folder:
        for row in measure(args, Path(folder)):
            rows.append(row)
            print(f"{row[0]:<42}  {row[1]:>24}  {row[2]}".rstrip(), flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
