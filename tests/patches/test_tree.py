"""Whole folders: what is looked at, what is written, and that everything can be taken back."""

from __future__ import annotations

import argparse
import json
import os
import runpy
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict

import pytest

from fairseq_patches.cli import main
from fairseq_patches.runner import examine, select

MakeTree = Callable[[Dict[str, Any]], Path]
LOAD = "import torch\n\n\ndef read(path):\n    return torch.load(path)\n"
NUMPY = "import numpy as np\nx = np.float(1)\n"
CONFIG = "from dataclasses import dataclass\n\n\n@dataclass\nclass Inner:\n    a: int = 1\n"
USER = (
    "from dataclasses import dataclass\nfrom fairseq.configs import Inner\n\n\n"
    "@dataclass\nclass Outer:\n    inner: Inner = Inner()\n"
)


def snapshot(root: Path) -> Dict[str, Any]:
    """Content and permissions of every file."""
    return {
        str(path.relative_to(root)): (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


@pytest.fixture
def tree(make_tree: MakeTree) -> Path:
    """A repository with a vendored fairseq and a plugin of its own."""
    root = make_tree(
        {
            "fairseq/__init__.py": "",
            "fairseq/configs.py": CONFIG,
            "fairseq/checkpoint_utils.py": LOAD,
            "fairseq/data/__init__.py": "",
            "fairseq/data/numbers.py": NUMPY,
            "paper/model.py": USER,
            "paper/read.py": LOAD.replace("import torch", "import torch\nimport fairseq"),
            "tools/convert.py": LOAD,
            "README.md": "np.float torch.load",
            "setup.py": 'from setuptools import setup\nsetup(install_requires=["omegaconf<2.1"])\n',
        }
    )
    (root / "tools" / "convert.py").chmod(0o755)
    return root


def test_check_changes_nothing_and_exits_one(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = snapshot(tree)
    assert main(["check", str(tree)]) == 1
    assert snapshot(tree) == before
    out = capsys.readouterr().out
    assert "fairseq/data/numbers.py:2: [numpy-aliases]" in out
    assert "paper/model.py:7: [dataclass-mutable-default]" in out


def test_check_after_apply_finds_nothing_and_apply_twice_changes_nothing(tree: Path) -> None:
    assert main(["apply", str(tree)]) == 0
    once = snapshot(tree)
    assert main(["check", str(tree)]) == 0
    assert main(["apply", str(tree)]) == 0
    assert snapshot(tree) == once


def test_revert_restores_every_byte_and_leaves_nothing_behind(tree: Path) -> None:
    before = snapshot(tree)
    assert main(["apply", str(tree), "--backup"]) == 0
    assert snapshot(tree) != before
    assert (tree / "fairseq/data/numbers.py.orig").read_text() == NUMPY
    assert main(["revert", str(tree)]) == 0
    assert snapshot(tree) == before
    assert not (tree / ".fairseq-patch").exists()


def test_revert_goes_back_to_the_start_after_several_runs(tree: Path) -> None:
    before = snapshot(tree)
    for name in ("numpy-aliases", "torch-load", "setup-pins"):
        assert main(["apply", str(tree), "--only", name]) == 0
    assert main(["apply", str(tree)]) == 0
    assert main(["revert", str(tree)]) == 0
    assert snapshot(tree) == before


def test_permissions_survive(tree: Path) -> None:
    assert main(["apply", str(tree)]) == 0
    assert stat.S_IMODE((tree / "tools" / "convert.py").stat().st_mode) == 0o755


def test_a_file_edited_since_is_refused_and_the_others_are_reverted(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["apply", str(tree)]) == 0
    edited = tree / "fairseq/data/numbers.py"
    edited.write_text(edited.read_text() + "y = 2\n")
    assert main(["revert", str(tree)]) == 1
    assert "fairseq/data/numbers.py: was edited since" in capsys.readouterr().err
    assert edited.read_text().endswith("y = 2\n")
    assert (tree / "fairseq/checkpoint_utils.py").read_text() == LOAD
    edited.write_text("import numpy as np\nx = float(1)\n")
    assert main(["revert", str(tree)]) == 0
    assert edited.read_text() == NUMPY


def test_revert_without_a_record_says_so(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["revert", str(tree)]) == 1
    assert "nothing to revert" in capsys.readouterr().err


def test_files_use_the_helper_of_the_package_they_import_or_their_own(tree: Path) -> None:
    assert main(["apply", str(tree)]) == 0
    assert "from fairseq._modern import safe_load" in (tree / "fairseq/checkpoint_utils.py").read_text()
    assert "import fairseq\nfrom fairseq._modern import safe_load" in (tree / "paper/read.py").read_text()
    assert "from _modern import safe_load" in (tree / "tools/convert.py").read_text()
    assert (tree / "fairseq/_modern.py").is_file() and (tree / "tools/_modern.py").is_file()
    assert not (tree / "paper/_modern.py").exists()


def test_a_patched_tree_reads_a_checkpoint_and_refuses_a_hostile_one(tree: Path) -> None:
    torch = pytest.importorskip("torch")
    assert main(["apply", str(tree)]) == 0
    good, bad = tree / "good.pt", tree / "bad.pt"
    torch.save({"args": argparse.Namespace(arch="lstm")}, good)

    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tree / "owned"),)

    torch.save({"args": Evil()}, bad)
    done = subprocess.run(
        [sys.executable, "-c", "from fairseq.checkpoint_utils import read; print(read('good.pt')); read('bad.pt')"],
        cwd=tree, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(tree)},
    )  # fmt: skip
    assert "Namespace(arch='lstm')" in done.stdout
    assert "UnpicklingError" in done.stderr and "mkdir" in done.stderr
    assert not (tree / "owned").exists()


