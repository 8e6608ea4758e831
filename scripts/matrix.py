"""The test suite on several Pythons and PyTorches, and the table of docs/matrix.md from what was found.

    python scripts/matrix.py run --out FOLDER                         # the suite on this Python, from this checkout
    python scripts/matrix.py run --out FOLDER --python A --python B   # on other interpreters, one after the other
    python scripts/matrix.py run --out FOLDER -- tests/unit -x        # with arguments for pytest
    python scripts/matrix.py table FOLDER                             # write docs/matrix.md

``nox -s matrix`` calls ``run`` in an environment of its own for each cell. A cell is one JUnit XML file and one JSON
file with the versions it ran on. Why a test fails in a cell, or a Python was not run, is written by hand in
``docs/matrix_notes.json``: part of the test's name, or ``Python 3.14``, and a sentence.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "matrix.md"
NOTES = ROOT / "docs" / "matrix_notes.json"
PACKAGES = ("torch", "numpy", "omegaconf", "hydra-core", "sacrebleu", "Cython", "pytest")
COLUMNS = (
    *("Python", "PyTorch", "NumPy", "OmegaConf", "Hydra", "sacreBLEU", "compiled"),
    *("passed", "skipped", "failed", "tests", "date", "commit"),
)
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")

VERSIONS = f"""
import importlib.metadata as m, json, sys
def version(name):
    try:
        return m.version(name)
    except m.PackageNotFoundError:
        return None
print(json.dumps(dict(python=sys.version.split()[0], **{{name: version(name) for name in {PACKAGES!r}}})))
"""
COMPILED = "from fairseq.data import data_utils_fast as d; print(d.is_compiled)"


def run_cell(python: str, out: Path, words: Sequence[str]) -> int:
    """Run pytest with one interpreter; returns its exit code."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}

    def said(program: str) -> str:
        command = [python, "-c", program]
        return subprocess.run(command, env=environment, cwd=ROOT, text=True, capture_output=True, check=True).stdout

    versions = json.loads(said(VERSIONS))
    out.mkdir(parents=True, exist_ok=True)
    name = "py{python}-torch{torch}-numpy{numpy}".format(**versions).replace("+", "_")
    report = out / f"{name}.xml"
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *words]
    print("$", " ".join(command), flush=True)
    code = subprocess.run(command, env=environment, cwd=ROOT).returncode
    about = {
        **versions,
        "compiled": said(COMPILED).strip() == "True",
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "commit": commit(),
        "tests": [word for word in words if not word.startswith("-")] or ["tests"],
        "complete": code in (0, 1),
    }
    (out / f"{name}.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return code


def commit() -> str | None:
    """The short name of the commit that was tested, with a plus if files were changed; None outside a checkout."""
    try:
        done = subprocess.run(["git", "describe", "--always", "--dirty=+"], cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return done.stdout.strip() or None


def outcome(report: Path) -> tuple[dict[str, int], dict[str, str]]:
    """Counts by outcome, and the first line of the message of each test that failed, by its name."""
    counts: collections.Counter[str] = collections.Counter()
    failures = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        kinds = {child.tag: child for child in case}
        kind = next((tag for tag in ("failure", "error", "skipped") if tag in kinds), "passed")
        counts[kind] += 1
        if kind in ("failure", "error"):
            message = (kinds[kind].get("message") or kinds[kind].text or "").strip()
            failures[f"{case.get('classname')}::{case.get('name')}"] = message.splitlines()[0] if message else kind
    return {
        "passed": counts["passed"],
        "skipped": counts["skipped"],
        "failed": counts["failure"] + counts["error"],
    }, failures


def cells(folder: Path) -> list[dict[str, Any]]:
    """All cells of a folder, in the order of their versions."""
    found = []
    for path in sorted(folder.rglob("*.json")):
        report = path.with_suffix(".xml")
        about = json.loads(path.read_text(encoding="utf-8"))
        about["counts"], about["failures"] = outcome(report)
        found.append(about)
    return sorted(found, key=lambda cell: [numbers(cell[key]) for key in ("python", "torch", "numpy")])


def numbers(version: str) -> list[int]:
    """A version as numbers that sort."""
    return [int(part) for part in re.findall(r"\d+", version.partition("+")[0])]


def page(found: list[dict[str, Any]], notes: dict[str, str]) -> str:
    """The text of docs/matrix.md."""
    lines = [
        "# On which versions it was tested",
        "",
        "<!-- Written by `python scripts/matrix.py table`; run it again instead of editing this page. -->",
        "",
        "Each row is one environment in which the test suite ran. `nox -s matrix` makes them all, and any part of them",
        "(`nox -s \"matrix(python='3.12', torch='2.6', numpy='2')\"`).",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|" + "---|" * len(COLUMNS),
    ]
    for cell in found:
        row = [str(cell[key]) for key in ("python", "torch", "numpy", "omegaconf", "hydra-core", "sacrebleu")]
        row += ["yes" if cell["compiled"] else "no", *(str(cell["counts"][k]) for k in ("passed", "skipped", "failed"))]
        which = " ".join(f"`{name}`" for name in cell["tests"]) + (
            "" if cell.get("complete", True) else ", stopped before the end"
        )
        row += [which, cell["date"], f"`{cell['commit']}`"]
        lines.append("| " + " | ".join(row) + " |")
    ran = {".".join(cell["python"].split(".")[:2]) for cell in found}
    missing = [python for python in PYTHONS if python not in ran]
    lines += ["", "*Compiled* says whether the compiled modules were used or their NumPy versions."]
    for python in missing:
        lines += ["", f"Not run: Python {python}. {notes.get(f'Python {python}', '')}".rstrip()]
    lines += ["", "## What failed", ""]
    failures: dict[str, list[str]] = {}
    for cell in found:
        for test, message in cell["failures"].items():
            where = f"{cell['python']}/{cell['torch']}"
            failures.setdefault(test, []).append(f"{where}: `{message.replace('`', chr(39))[:160]}`")
    for test, places in sorted(failures.items()):
        lines += [f"- `{test}`: {explanation(test, notes)} ({'; '.join(places)})"]
    lines += [] if failures else ["Nothing."]
    return "\n".join(lines) + "\n"


def explanation(test: str, notes: dict[str, str]) -> str:
    """The note whose key is part of the test's name."""
    return next((note for part, note in notes.items() if part in test), "not explained yet")


def main() -> int:
    """Run cells, or write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    jobs = parser.add_subparsers(dest="job", required=True)
    run = jobs.add_parser("run", help="run the suite")
    run.add_argument("--python", action="append", help="interpreter (default: this one); may be repeated")
    run.add_argument("--out", type=Path, required=True, help="folder for results")
    run.add_argument("words", nargs="*", help="arguments for pytest, after --")
    table = jobs.add_parser("table", help="write docs/matrix.md")
    table.add_argument("folder", type=Path)
    table.add_argument("--target", type=Path, default=PAGE)
    args = parser.parse_args()
    if args.job == "run":
        return max(run_cell(python, args.out, args.words) for python in args.python or [sys.executable])
    notes = json.loads(NOTES.read_text(encoding="utf-8")) if NOTES.exists() else {}
    args.target.write_text(page(cells(args.folder), notes), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
