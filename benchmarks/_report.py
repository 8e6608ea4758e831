"""Run benchmarks and write what they found: a table on the terminal, Markdown, JSON and a plot of the ratios."""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import benchmarks
from benchmarks._measure import ROOT, Row, Setup, Side

__all__ = ["main", "markdown", "names"]


def names() -> list[str]:
    """All benchmarks: the modules beside this one that have rows. Other scripts, as ``soak.py``, compare nothing."""
    files = sorted(Path(benchmarks.__file__).parent.glob("[!_]*.py"))
    return [path.stem for path in files if "\ndef rows(" in path.read_text(encoding="utf-8")]


def describe(name: str) -> str:
    """First sentence of a benchmark's docstring."""
    text = importlib.import_module(f"benchmarks.{name}").__doc__ or ""
    return " ".join(text.split("\n\n")[0].split())


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure against another fairseq.")
    parser.add_argument("--peer", help="Python interpreter of the other fairseq (none: own figures only)")
    parser.add_argument("--peer-path", default="", help="its source folder, if it is not installed")
    parser.add_argument("--corpus", type=Path, help="folder with {train,valid,test}.{de,en} in subwords")
    parser.add_argument("--checkpoint", type=Path, help="weights of the tutorial LSTM (default: those trained here)")
    parser.add_argument("--transformer", type=Path, help="weights of a transformer de-en (default: those trained here)")
    parser.add_argument(
        "--dictionaries", type=Path, help="folder with the dict.{de,en}.txt of given weights (default: counted here)"
    )
    parser.add_argument("--repeat", type=int, default=3, help="runs per figure (default: %(default)s)")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=names(), help="run these benchmarks only")
    parser.add_argument("--list", action="store_true", help="name the benchmarks and what each measures")
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FOLDER",
        help="write report.md, report.json and report.svg, or renew parts of them",
    )
    return parser


def facts(setup: Setup) -> dict[str, str]:
    """What the figures stand on."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "machine": f"{processor()}, {os.cpu_count()} cores, one thread used",
        **{side.name: side.versions() for side in setup.sides},
    }


def processor() -> str:
    """The processor's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def cells(row: Row) -> list[str]:
    """One row as text: what, quantity, ratio, both figures, spread."""
    ratio = "" if row.ratio is None else f"{row.ratio:.2f} x {row.against}"
    other = "" if row.peer is None else f"{row.peer:,.4g}"
    quantity = f"{row.quantity}, {row.shown_unit}" if row.shown_unit not in row.quantity else row.quantity
    return [row.what, quantity, ratio, f"{row.this:,.4g}", other, f"{row.runs} runs, +-{100 * row.spread:.0f} %"]


@dataclass(frozen=True)
class Part:
    """One benchmark of a report: its rows, and what they stand on (date, machine, versions)."""

    about: dict[str, str]
    rows: list[Row]


def markdown(parts: dict[str, Part]) -> str:
    """The report."""
    stand_on = [part.about for part in parts.values()]
    shared = stand_on[0] if all(about == stand_on[0] for about in stand_on) else {}
    lines = ["# Measured side by side", "", *(f"- {key}: {value}" for key, value in shared.items()), ""]
    lines += ["A ratio above 1 means that this version is better. Each figure is the median of its runs."]
    for name, part in parts.items():
        lines += ["", f"## {name}", "", describe(name), ""]
        if not shared:
            lines += [*(f"- {key}: {value}" for key, value in part.about.items()), ""]
        lines += ["| what | figure | ratio | this | other | runs |", "|---|---|---|---|---|---|"]
        lines += ["| " + " | ".join(cells(row)) + " |" for row in part.rows]
    return "\n".join(lines) + "\n"