def test_a_name_taken_by_the_tree_is_not_overwritten(make_tree: MakeTree) -> None:
    root = make_tree({"fairseq/__init__.py": "", "fairseq/_modern.py": "mine = 1\n", "fairseq/io.py": LOAD})
    assert main(["apply", str(root)]) == 0
    assert (root / "fairseq/_modern.py").read_text() == "mine = 1\n"
    assert "from fairseq._fairseq_modern import safe_load" in (root / "fairseq/io.py").read_text()
    assert main(["check", str(root)]) == 0


def test_the_package_may_be_renamed_or_be_the_path_itself_or_come_twice(make_tree: MakeTree) -> None:
    shape = {f"{name}.py": "" for name in ("__init__", "trainer", "checkpoint_utils", "options", "registry")}
    files = {f"vendor/myseq/{name}": text for name, text in shape.items()}
    files.update({"vendor/myseq/tasks/__init__.py": "", "other/fairseq/__init__.py": "", "vendor/myseq/x.py": LOAD})
    root = make_tree(files)
    report = examine(root, select([], [], {}))
    assert [package.folder for package in report.packages] == ["other/fairseq", "vendor/myseq"]
    assert main(["apply", str(root)]) == 0
    assert "from myseq._modern import safe_load" in (root / "vendor/myseq/x.py").read_text()
    assert main(["revert", str(root)]) == 0
    assert main(["apply", str(root / "vendor/myseq")]) == 0
    assert "from myseq._modern import safe_load" in (root / "vendor/myseq/x.py").read_text()


def test_a_plugin_is_judged_by_classes_of_other_files(make_tree: MakeTree) -> None:
    root = make_tree(
        {
            "shapes.py": CONFIG + "\n\n@dataclass(frozen=True)\nclass Fixed:\n    a: int = 1\n\n\nDEFAULT = Inner()\n"
            "KIND = ChoiceEnum(['a'])\n",
            "use.py": "import dataclasses\nimport shapes\nfrom shapes import DEFAULT, KIND, Fixed\n\n\n"
            "@dataclasses.dataclass\n"
            "class Use:\n    a: shapes.Inner = shapes.Inner()\n    b: Fixed = Fixed()\n    c: object = DEFAULT\n"
            "    d: object = shapes.DEFAULT\n    e: KIND = KIND('a')\n",
        }
    )
    assert main(["apply", str(root), "--only", "dataclass-mutable-default"]) == 0
    body = (root / "use.py").read_text().split("class Use:\n")[1]
    assert body == (
        "    a: shapes.Inner = dataclasses.field(default_factory=shapes.Inner)\n    b: Fixed = Fixed()\n"
        "    c: object = dataclasses.field(default_factory=lambda: DEFAULT)\n"
        "    d: object = dataclasses.field(default_factory=lambda: shapes.DEFAULT)\n    e: KIND = KIND('a')\n"
    )


