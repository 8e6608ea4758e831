"""Trees of the years of Hydra 1.0: their configurations compose again, and what strict=False allowed still works."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict

import pytest

from fairseq_patches.cli import main

MakeTree = Callable[[Dict[str, Any]], Path]
pytest.importorskip("hydra")

# A schema as fairseq registers it, and a run that chooses a task whose fields the configuration does not know.
PROGRAM = """\
from dataclasses import dataclass, field
from typing import Any, Optional

from hydra.core.config_store import ConfigStore
from hydra.experimental import compose, initialize
from omegaconf import OmegaConf


@dataclass
class Task:
    _name: str = "translation"
    data: str = "nowhere"


@dataclass
class Config:
    task: Any = None
    model: Any = None
    seed: int = 1


store = ConfigStore.instance()
store.store(name="config", node=Config)
store.store(group="task", name="translation", node=Task, provider="fairseq")


def settings(overrides):
    with initialize(config_path="{folder}"):
        cfg = compose("config", overrides=overrides, strict=False)
    return cfg


cfg = settings(["task=translation", "task._name=translation", "task.data=here"])
assert cfg.task.data == "here" and cfg.seed == 5, cfg
cfg["simul_type"] = None
assert "simul_type" in cfg
print("composed")
"""
LISTS = {
    "a comment and four blanks": "# @package _group_\n\ndefaults:  # groups\n    # first\n    - task: null\n"
    "    - model: null   # second\n\nseed: 5\n",
    "no indent": "defaults:\n- task: null\n- model: null\nseed: 5\n",
    "in one line": "defaults: [ {task: null}, {model: null} ]\nseed: 5\n",
    "over several lines": "seed: 5\ndefaults: [\n  {task: null},\n  {model: null},\n]\n",
    "quoted, no line end": "seed: 5\n'defaults':\n  - 'task': null\n  - \"model\": null",
    "options that lie beside": "seed: 5\ndefaults:\n  - model: null\n    optional: true\n  - task: ~\n",
}


def run(folder: Path, *names: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, *names], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("folder", ["config", "recipes/my_conf"])
@pytest.mark.parametrize("name", LISTS)
def test_a_fork_s_configuration_composes_again(name: str, folder: str, make_tree: MakeTree) -> None:
    text = LISTS[name]
    root = make_tree({"run.py": PROGRAM.replace("{folder}", folder), f"{folder}/config.yaml": text})
    (root / folder / "task").mkdir()
    (root / folder / "model").mkdir()
    before = run(root, "-W", "ignore", "run.py")
    assert before.returncode != 0
    assert main(["apply", str(root)]) == 0
    done = run(root, "-W", "ignore", "run.py")
    assert done.stdout == "composed\n", done.stderr
    new = (root / folder / "config.yaml").read_text()
    assert main(["check", str(root)]) == 0
    if "[" in text:
        assert new.replace("_self_, ", "").replace("_self_,", "") == text
    else:
        added = [line for line in new.splitlines() if "_self_" in line]
        assert len(added) == 1 and added[0].lstrip() == "- _self_"
        assert "".join(line for line in new.splitlines(keepends=True) if "_self_" not in line) == text
    assert main(["revert", str(root)]) == 0
    assert (root / folder / "config.yaml").read_text() == text


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_ends_and_marks_of_a_configuration_stay(mark: bytes, make_tree: MakeTree) -> None:
    text = mark + "# @package _group_\r\n# Größe\r\ndefaults:\r\n  - task: null\r\nx: 1".encode()
    root = make_tree({"conf/a.yml": text})
    assert main(["apply", str(root)]) == 0
    assert (root / "conf/a.yml").read_bytes() == text.replace(b"defaults:\r\n", b"defaults:\r\n  - _self_\r\n")


def test_only_configurations_that_a_run_starts_from_get_it(make_tree: MakeTree) -> None:
    listed = "defaults:\n  - task: null\n  - base\n  - model: big\n"
    files = {
        "fairseq/__init__.py": "import hydra\n",
        "conf/config.yaml": listed,
        "conf/base.yaml": "hydra: {}\ndefaults:\n  - optimizer: adam\n",
        "conf/model/big.yaml": "# @package _group_\ndefaults:\n  - criterion: x\n",
        "conf/other/small.yaml": "# @package _group_\ndefaults:\n  - criterion: x\n",
        "shapes.yaml": "defaults:\n  - circle: red\n",
        ".github/workflows/test.yml": "defaults:\n  run:\n    shell: bash\n",
        "environment.yml": "channels:\n  - defaults\n",
        "two.yaml": "# @package _group_\na: 1\n---\ndefaults:\n  - task: null\n",
        "broken.yaml": "defaults:\n  - task: null\n - model: null\n",
        "data.yaml": b"\0defaults:\n  - task: null\n",
    }
    root = make_tree(files)
    assert main(["apply", str(root)]) == 0
    changed = {
        name
        for name, text in files.items()
        if (root / name).read_bytes() != (text if isinstance(text, bytes) else text.encode())
    }
    assert changed == {"conf/config.yaml", "conf/other/small.yaml"}


COMPOSED = {
    "x = compose('c', strict=False)\n": "x",
    "x: object = compose('c', strict=False)\n": "x",
    "class A:\n    pass\nA.x = compose('c', strict=False)\nx = A.x\n": "x",
    "def f():\n    return compose('c', strict=False)\nx = f()\n": "x",
    "def same(a, b=0):\n    return a\nx = same(compose('c', strict=False), b=1)\n": "x",
    "x = y = compose(\n    'c',\n    strict=False,\n)\n": "x",
    "x = (compose('c', strict=False))\n": "x",
    "if True: x = compose('c', strict=False)\n": "x",
    "with_struct = 1\nx = [compose(config_name='c', strict=not with_struct)][0]\n": "x",
    "from functools import reduce; x = compose('c', strict=False); y = 1\n": "x",
}
IMPORTS = {
    "from hydra.experimental import compose": "compose",
    "from hydra.experimental import compose as make_config": "make_config",
    "import hydra": "hydra.compose",
    "import hydra.experimental as he": "he.compose",
    "try:\n    from hydra import compose\nexcept ImportError:\n    from hydra.experimental import compose": "compose",
    "from hydra import *": "compose",
}
FAKE = """\
class _Cfg(dict):
    struct = True