def plot(parts: dict[str, Part], target: Path) -> str | None:
    """Draw the ratios to the peer as bars; returns why not, if it cannot."""
    rows = [row for part in parts.values() for row in part.rows if row.against == "peer"]
    bars = [(f"{row.what}: {row.quantity}", row.ratio) for row in rows]
    known = [(label, ratio) for label, ratio in bars if ratio is not None]
    if not known:
        return "no plot: nothing was compared with a peer"
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        return "no plot: matplotlib is missing (dependency group bench)"
    figure = Figure(figsize=(9, 1 + 0.3 * len(known)), layout="constrained")
    axes = figure.subplots()
    labels, ratios = zip(*reversed(known))
    drawn = axes.barh(labels, ratios, color=["#3b7dd8" if ratio >= 1 else "#d86a3b" for ratio in ratios])
    axes.bar_label(drawn, fmt="%.2f", padding=3)
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlabel("times better than the peer (logarithmic)")
    axes.margins(x=0.15)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "report"}):
        figure.savefig(target, metadata={"Date": None})
    return None


def read(folder: Path) -> dict[str, Part]:
    """The parts of a report that is there already; none if there is none."""
    path = folder / "report.json"
    if not path.exists():
        return {}
    known = {field.name for field in fields(Row)}
    parts = json.loads(path.read_text(encoding="utf-8"))["benchmarks"]
    return {
        name: Part(part["about"], [Row(**{k: v for k, v in row.items() if k in known}) for row in part["rows"]])
        for name, part in parts.items()
        if name in names()
    }


def write(folder: Path, about: dict[str, str], found: dict[str, list[Row]]) -> None:
    """Write the three files of the report; parts of an earlier run that were not measured again stay in it."""
    folder.mkdir(parents=True, exist_ok=True)
    merged = {**read(folder), **{name: Part(about, rows) for name, rows in found.items()}}
    parts = {name: merged[name] for name in sorted(merged)}
    (folder / "report.md").write_text(markdown(parts), encoding="utf-8")
    body: dict[str, Any] = {}
    for name, part in parts.items():
        rows = [{**asdict(row), "unit": row.shown_unit, "ratio": row.ratio} for row in part.rows]
        body[name] = {"about": part.about, "rows": rows}
    (folder / "report.json").write_text(json.dumps({"benchmarks": body}, indent=1) + "\n", encoding="utf-8")
    problem = plot(parts, folder / "report.svg")
    if problem:
        print(problem)


def set_up(args: argparse.Namespace, work: Path) -> Setup:
    """The sides; the peer gets the tutorial's model as its users have it."""
    this = Side("this", sys.executable, str(ROOT), ROOT / "plugins" / "tutorial_lstm")
    peer = None
    if args.peer:
        plugin = work / "peer_tutorial_lstm"
        shutil.copytree(ROOT / "benchmarks" / "peer_plugin", plugin)
        peer = Side("peer", args.peer, args.peer_path, plugin)
    return Setup(this, peer, args.repeat, work, args.corpus, args.checkpoint, args.transformer, args.dictionaries)


def main(only: str | None = None, argv: Sequence[str] | None = None) -> None:
    """Measure and report; ``only`` is the file of a benchmark that runs itself (``python -m benchmarks.NAME``)."""
    args = get_parser().parse_args(argv)
    if args.list:
        for name in names():
            print(f"{name:<16} {describe(name)}")
        return
    chosen = [Path(only).stem] if only else args.only or names()
    with tempfile.TemporaryDirectory(prefix="fairseq-bench-") as folder:
        setup = set_up(args, Path(folder))
        about = facts(setup)
        for key, value in about.items():
            print(f"{key}: {value}")
        found: dict[str, list[Row]] = {}
        for name in chosen:
            print(f"\n{name}: {describe(name)}", flush=True)
            found[name] = []
            for row in importlib.import_module(f"benchmarks.{name}").rows(setup):
                found[name].append(row)
                what, quantity, ratio, this, other, runs = cells(row)
                print(f"  {what:<44} {quantity:<28} {ratio:>22} {this:>9} {other:>9}  {runs}", flush=True)
            if args.report:
                # At once: the next one may take long, and what is measured is not lost if it is interrupted.
                write(args.report, about, {name: found[name]})
    if args.report:
        print(f"report: {args.report}")