def test_names_of_the_class_body_reach_the_factory(make_tree: MakeTree) -> None:
    program = (
        "from dataclasses import dataclass\n\n\n@dataclass\nclass Inner:\n    a: int = 1\n\n\n"
        "@dataclass\nclass Outer:\n    size: int = 3\n    inner: Inner = Inner(size)\n"
    )
    root = make_tree({"m.py": program})
    assert main(["apply", str(root)]) == 0
    assert runpy.run_path(str(root / "m.py"))["Outer"]().inner.a == 3


def test_links_are_not_followed(make_tree: MakeTree, tmp_path: Path) -> None:
    root = make_tree({"a.py": "x = 1\n"})
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "b.py").write_text(NUMPY)
    (root / "linked").symlink_to(outside)
    (root / "c.py").symlink_to(outside / "b.py")
    assert main(["apply", str(root)]) == 0
    assert (outside / "b.py").read_text() == NUMPY and (root / "c.py").is_symlink()


def test_a_record_that_is_a_link_or_points_outside_is_refused(tree: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tree / ".fairseq-patch").symlink_to(elsewhere)
    assert main(["apply", str(tree)]) == 1
    assert list(elsewhere.iterdir()) == []
    (tree / ".fairseq-patch").unlink()
    (tree / ".fairseq-patch").mkdir()
    victim = tmp_path / "victim"
    victim.write_text("safe")
    for path in ("../victim", str(victim), "a/../../victim"):
        entry = {"original": None, "written": "x" * 64, "mode": 420}
        (tree / ".fairseq-patch/manifest.json").write_text(json.dumps({"version": 1, "files": {path: entry}}))
        assert main(["revert", str(tree)]) == 1
    assert victim.read_text() == "safe"


