"""Every code block of the documentation runs, unless the page says why it cannot.

A comment before a block steers it:
    <!-- not run: REASON -->   it is only shown
    <!-- file: PATH -->        it is the content of a file
    <!-- says: TEXT -->        its output holds this
    <!-- exit: N -->           it ends with this code

The blocks of a page run in their order in one folder, in which ``data-bin/numbers`` and a tiny trained model
(``checkpoints/numbers/checkpoint_best.pt``) lie, as if the page "Getting started" had been followed.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
if not (ROOT / "docs" / "getting-started.md").exists():
    pytest.skip("the documentation is part of the checkout only", allow_module_level=True)
pytest.importorskip("num2words")
pytest.importorskip("subword_nmt")

PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
# The cards' examples are code before and after a repair; tests/patches runs each of them.
PAGES = [page for page in PAGES if page.name != "patches.md"]
RUNNABLE = ("bash", "python", "yaml")
MARK = re.compile(r"<!-- (not run|file|says|exit): (.+?) -->")


@dataclass
class Block:
    """A fenced block, the line it begins on, and what the comments before it say."""

    line: int
    language: str
    text: str
    marks: dict[str, str]


def blocks_of(page: Path) -> list[Block]:
    found, marks, fence = [], {}, None
    body: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if fence is None:
            if line.startswith("```"):
                fence, language, begin, body = line[: len(line) - len(line.lstrip("`"))], line.strip("`"), number, []
            elif mark := MARK.fullmatch(line.strip()):
                marks[mark.group(1)] = mark.group(2)
            elif line.strip():
                marks = {}
        elif line.rstrip() == fence:
            found.append(Block(begin, language.strip(), "\n".join(body) + "\n", marks))
            marks, fence = {}, None
        else:
            body.append(line)
    assert fence is None, f"{page.name}: a block is not closed"
    return found


def shims(folder: Path) -> Path:
    """``python`` and every console tool as commands of the interpreter that runs the tests."""
    folder.mkdir()
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    table = text.split("[project.scripts]")[1].split("\n[")[0]
    # A page that installs something is to be marked as not run; if it is not, nothing may happen to this Python.
    refuse = "echo 'installing is not run here' >&2; exit 1"
    python = f'if [ "${{2-}}" = pip ]; then {refuse}; fi; exec "{sys.executable}" "$@"'
    commands = {"pip": refuse, "uv": refuse, "nox": refuse, "python": python, "python3": python}
    for name, module, function in re.findall(r'^([\w-]+) = "([\w.]+):(\w+)"', table, re.MULTILINE):
        module = module.replace("fairseq_patches", "patches")
        program = f"import sys; sys.argv[0] = '{name}'; from {module} import {function}; sys.exit({function}())"
        commands[name] = f'exec "{sys.executable}" -c "{program}" "$@"'
    for name, command in commands.items():
        path = folder / name
        path.write_text(f"#!/bin/sh\n{command}\n", encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return folder


class Runner:
    """Runs blocks in one folder."""

    def __init__(self, folder: Path, tools: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
        }

    def run(self, block: Block) -> str | None:
        """Run or write a block; returns what is wrong."""
        if "file" in block.marks:
            path = self.folder / block.marks["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
            return None
        if block.language == "yaml":
            return "a YAML block needs <!-- file: ... -->"
        command = ["bash", "-euo", "pipefail", "-c"] if block.language == "bash" else [sys.executable, "-c"]
        done = subprocess.run(
            [*command, block.text],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        if done.returncode != int(block.marks.get("exit", 0)):
            return f"exit code {done.returncode}\n{done.stdout[-2000:]}"
        if block.marks.get("says", "") not in done.stdout:
            return f"does not say {block.marks['says']!r}\n{done.stdout[-2000:]}"
        return None


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shims(tmp_path_factory.mktemp("tools") / "bin")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, tools: Path) -> Path:
    """A folder in which the data and the training blocks of "Getting started" were run."""
    folder = tmp_path_factory.mktemp("docs")
    runner = Runner(folder, tools)
    wanted = ("fairseq prepare numbers", "--save-dir checkpoints/numbers")
    blocks = [b for b in blocks_of(ROOT / "docs" / "getting-started.md") if any(word in b.text for word in wanted)]
    assert len(blocks) == len(wanted)
    for block in blocks:
        assert (problem := runner.run(block)) is None, problem
    return folder


def to_run(page: Path) -> list[Block]:
    return [block for block in blocks_of(page) if block.language in RUNNABLE and "not run" not in block.marks]


@pytest.mark.parametrize("page", [page for page in PAGES if to_run(page)], ids=lambda page: page.name)
def test_the_blocks_of_a_page_run(page: Path, prepared: Path, tools: Path, tmp_path: Path) -> None:
    shutil.copytree(prepared / "data-bin", tmp_path / "data-bin")
    shutil.copytree(prepared / "checkpoints", tmp_path / "checkpoints")
    runner = Runner(tmp_path, tools)
    for block in to_run(page):
        if (problem := runner.run(block)) is not None:
            pytest.fail(f"{page.name}:{block.line}: {problem}\nblock:\n{block.text}", pytrace=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_names_its_language(page: Path) -> None:
    assert [block.line for block in blocks_of(page) if not block.language] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    # Pages below reference/ are made when the documentation is built.
    missing = [t for t in targets if not t.startswith("reference/") and not (page.parent / t).exists()]
    assert missing == []


def test_a_block_that_fails_is_noticed(tmp_path: Path, tools: Path) -> None:
    runner = Runner(tmp_path, tools)
    assert runner.run(Block(1, "bash", "false\ntrue\n", {})) is not None
    assert runner.run(Block(1, "python", "print('one')\n", {"says": "two"})) is not None
    assert runner.run(Block(1, "bash", "exit 3\n", {"exit": "3"})) is None
    assert "not run here" in str(runner.run(Block(1, "bash", "python3 -m pip install nothing\n", {})))


def test_every_page_is_in_the_table_of_contents() -> None:
    listed = set((ROOT / "docs" / "index.md").read_text(encoding="utf-8").split())
    assert {page.stem for page in (ROOT / "docs").glob("*.md")} - {"index"} <= listed
