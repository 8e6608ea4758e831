"""Imports that a patch adds stand before their first use, whatever shares a line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict

import pytest

from fairseq_patches.cli import main

MakeTree = Callable[[Dict[str, Any]], Path]
TORCH = "def load(path, **kwargs):\n    return path\n"
PROGRAMS = [
    'import torch; x = torch.load("a")',
    'import torch; x = torch.load("a")\n',
    '"""Text."""; import torch; x = torch.load("a")\nassert __doc__ == "Text."\n',
    'from __future__ import annotations; import torch; x = torch.load("a")\n',
    '"""Text."""\nfrom __future__ import annotations; import torch as t; x = t.load("a")  # last\n',
    'from torch import load; x = load("a"); y = 1\n',
    'import sys; sys.path.insert(0, "lib"); import fairseq; import torch; x = torch.load("a")\n',
    'import torch\nx = torch.load("a")\nimport sys\nsys.path.insert(0, "lib")\nimport fairseq\n',
    'import torch\nclass A:\n    x = torch.load("a")\nx = A.x\n',
    'import torch\nif True: x = torch.load("a")\n',
    'import sys; sys.path.insert(0, "lib")\nimport torch\nfrom fairseq import one; x = torch.load("a")\n',
    'import torch\ndef f(x=torch.load("a")):\n    return x\nx = f()\nimport sys\n',
    'import torch\nf = lambda: torch.load("a")\nimport sys; sys.path.insert(0, "lib"); import fairseq\nx = f()\n',
]


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_helper_is_imported_before_it_is_used(program: str, ends: str, make_tree: MakeTree) -> None:
    root = make_tree({"module.py": program.replace("\n", ends).encode()})
    if "lib" in program:
        (root / "lib/fairseq").mkdir(parents=True)
        (root / "lib/fairseq/__init__.py").write_text("one = 1\n")
    assert main(["apply", str(root)]) == 0
    text = (root / "module.py").read_bytes()
    if ends in program.replace("\n", ends):
        assert text.count(b"\n") == text.count(ends.encode())
    (root / "torch.py").write_text(TORCH)
    environment = {"PYTHONPATH": str(root / "lib")} if program.startswith("import torch\nx") else {}
    done = subprocess.run(
        [sys.executable, "-c", "import module; assert module.x == 'a'"],
        cwd=root, capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + text.decode()
    assert main(["check", str(root), "--only", "torch-load"]) == 0


def test_names_of_import_star_are_found(make_tree: MakeTree, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_tree(
        {
            "one.py": "from numpy import *\nx = float_(1) + product([1, 2]) + float(Inf)\n",
            "two.py": "from numpy import *\nfrom torch import *\nx = float_(1)\n",
            "own.py": "from numpy import *\n\n\ndef product(a):\n    return a\n\n\nx = product(float(1))\n",
        }
    )
    assert main(["apply", str(root)]) == 0
    assert (root / "one.py").read_text() == "from numpy import *\nx = float64(1) + prod([1, 2]) + float(inf)\n"
    assert "two.py:3: [numpy-2-names] by hand" in capsys.readouterr().out
    assert "x = product(float(1))" in (root / "own.py").read_text()


def test_an_imported_name_that_numpy_dropped_is_imported_under_its_new_one(make_tree: MakeTree) -> None:
    pytest.importorskip("numpy")
    root = make_tree({"m.py": "from numpy import float_, Inf as far, sum\nx = float_(1) + sum([far])\n"})
    assert main(["apply", str(root)]) == 0
    done = subprocess.run([sys.executable, "m.py"], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
