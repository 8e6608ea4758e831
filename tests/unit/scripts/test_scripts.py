"""The table of tested versions, and the generated reference."""

from __future__ import annotations

import functools
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]
if not (ROOT / "scripts").is_dir():
    pytest.skip("scripts are part of the checkout only", allow_module_level=True)


def load(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem + "_script", ROOT / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_cell(folder: Path, python: str, cases: str) -> None:
    about = {"python": python, "torch": "2.6.0", "numpy": "2.1", "omegaconf": "2.3.0", "hydra-core": "1.3.2"}
    about |= {"sacrebleu": "2.5", "compiled": True, "date": "2026-01-01", "commit": "abc", "tests": ["tests"]}
    about |= {"complete": python != "3.9.2"}
    (folder / f"{python}.json").write_text(json.dumps(about), encoding="utf-8")
    (folder / f"{python}.xml").write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>", encoding="utf-8")


def test_the_table_has_a_row_for_each_cell_and_explains_failures(tmp_path: Path) -> None:
    matrix = load("scripts/matrix.py")
    good = '<testcase classname="a" name="one"/><testcase classname="a" name="two"><skipped/></testcase>'
    bad = '<testcase classname="a" name="three"><failure message="boom&#10;more"/></testcase>'
    write_cell(tmp_path, "3.12.1", good + bad)
    write_cell(tmp_path, "3.9.2", good)
    text = matrix.page(matrix.cells(tmp_path), {"three": "it cannot count", "Python 3.14": "No such thing."})
    rows = [line for line in text.splitlines() if line.startswith("| 3.")]
    assert [row.split(" | ")[0] for row in rows] == ["| 3.9.2", "| 3.12.1"]
    assert " | 1 | 1 | 1 | `tests` | " in rows[1]
    assert " | 1 | 1 | 0 | `tests`, stopped before the end | " in rows[0]
    assert "- `a::three`: it cannot count (3.12.1/2.6.0: `boom`)" in text
    assert "\nNot run: Python 3.13.\n" in text
    assert "\nNot run: Python 3.14. No such thing.\n" in text


def test_every_option_of_the_training_tool_is_in_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["docs"])
    reference = load("docs/_ext/reference.py")
    from fairseq import options

    page = reference.command_line()
    parser = options.get_training_parser()
    flags = [a.option_strings[0] for _, actions in reference.documented(parser) for a in actions if a.option_strings]
    assert len(flags) > 150
    assert [flag for flag in flags if f"`{flag}" not in page] == []


def test_the_api_reference_reads_sources_and_imports_nothing() -> None:
    reference = load("docs/_ext/reference.py")
    before = set(sys.modules)
    page = reference.api_page("fairseq.scoring")
    assert "class SacrebleuScorer" in page
    assert "## fairseq.scoring.wer" in page
    assert {name for name in set(sys.modules) - before if name.startswith("fairseq.scoring")} == set()


@pytest.mark.parametrize(
    ("subject", "is_wrong"),
    [
        ("generator: read GPU results one step later", False),
        ("eval-lm, generate: make no figure from nothing", False),
        ("Merge branch 'x'", False),
        ("What the host has sent is not asked of the GPU again", True),
        ("generator: Read GPU results", True),
        ("generator: reading GPU results", True),
        ("generator: fixed the order", True),
        ("data: embed words", False),
        ("x: " + "y" * 80, True),
    ],
)
def test_subjects_of_commits_are_checked(subject: str, is_wrong: bool) -> None:
    assert bool(load("scripts/check_subjects.py").wrong(subject)) is is_wrong


def test_the_tutorials_threads_are_bounded_to_the_cores_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    tutorial = load("scripts/run_tutorial.py")
    monkeypatch.setattr(tutorial, "available_cores", lambda: 3)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert tutorial.environment()["OMP_NUM_THREADS"] == "3"
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert tutorial.environment()["OMP_NUM_THREADS"] == "7"


def test_the_tutorial_translates_with_a_progress_bar(capfd: pytest.CaptureFixture[str]) -> None:
    tutorial = load("scripts/run_tutorial.py")
    program = "for i in range(4): print(f'S-{i}\\tx'); print(f'D-{i}\\t-1\\tx')"
    said = tutorial.translate([sys.executable, "-c", program], 4)
    assert len(said.splitlines()) == 8
    assert "translating: 100%" in capfd.readouterr().err
    with pytest.raises(SystemExit) as stop:
        tutorial.translate([sys.executable, "-c", "print('why'); raise SystemExit(5)"], 4)
    assert stop.value.code == 5 and "why" in capfd.readouterr().out


@functools.cache
def noxfile() -> ModuleType:
    """Loaded once: a job may be registered once."""
    return load("noxfile.py")


@pytest.mark.parametrize("job", ["tutorial", "tests"])
def test_the_readmes_jobs_say_what_they_do_and_how_long_it_takes(job: str) -> None:
    pytest.importorskip("nox")
    told: list[str] = []

    class Session:
        posargs: list[str] = []

        def log(self, text: str, *args: object) -> None:
            told.append(text % args if args else text)

        def install(self, *what: str, silent: bool = True) -> None:
            assert told and "minutes" in " ".join(told), "nothing was said before the installation"
            assert not silent, "the installer's progress is hidden"
            told.append("installed")

        def run(self, *command: str) -> None:
            told.append("ran")

    getattr(noxfile(), job).func(Session())
    assert told[-1] == "ran" and "minutes" in told[told.index("installed") + 1]
