"""The command ``fairseq VERB``: one table, nothing imported too early, mistakes named, completion that works."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fairseq_cli import completion, main
from fairseq_cli.verbs import VERBS

ROOT = Path(__file__).resolve().parents[3]
# Ends the program with code 77 when PyTorch is imported.
WITHOUT_TORCH = """
import runpy, sys
class Guard:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            sys.exit(77)
sys.meta_path.insert(0, Guard())
sys.argv = ["fairseq", *sys.argv[1:]]
runpy.run_module("fairseq", run_name="__main__")
"""


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "fairseq", *words], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_imports_no_torch(verb: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, verb, "--help"], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("usage: ")


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["trian"], [], ["--print-completion", "fish"]])
def test_the_dispatcher_imports_no_torch(words: list[str]) -> None:
    result = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *words], capture_output=True, text=True, timeout=120)
    assert result.returncode in (0, 2), result.stderr


def test_every_row_names_functions_that_exist() -> None:
    for verb in VERBS.values():
        assert callable(main.find(verb.run))
        assert verb.parser is None or main.find(verb.parser)().format_usage()


def test_every_installed_script_is_a_verb_as_well() -> None:
    scripts = {line.split(" = ")[0] for line in _section("[project.scripts]") if line.startswith("fairseq")}
    assert scripts == {"fairseq", *(verb.script for verb in VERBS.values() if verb.script)}


def _section(title: str) -> list[str]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return text.split(title)[1].split("\n[")[0].splitlines()


def test_a_mistyped_verb_gets_its_near_name_and_exit_code_2() -> None:
    result = run("genrate")
    assert (result.returncode, result.stdout) == (2, "")
    assert "genrate: no such verb; did you mean: generate" in result.stderr
    assert "Traceback" not in result.stderr


def test_without_arguments_the_verbs_are_listed_and_the_exit_code_is_2() -> None:
    result = run()
    assert result.returncode == 2
    assert all(f"  {verb} " in result.stderr for verb in VERBS)


def test_a_verb_is_the_script_of_the_same_name() -> None:
    verb = run("score", "--sys", "missing", "--ref", "missing")
    script = subprocess.run(
        [sys.executable, "-m", "fairseq_cli.score", "--sys", "missing", "--ref", "missing"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (verb.returncode, verb.stdout, verb.stderr) == (script.returncode, script.stdout, script.stderr)
    assert verb.returncode == 1


@pytest.mark.parametrize("words", [["fairseq-env"], ["env"], ["help", "env"]])
def test_dashed_names_and_help_are_understood(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["fairseq"])
    asked: list[list[str]] = []
    monkeypatch.setattr(main, "find", lambda target: lambda: asked.append([target, *sys.argv]))
    assert main.main(words) == 0
    assert asked == [[VERBS["env"].run, "fairseq env", *(["--help"] if words[0] == "help" else [])]]


def complete(script: Path, words: list[str]) -> list[str]:
    """What bash would offer for the last of ``words``."""
    quoted = " ".join(f"'{word}'" for word in words)
    code = f"source {script}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _fairseq; echo ${{COMPREPLY[@]}}"
    return subprocess.run(["bash", "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash runs the completion script")
def test_bash_completes_verbs_options_and_names(tmp_path: Path) -> None:
    script = tmp_path / "completion.bash"
    script.write_text(completion.script("bash"), encoding="utf-8")
    assert complete(script, ["fairseq", "gen"]) == ["generate"]
    assert "--max-tokens" in complete(script, ["fairseq", "train", "--max-t"])
    assert "transformer_iwslt_de_en" in complete(script, ["fairseq-train", "--arch", "transformer_i"])
    assert complete(script, ["fairseq", "generate", "--task", "translat"]) == ["translation"]
    assert complete(script, ["fairseq", "checkpoint", "ins"]) == ["inspect"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_the_same_names(shell: str) -> None:
    text = completion.script(shell)
    assert all(name in text for name in (*VERBS, "transformer_iwslt_de_en", "label_smoothed_cross_entropy"))
    if shutil.which(shell):
        subprocess.run([shell, "-n", "-c", text], check=True, timeout=60)


def test_the_table_of_verbs_imports_nothing_of_fairseq() -> None:
    tree = ast.parse((ROOT / "fairseq_cli" / "verbs.py").read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported == {"__future__", "dataclasses"}
