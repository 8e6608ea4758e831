"""What the command says: findings, places for a person, files it does not look at, what to do next, exit codes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Callable, Dict

import pytest

from fairseq_patches import cli, runner
from fairseq_patches.cli import main
from fairseq_patches.registry import RULES
from fairseq_patches.requirement import old_pins

MakeTree = Callable[[Dict[str, Any]], Path]
MANY = "import numpy as np\nx = np.float(1)\ny = np.int(2)\nz = np.float(3)\n"
BY_HAND = "import torch\n\n\ndef f(ids, k):\n    ids = ids.long()\n    return ids / k\n"


def test_findings_are_grouped_and_places_for_a_person_come_last(
    make_tree: MakeTree, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_tree({"a.py": MANY, "b.py": BY_HAND, "c.py": "print 1\n"})
    assert main(["check", str(root)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("a.py")] == [
        "a.py:2: [numpy-aliases] numpy.float becomes float (also line 4)",
        "a.py:3: [numpy-aliases] numpy.int becomes int",
    ]
    assert lines[-1].startswith("b.py:6: [torch-integer-division] by hand") and "b.py" not in "".join(lines[:-1])


@pytest.mark.parametrize("how", ["comment", "command", "command for all"])
def test_a_place_marked_as_seen_is_on_the_list_no_more(
    how: str, make_tree: MakeTree, capsys: pytest.CaptureFixture[str]
) -> None:
    marked = BY_HAND.replace("ids / k", "ids / k  # fairseq-patch: seen") if how == "comment" else BY_HAND
    root = make_tree({"b.py": marked, "d.py": BY_HAND.replace("f(", "g(") if how == "command" else ""})
    if how != "comment":
        places = ["b.py:6"] if how == "command" else []
        assert main(["seen", str(root), *places]) == 0
        # Lines above it do not matter.
        (root / "b.py").write_text("# new\n" + BY_HAND)
    capsys.readouterr()
    assert main(["check", str(root)]) == 0
    out = capsys.readouterr().out
    assert "b.py" not in out and "1 marked as seen" in out and ("d.py:6" in out) == (how == "command")
    assert main(["check", str(root), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["findings"]
    assert {item["path"]: item["seen"] for item in found}["b.py"]


def test_a_place_that_is_not_on_the_list_cannot_be_marked(
    make_tree: MakeTree, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_tree({"b.py": BY_HAND})
    assert main(["seen", str(root), "b.py:7"]) == 2
    assert "b.py:7: not on the list" in capsys.readouterr().err


FOREIGN = [
    ".eggs/x.egg/x.py",
    "vendor/some.egg/x.py",
    "env/lib/python3.9/site-packages/x.py",
    "usr/lib/python3/dist-packages/x.py",
    "build/lib/fairseq/x.py",
    "dist/x.py",
    "web/node_modules/x.py",
    "old-env/bin/activate",
    "conda/conda-meta/history",
    "mine/pyvenv.cfg",
]


@pytest.mark.parametrize("name", FOREIGN)
def test_packages_of_others_are_left_alone(name: str, make_tree: MakeTree, capsys: pytest.CaptureFixture[str]) -> None:
    files = {"fairseq/x.py": MANY, "fairseq/build/__init__.py": "", "fairseq/build/x.py": MANY}
    files[name] = MANY
    folder = name.split("/")[0]
    files[f"{folder}/lib/python3.9/site-packages/y.py" if name.startswith(("old-env", "conda", "mine")) else name] = (
        MANY
    )
    root = make_tree(files)
    assert main(["apply", str(root)]) == 0
    changed = {path for path in files if path.endswith("x.py") and (root / path).read_text() != MANY}
    assert changed == {"fairseq/x.py", "fairseq/build/x.py"}
    assert "packages of others and builds" in capsys.readouterr().out


def test_a_file_for_a_newer_python_and_a_link_stored_as_text_say_so(
    make_tree: MakeTree, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_tree(
        {
            "newer.py": "match x:\n    case 1 if y else:\n        pass\n",
            "linked.py": "../fairseq/trainer.py",
            "plain.py": "trainer.py\n",
            "fairseq/examples": "../examples",
            "config.py": "a.b\n",
        }
    )
    assert main(["check", str(root)]) == 0
    out = capsys.readouterr().out
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert f"newer.py: left alone: does not parse as Python {version} (line 2" in out and "newer Python" in out
    for name in ("linked.py", "plain.py", "fairseq/examples"):
        assert f"{name}: left alone: is a link stored as text" in out
    assert "config.py" not in out


PINNED = {
    "environment.yml": "dependencies:\n  - python=3.7\n  - pytorch=1.4.0\n  - pip:\n    - omegaconf==2.0.6  # old\n",
    "Pipfile": '[packages]\ntorch = "==1.4.0"\ntqdm = "*"\n[requires]\npython_version = "3.6"\n',
    "install.sh": "cd x\npip install hydra-core==1.0.7 tqdm \\\n  --no-cache\n",
    "README.md": "torch==1.4 was used.\n\n    pip install torch==1.4\n",
    "docker/Dockerfile.gpu": "RUN pip3 install 'numpy<1.20' regex\n",
    "demo.ipynb": '{"cells": [{"source": ["!pip install torch==1.7.1\\n", "import fairseq"]}]}\n',
    "environment.fine.yml": "dependencies:\n  - pytorch>=2.6\n  - python=3.12\n",
}
NAMED = {
    ("environment.yml", 2): "python>=3.10",
    ("environment.yml", 3): "torch>=2.6",
    ("environment.yml", 5): "omegaconf>=2.3",
    ("Pipfile", 2): "torch>=2.6",
    ("Pipfile", 5): "python>=3.10",
    ("install.sh", 2): "hydra-core>=1.3,<1.4",
    ("README.md", 3): "torch>=2.6",
    ("docker/Dockerfile.gpu", 1): "numpy>=1.26",
    ("demo.ipynb", 1): "torch>=2.6",
}


def test_old_pins_where_nothing_is_rewritten_are_named(make_tree: MakeTree, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_tree(PINNED)
    assert main(["apply", str(root), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {(f["path"], f["line"]): f["message"].rpartition(" ")[2] for f in report["findings"]} == NAMED
    assert all(finding["by_hand"] for finding in report["findings"]) and report["notebooks"] == ["demo.ipynb"]
    assert {name: (root / name).read_text() for name in PINNED} == PINNED


def test_pins_are_read_in_all_spellings() -> None:
    line = "pytorch=1.4=py3.7_cuda10 omegaconf==2.0.* numpy<1.20,>=1.16 torchvision>=0.5 x==1 --index=1.2 a/torch==1.0"
    assert [new for _, new in old_pins(line)] == ["torch>=2.6", "omegaconf>=2.3", "numpy>=1.26"]


def test_apply_says_what_to_do_next(make_tree: MakeTree, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_tree(
        {
            "fairseq/__init__.py": "import torch\nimport hydra\nfrom sacrebleu import x\n",
            "fairseq/data/fast.pyx": "x = 1\n",
            "setup.py": "from setuptools import setup\nsetup(name='x')\n",
            "a.py": MANY,
        }
    )
    assert main(["apply", str(root)]) == 0
    out = capsys.readouterr().out.partition("Next:")[2]
    for words in ('"torch>=2.6"', '"hydra-core>=1.3,<1.4"', '"sacrebleu>=2.0"', '"cython>=3.0"'):
        assert words in out
    assert f"pip install --no-build-isolation --no-deps -e {root}" in out
    assert f'python -c "import fairseq" && fairseq-patch check {root}' in out
    (root / "fairseq/data/fast.pyx").unlink()
    (root / "setup.py").unlink()
    assert main(["apply", str(root)]) == 0
    out = capsys.readouterr().out.partition("Next:")[2]
    assert "No build is needed" in out and str(root) in out and "cython" not in out


def test_exit_codes_are_those_of_the_help(
    make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_tree({"a.py": MANY, "b.py": BY_HAND, "c.py": "print 1\n"})
    assert main(["check", str(root), "--only", "numpy-aliases"]) == 1
    assert main(["check", str(root), "--only", "torch-integer-division"]) == 0

    def broken(*_: Any) -> Any:
        raise KeyError("a defect of the rule")

    monkeypatch.setattr(RULES["numpy-aliases"], "leave_Attribute", broken)
    for command in ("check", "apply"):
        capsys.readouterr()
        assert main([command, str(root), "--no-cache"]) == 1
        assert "a.py: left alone: could not be rewritten (KeyError" in capsys.readouterr().out
    assert (root / "a.py").read_text() == MANY
    with pytest.raises(SystemExit) as usage:
        main(["check", "--nonsense"])
    assert usage.value.code == 2
    assert main(["explain", "all is well"]) == 1 and main(["check", str(root / "nowhere")]) == 2
    with pytest.raises(SystemExit) as shown:
        main(["--help"])
    assert shown.value.code == 0 and "exit codes" in capsys.readouterr().out


def test_a_second_run_looks_only_at_what_is_new(make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    real_scan, real_rewrite = runner.scan_file, runner.rewrite
    monkeypatch.setattr(runner, "scan_file", lambda path, *rest: looked.append(path) or real_scan(path, *rest))
    monkeypatch.setattr(runner, "rewrite", lambda path, *rest: looked.append(path) or real_rewrite(path, *rest))
    root = make_tree({"a.py": MANY, "b.py": BY_HAND, "c.py": "x = 1\n", "conf.yaml": "hydra: {}\ndefaults: [a: b]\n"})
    assert main(["apply", str(root)]) == 0 and looked
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    looked.clear()
    for command in ("check", "apply", "check"):
        assert main([command, str(root), "--json"]) == 0
    assert looked == []
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    (root / "c.py").write_text(MANY)
    assert main(["check", str(root)]) == 1
    assert set(looked) == {"c.py"}
    looked.clear()
    assert main(["check", str(root), "--no-cache"]) == 1
    assert {"a.py", "b.py", "c.py"} <= set(looked)


def test_what_is_kept_gives_the_same_report(make_tree: MakeTree, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_tree({"a.py": MANY, "b.py": BY_HAND, "fairseq/__init__.py": "import torch\nx = torch.load('a')\n"})
    reports = []
    for command, option in (("check", "--no-cache"), ("check", "--json"), ("check", "--json"), ("check", "--no-cache")):
        main([command, str(root), "--json", option])
        reports.append(capsys.readouterr().out)
    assert len(set(reports)) == 1
    assert main(["apply", str(root)]) == 0
    capsys.readouterr()
    for option in ("--json", "--no-cache"):
        assert main(["check", str(root), "--json", option]) == 0
        reports.append(capsys.readouterr().out)
    assert reports[-1] == reports[-2] and '"by_hand": true' in reports[-1]


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"version": 1}', b"[]", b"\0", b'{"version": "", "scans": {"a.py": 3}}']
)
def test_a_damaged_cache_counts_as_empty(
    content: bytes, make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FAIRSEQ_PATCH_CACHE", str(tmp_path / "kept"))
    root = make_tree({"a.py": MANY})
    assert main(["check", str(root)]) == 1
    (kept,) = (tmp_path / "kept").iterdir()
    good = json.loads(kept.read_bytes())
    for bad in (content, json.dumps({**good, "scans": {"a.py": [good["scans"]["a.py"][0], {"no": 1}]}}).encode()):
        kept.write_bytes(bad)
        assert main(["check", str(root)]) == 1
    monkeypatch.setenv("FAIRSEQ_PATCH_CACHE", "")
    assert main(["apply", str(root)]) == 0 and cli.main(["check", str(root)]) == 0