def compose(config_name=None, overrides=[], return_hydra_config=False):
    return _Cfg()
"""
FAKE_OMEGACONF = "class OmegaConf:\n    @staticmethod\n    def set_struct(cfg, flag):\n        cfg.struct = flag\n"


@pytest.mark.parametrize("how", IMPORTS)
@pytest.mark.parametrize("use", COMPOSED)
def test_a_result_of_compose_is_open_wherever_it_goes(how: str, use: str, make_tree: MakeTree) -> None:
    program = f"{how}\n{use.replace('compose(', IMPORTS[how] + '(')}\nstate = {COMPOSED[use]}.struct\n"
    root = make_tree({"module.py": program})
    assert main(["apply", str(root)]) == 0
    text = (root / "module.py").read_text()
    assert "strict" not in text and main(["check", str(root)]) == 0
    stub = {"hydra/__init__.py": FAKE, "omegaconf.py": FAKE_OMEGACONF, "hydra/experimental/__init__.py": FAKE}
    for name, content in stub.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    done = run(root, "-c", "import json, module; print(json.dumps(module.state))")
    assert done.returncode == 0 and json.loads(done.stdout) is False, done.stderr + text


def test_a_third_argument_was_strict_in_hydra_experimental_only(make_tree: MakeTree) -> None:
    root = make_tree(
        {
            "old.py": "from hydra.experimental import compose\nx = compose('c', [], False)\n",
            "new.py": "from hydra import compose\nx = compose('c', [], False)\n",
        }
    )
    assert main(["apply", str(root)]) == 0
    assert "x = compose('c', [])\nOmegaConf.set_struct(x, False)\n" in (root / "old.py").read_text()
    assert (root / "new.py").read_text().endswith("x = compose('c', [], False)\n")