def test_a_failed_write_leaves_the_file_whole(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = snapshot(tree)
    real = os.replace

    def failing(source: Any, target: Any) -> None:
        if str(target).endswith("numbers.py"):
            raise OSError("disk full")
        real(source, target)

    monkeypatch.setattr(os, "replace", failing)
    assert main(["apply", str(tree)]) == 1
    monkeypatch.undo()
    assert (tree / "fairseq/data/numbers.py").read_text() == NUMPY
    assert not list(tree.rglob(".fairseq-patch-*"))
    assert main(["revert", str(tree)]) == 0
    assert snapshot(tree) == before


@pytest.mark.parametrize(
    "name, content",
    [
        ("python2.py", b"print 'np.float'\n"),
        ("template.py", b"import {{ module }}\nx = np.float\n"),
        ("nul.py", b"import numpy as np\0\nx = np.float\n"),
        ("unknown.py", b"# -*- coding: klingon -*-\nimport numpy as np\nx = np.float(1)\n"),
        ("wrong.py", b"# -*- coding: ascii -*-\nimport numpy as np\nx = np.float(1)  # \xe9\n"),
    ],
)
def test_a_file_that_does_not_parse_is_reported_and_left_alone(
    name: str, content: bytes, make_tree: MakeTree, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_tree({name: content, "good.py": NUMPY})
    assert main(["apply", str(root)]) == 0
    assert f"{name}: left alone" in capsys.readouterr().out
    assert (root / name).read_bytes() == content
    assert "float(1)" in (root / "good.py").read_text()


@pytest.mark.parametrize(
    "lead, line",
    [
        (b"# -*- coding: latin-1 -*-\n", b"# caf\xe9\n"),
        (b"# coding: cp1252\n", b"s = '\x80'\n"),
        (b"# coding: euc-jp\n", b"s = '\xa4\xa2'\n"),
        (b"\xef\xbb\xbf", "# Größe\n".encode()),
        (b"", b"# undeclared caf\xe9\n"),
    ],
)
def test_bytes_outside_ascii_survive(lead: bytes, line: bytes, make_tree: MakeTree) -> None:
    root = make_tree({"m.py": lead + line + NUMPY.encode().replace(b"\n", b"\r\n")})
    assert main(["apply", str(root)]) == 0
    assert (root / "m.py").read_bytes() == lead + line + b"import numpy as np\r\nx = float(1)\r\n"


def test_scripts_without_a_suffix_are_patched_and_virtual_environments_are_not(make_tree: MakeTree) -> None:
    root = make_tree(
        {"run": "#!/usr/bin/env python3\n" + NUMPY, "venv/pyvenv.cfg": "", "venv/lib/x.py": NUMPY, "data": NUMPY}
    )
    assert main(["apply", str(root)]) == 0
    assert "float(1)" in (root / "run").read_text() and "np.float" not in (root / "run").read_text()
    assert (root / "venv/lib/x.py").read_text() == NUMPY and (root / "data").read_text() == NUMPY


def test_one_file_can_be_given(tree: Path) -> None:
    assert main(["apply", str(tree / "fairseq/data/numbers.py")]) == 0
    assert "np.float" not in (tree / "fairseq/data/numbers.py").read_text()
    assert (tree / "fairseq/checkpoint_utils.py").read_text() == LOAD


def test_only_skip_and_target_choose(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tree), "--only", "numpy-aliases", "--json"]) == 1
    assert {item["patch"] for item in json.loads(capsys.readouterr().out)["findings"]} == {"numpy-aliases"}
    assert main(["check", str(tree), "--skip", "numpy-aliases,torch-load", "--json"]) == 1
    assert not {"numpy-aliases", "torch-load"} & {f["patch"] for f in json.loads(capsys.readouterr().out)["findings"]}
    assert main(["check", str(tree), "--target", "python=3.10,torch=2.5,numpy=1.23,pip=23", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["findings"] == []
    for wrong in (["--only", "nonsense"], ["--target", "perl=5"], ["--target", "python"]):
        assert main(["check", str(tree), *wrong]) == 2


def test_diffs_are_printed(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["check", str(tree), "--diff", "--only", "numpy-aliases"])
    out = capsys.readouterr().out
    assert "--- a/fairseq/data/numbers.py" in out and "-x = np.float(1)\n+x = float(1)\n" in out
    main(["apply", str(tree), "--diff", "--json", "--only", "numpy-aliases"])
    report = json.loads(capsys.readouterr().out)
    assert (
        report["changed"] == ["fairseq/data/numbers.py"]
        and "+x = float(1)" in report["diffs"]["fairseq/data/numbers.py"]
    )


def test_what_cannot_be_rewritten_is_reported_with_its_line(
    make_tree: MakeTree, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_tree(
        {"m.py": "from torch import *\n\nx = load('a.pt')\n", "n.py": "import imp\nimp.find_module('x')\n"}
    )
    assert main(["check", str(root)]) == 0
    out = capsys.readouterr().out
    assert "m.py:3: [torch-load] by hand" in out and "n.py:2: [imp-module] by hand" in out


def test_many_files_go_through_several_processes(make_tree: MakeTree) -> None:
    filler = "def f(a, b):\n    return a + b\n\n\n" * 900
    root = make_tree({f"m{index}.py": filler + NUMPY for index in range(20)})
    report = examine(root, select([], [], {}), jobs=2)
    assert len(report.changed) == 20 and not report.problems


def test_an_installed_copy_is_patched_through_its_python(make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_tree({"fairseq/__init__.py": "", "fairseq/n.py": NUMPY, "numpy_user.py": NUMPY})
    monkeypatch.setenv("PYTHONPATH", str(root))
    assert main(["apply", "--installed", "--python", sys.executable]) == 0
    assert "float(1)" in (root / "fairseq/n.py").read_text() and "np.float" not in (root / "fairseq/n.py").read_text()
    assert (root / "numpy_user.py").read_text() == NUMPY
    assert main(["revert", "--installed", "--python", sys.executable]) == 0
    assert (root / "fairseq/n.py").read_text() == NUMPY


def test_missing_paths_are_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path / "nowhere")]) == 2
    assert "no such file or folder" in capsys.readouterr().err
    assert main(["check"]) == 2
