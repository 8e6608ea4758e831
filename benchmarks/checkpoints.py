"""How long loading a large checkpoint takes and how much memory, as ratios to bare torch in the same run.

    python benchmarks/checkpoints.py [--megabytes 1000] [--repeat 3] [--json FILE]

The bare side is ``torch.load(mmap=True)`` and one copy of every tensor. Each figure is taken in a process of its own
that has imported what it needs; the sides take turns. Time is processor time (user and system), which other programs on
the machine disturb least; memory is the peak of the resident set above what the process held before, in file sizes.

  state      ``load_checkpoint_to_cpu``
  model      ``load_model_ensemble_and_task``: the file's model, built and filled
  training   ``Trainer.load_checkpoint``: model and optimizer state into a trainer that is there already
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks._measure import Row, Setup

ROOT = Path(__file__).resolve().parent.parent
REPORTED = 300  # megabytes of a file in the common report
QUESTIONS = ["state", "model", "training"]

COMMON = """
import os, resource, sys, time
import torch
torch.set_num_threads(1)
path, data = sys.argv[1:3]
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
def config(words):
    from fairseq import options
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    return convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), words))
def measured(work):
    # The file is in the cache of the system on both sides.
    with open(path, "rb") as file:
        while file.read(1 << 24):
            pass
    before, began, clock = peak(), time.process_time(), time.perf_counter()
    kept = work()
    print("figures", time.process_time() - began, time.perf_counter() - clock, peak() - before)
"""

SIDES = {
    "bare": """
def bare():
    def copied(node):
        if isinstance(node, torch.Tensor):
            return node.clone()
        if isinstance(node, dict):
            return {key: copied(value) for key, value in node.items()}
        return [copied(part) for part in node] if isinstance(node, (list, tuple)) else node
    import argparse
    torch.serialization.add_safe_globals([argparse.Namespace])
    return copied(torch.load(path, mmap=True, weights_only=True))
measured(bare)
""",
    "state": """
from fairseq.checkpoint_utils import load_checkpoint_to_cpu
from fairseq.dataclass import utils
import omegaconf
measured(lambda: load_checkpoint_to_cpu(path))
""",
    "model": """
from fairseq import checkpoint_utils
from fairseq.models.transformer import TransformerModel
from fairseq.tasks.translation import TranslationTask
from fairseq.checkpoint_utils import load_model_ensemble_and_task
import fairseq.models.transformer.transformer_legacy, omegaconf
measured(lambda: load_model_ensemble_and_task([path], arg_overrides={"data": data}))
""",
    "training": """
from fairseq import tasks
from fairseq.trainer import Trainer
cfg = config(sys.argv[3:])
task = tasks.setup_task(cfg.task)
trainer = Trainer(cfg, task, task.build_model(cfg.model), task.build_criterion(cfg.criterion))
trainer.optimizer
measured(lambda: trainer.load_checkpoint(path))
""",
}

MAKER = """
from fairseq import tasks
from fairseq.trainer import Trainer
cfg = config(sys.argv[3:])
task = tasks.setup_task(cfg.task)
trainer = Trainer(cfg, task, task.build_model(cfg.model), task.build_criterion(cfg.criterion))
for parameter in trainer.model.parameters():
    parameter.grad = torch.zeros_like(parameter)
trainer.optimizer.step()
position = {"version": 2, "epoch": 1, "iterations_in_epoch": 1, "shuffle": True}
trainer.save_checkpoint(path, {"train_iterator": position, "val_loss": None})
"""


def options(data: Path, width: int, extra: list[str]) -> list[str]:
    """A training command line for a transformer of this width."""
    words = [str(data), "-s", "aa", "-t", "bb", "--task", "translation", "--arch", "transformer", "--optimizer", "adam"]
    words += ["--lr", "0.001", "--cpu", "--max-tokens", "1000", "--criterion", "cross_entropy"]
    for side in ("encoder", "decoder"):
        words += [f"--{side}-embed-dim", str(width), f"--{side}-ffn-embed-dim", str(4 * width)]
        words += [f"--{side}-layers", "4", f"--{side}-attention-heads", "8"]
    return words + extra


def width_for(megabytes: float, copies: int) -> int:
    """Width of a model whose parameters, ``copies`` times in float32, take so many megabytes."""
    width = 64
    # 4 x (12 + 16) width^2 in the layers, 3,000 width in the embeddings and the output.
    while copies * 4 * (112 * width**2 + 3000 * width) < megabytes * 1e6:
        width += 64
    return width


def run(script: str, *words: object) -> list[float]:
    """Figures that a script printed; ends the program if it fails."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", COMMON + script, *map(str, words)], env=environment, capture_output=True, text=True
    )
    if done.returncode != 0:
        sys.exit(f"a side failed:\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}")
    found = [line for line in done.stdout.splitlines() if line.startswith("figures ")]
    return [float(word) for word in found[-1].split()[1:]] if found else []


