"""The import hook leaves modules, their loaders and their specs as the usual import makes them."""

from __future__ import annotations

import importlib
import inspect
import pickle
import pkgutil
import shutil
import subprocess
import sys
import zipfile
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import fairseq
from fairseq.compat import hook
from fairseq.compat.names import UPSTREAM_IMPORTS

ROOT = Path(fairseq.__file__).parent
OWN = ("__init__.py", "_lazy.py", "version.py", "compat/__init__.py", "compat/hook.py", "compat/names.py")


def test_a_fresh_process_has_one_hook_however_often_the_package_is_imported() -> None:
    program = (
        "import sys; before = list(sys.meta_path); import fairseq, importlib, fairseq.utils\n"
        "importlib.reload(fairseq)\n"
        "for name in [n for n in sys.modules if n.startswith('fairseq')]: del sys.modules[name]\n"
        "import fairseq.utils, hydra.core.config_store\n"
        "added = [finder for finder in sys.meta_path if finder not in before]\n"
        "assert [type(finder).__name__ for finder in added] == ['CompatFinder'], added\n"
        "assert type(added[0]) is sys.modules['fairseq.compat.hook'].CompatFinder\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_module_keeps_its_own_loader_spec_and_source() -> None:
    from fairseq.data import dictionary

    assert type(dictionary.__loader__) is SourceFileLoader
    assert dictionary.__spec__ is not None and dictionary.__spec__.loader is dictionary.__loader__
    assert "exec_module" not in vars(dictionary.__loader__) and dictionary.__spec__.cached
    assert "class Dictionary" in inspect.getsource(dictionary)


def test_a_reloaded_module_lends_its_names_through_one_function() -> None:
    from fairseq.data import append_token_dataset as module

    logger = module.logger
    for _ in range(3):
        assert importlib.reload(module) is module
    assert vars(module.__getattr__)["own"] is None and module.logger is logger
    assert type(module.__loader__) is SourceFileLoader


def dir_in_a_fresh_process(module: str) -> set[str]:
    program = f"import {module} as module; print(*dir(module))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["fairseq.data.fairseq_dataset", "fairseq.registry", "fairseq.scoring"])
def test_names_that_upstream_imports_are_in_no_dir(module: str) -> None:
    assert not set(UPSTREAM_IMPORTS[module].split()) & dir_in_a_fresh_process(module)


def test_old_names_of_packages_are_in_their_dir() -> None:
    assert {"metrics", "meters", "data"} <= dir_in_a_fresh_process("fairseq")
    assert {"BertDictionary", "masked_lm_dataset", "Dictionary"} <= dir_in_a_fresh_process("fairseq.data")


def test_walking_the_packages_finds_files_only() -> None:
    names = {info.name for info in pkgutil.walk_packages(fairseq.__path__, "fairseq.", onerror=lambda name: None)}
    assert {"fairseq.logging.metrics", "fairseq.data.dictionary", "fairseq.compat.hook"} <= names
    assert "fairseq.metrics" not in names


def test_a_pickle_with_an_old_path_is_read() -> None:
    from fairseq.logging.meters import AverageMeter

    assert pickle.loads(b"cfairseq.meters\nAverageMeter\n.") is AverageMeter
    assert b"fairseq.logging.meters" in pickle.dumps(AverageMeter)


def test_a_module_that_is_run_has_the_usual_namespace(tmp_path: Path) -> None:
    for name in OWN:
        (tmp_path / "fairseq" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / "fairseq" / name)
    (tmp_path / "fairseq/trainer.py").write_text("print(__name__, __spec__.name, '__getattr__' in globals())\n")
    done = subprocess.run([sys.executable, "-m", "fairseq.trainer"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == ["__main__", "fairseq.trainer", "False"], done.stderr


def test_modules_of_a_zip_file_share_a_loader_and_lend_their_own_names(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as file:
        for name in OWN:
            file.write(ROOT / name, f"fairseq/{name}")
        file.writestr("fairseq/utils.py", "HERE = 1\n")
        file.writestr("fairseq/trainer.py", "")
        file.writestr("fairseq/sequence_scorer.py", "")
    program = (
        "import sys; sys.path.insert(0, 'all.zip'); import inspect, zipimport\n"
        "import fairseq.trainer, fairseq.sequence_scorer, fairseq.utils\n"
        "modules = (fairseq.trainer, fairseq.sequence_scorer, fairseq.utils)\n"
        "assert {type(module.__loader__) for module in modules} == {zipimport.zipimporter}\n"
        "assert 'all.zip' in fairseq.utils.__file__ and inspect.getsource(fairseq.utils) == 'HERE = 1\\n'\n"
        "assert fairseq.trainer.utils is fairseq.sequence_scorer.utils is fairseq.utils\n"
        "assert not hasattr(fairseq.utils, 'utils') and not hasattr(fairseq.sequence_scorer, 'metrics')\n"
        "print(*(module.logger.name for module in modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == ["fairseq.trainer", "fairseq.sequence_scorer", "fairseq.utils"], done.stderr


def test_a_finder_behind_the_hook_may_use_one_loader_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    class Frozen:
        """Finder and loader in one, as programs that freeze modules have it."""

        @classmethod
        def find_spec(cls, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
            return ModuleSpec(name, cls, origin="frozen") if name.startswith("fairseq.frozen_") else None  # type: ignore[arg-type]

        @staticmethod
        def create_module(spec: ModuleSpec) -> None: ...

        @staticmethod
        def exec_module(module: ModuleType) -> None:
            module.__dict__["ran"] = True

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Frozen])
    execute = vars(Frozen)["exec_module"]
    for name in ("fairseq.frozen_a", "fairseq.frozen_b"):
        module: Any = importlib.import_module(name)
        monkeypatch.delitem(sys.modules, name)
        assert module.ran and module.logger.name == name and module.__loader__ is Frozen
    assert vars(Frozen)["exec_module"] is execute


def test_other_modules_are_left_to_the_other_finders() -> None:
    finder = next(finder for finder in sys.meta_path if isinstance(finder, hook.CompatFinder))
    for name in ("json", "fairseq", "fairseq_plugin.a", "hydra.core", "fairseq.no_such_module"):
        assert finder.find_spec(name, fairseq.__path__) is None
