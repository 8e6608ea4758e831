"""list, explain, and the page in docs/."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from fairseq_patches.cli import main
from fairseq_patches.registry import PATCHES
from fairseq_patches.report import markdown

ROOT = Path(__file__).resolve().parents[2]
LOADER = (
    "import importlib.util as u, sys; sys.modules['libcst'] = None; "
    f"s = u.spec_from_file_location('fairseq_patches', {str(ROOT / 'patches' / '__init__.py')!r}, "
    f"submodule_search_locations=[{str(ROOT / 'patches')!r}]); "
    "m = u.module_from_spec(s); sys.modules['fairseq_patches'] = m; s.loader.exec_module(m); "
    "from fairseq_patches.cli import main; code = main(sys.argv[1:]); "
    "assert 'torch' not in sys.modules and 'fairseq' not in sys.modules; raise SystemExit(code)"
)


def bare(*args: str) -> "subprocess.CompletedProcess[str]":
    """The command where LibCST is not installed."""
    return subprocess.run([sys.executable, "-c", LOADER, *args], capture_output=True, text=True, check=False)


def test_list_shows_every_patch_without_libcst_torch_or_fairseq() -> None:
    done = bare("list")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == [patch.id for patch in PATCHES]


def test_explain_works_without_libcst() -> None:
    done = bare("explain", "ModuleNotFoundError: No module named 'torch._six'")
    assert done.returncode == 0 and done.stdout.startswith("torch-six:")


def test_check_without_libcst_names_the_extra(tmp_path: Path) -> None:
    done = bare("check", str(tmp_path))
    assert done.returncode == 1 and "fairseq[patches]" in done.stderr and "Traceback" not in done.stderr


def test_list_and_explain_speak_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    cards = json.loads(capsys.readouterr().out)
    assert {"id", "symptom", "since", "cause", "kind"} <= set(cards[0])
    assert main(["explain", "torch-load", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["matches"][0]["id"] == "torch-load"


def test_explain_reads_standard_input_and_fails_on_the_unknown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("x\nAttributeError: module 'numpy' has no attribute 'float'\n"))
    assert main(["explain", "-"]) == 0
    assert "fairseq-patch apply PATH" in capsys.readouterr().out
    assert main(["explain", "all is well"]) == 1


def test_the_page_in_docs_is_made_of_the_cards() -> None:
    """Write it with: fairseq-patch list --markdown > docs/patches.md"""
    assert (ROOT / "docs" / "patches.md").read_text(encoding="utf-8") == markdown(PATCHES)