def measured(
    work: Path, megabytes: float, repeat: int, only: list[str]
) -> Iterator[tuple[str, int, list[float], list[float]]]:
    """For each question: its name, the file's bytes, the medians ``[cpu, wall, peak bytes]`` of bare and of ours."""
    data = work / "data"
    data.mkdir(parents=True)
    for language in ("aa", "bb"):
        (data / f"dict.{language}.txt").write_text("".join(f"w{number} 1\n" for number in range(996)))
    for question in only:
        extra = [] if question == "training" else ["--no-save-optimizer-state"]
        words = options(data, width_for(megabytes, 3 if question == "training" else 1), extra)
        path = work / f"{question}.pt"
        run(MAKER, path, data, *words)
        size = path.stat().st_size
        figures: dict[str, list[list[float]]] = {"bare": [], question: []}
        for _ in range(repeat):
            for side, found in figures.items():
                found.append(run(SIDES[side], path, data, *words))
        path.unlink()
        middle = {side: [statistics.median(column) for column in zip(*found)] for side, found in figures.items()}
        yield question, size, middle["bare"], middle[question]


def measure(work: Path, megabytes: float, repeat: int, only: list[str]) -> Iterator[tuple[str, str, str]]:
    """The rows of the table, as they are found."""
    for question, size, (bare, bare_wall, _), (ours, wall, peak) in measured(work, megabytes, repeat, only):
        yield f"{question}: file", f"{size / 1e6:,.0f} MB", ""
        yield f"{question}: processor time", f"{ours:.2f} s", f"{ours / bare:.2f} x bare ({bare:.2f} s)"
        yield f"{question}: elapsed time", f"{wall:.2f} s", f"{wall / bare_wall:.2f} x bare ({bare_wall:.2f} s)"
        yield f"{question}: peak memory", f"{peak / 1e6:,.0f} MB", f"{peak / size:.2f} x file"


def rows(setup: Setup) -> Iterator[Row]:
    """The same for ``python -m benchmarks``, on smaller files."""
    from benchmarks._measure import Row

    for question, size, bare, ours in measured(setup.work / "checkpoints", REPORTED, setup.repeat, QUESTIONS):
        what = f"{question}, a file of {size / 1e6:,.0f} MB"
        yield Row(what, "cpu", ours[0], bare[0], against="bare torch", runs=setup.repeat)
        yield Row(what, "memory", ours[2] / 1e6, size / 1e6, against="the file", runs=setup.repeat)


def main() -> None:
    """Measure and print one table (and JSON, if a file is named)."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--megabytes", type=float, default=1000, help="size of the file (default: %(default)g)")
    parser.add_argument("--repeat", type=int, default=3, help="runs per figure (default: %(default)s)")
    parser.add_argument("--only", nargs="+", default=QUESTIONS, choices=QUESTIONS, help="answer these questions only")
    parser.add_argument("--folder", help="where to put the files (default: the system's temporary folder)")
    parser.add_argument("--json", type=Path, help="write the rows to this file too")
    args = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, one thread; medians of {args.repeat}")
    rows = []
    with tempfile.TemporaryDirectory(prefix="fairseq-bench-", dir=args.folder) as folder:
        for row in measure(Path(folder), args.megabytes, args.repeat, args.only):
            rows.append(row)
            print(f"{row[0]:<42}  {row[1]:>24}  {row[2]}".rstrip(), flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
