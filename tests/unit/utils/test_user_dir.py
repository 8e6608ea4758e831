"""``--user-dir``: where it is looked for, what is imported, and how trouble is told."""

from __future__ import annotations

import importlib
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pytest

from fairseq import utils
from fairseq.utils import plugins


@pytest.fixture(autouse=True)
def clean_modules() -> Iterator[None]:
    modules, path, memo = set(sys.modules), list(sys.path), dict(plugins._imported)
    yield
    for name in set(sys.modules) - modules:
        if name.startswith("plug_"):
            del sys.modules[name]
    sys.path[:] = path
    plugins._imported.clear()
    plugins._imported.update(memo)


def make(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def load(path: object) -> None:
    utils.import_user_module(Namespace(user_dir=str(path)))


def test_a_package_is_imported_with_its_tasks_and_models(tmp_path: Path) -> None:
    files = {"__init__.py": "", "tasks/a.py": "X = 1", "models/b/__init__.py": "Y = 2", "other.py": "1 / 0"}
    load(make(tmp_path / "plug_one", files))
    assert sys.modules["plug_one.tasks.a"].X == 1 and sys.modules["plug_one.models.b"].Y == 2
    assert "plug_one.other" not in sys.modules


def test_a_plain_folder_has_all_its_modules_imported(tmp_path: Path) -> None:
    load(make(tmp_path / "plug_two", {"a.py": "X = 1", "b.py": "X = 2", "_c.py": "1 / 0"}))
    assert sys.modules["plug_two.b"].X == 2


def test_a_second_import_does_nothing_and_nothing_given_is_fine(tmp_path: Path) -> None:
    folder = make(tmp_path / "plug_three", {"__init__.py": "import builtins\nbuiltins.plug_three_count = 1"})
    load(folder)
    (folder / "__init__.py").write_text("1 / 0", encoding="utf-8")
    load(folder)
    utils.import_user_module(Namespace(user_dir=None))
    utils.import_user_module(Namespace())
    assert str(folder) in plugins.user_dirs()


def test_a_plugin_of_which_one_module_is_loaded_is_imported_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path / "plug_eight", {"__init__.py": "", "models/a.py": "", "models/b.py": "X = 1"})
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("plug_eight.models.a")
    load(folder)
    assert sys.modules["plug_eight.models.b"].X == 1


def test_relative_folders_are_found_here_and_beside_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    make(tmp_path / "plug_four", {"__init__.py": ""})
    monkeypatch.chdir(tmp_path)
    assert plugins.find_user_dir("plug_four") == str(tmp_path / "plug_four")
    assert plugins.find_user_dir("plugins/tutorial_lstm") == str(repository / "plugins" / "tutorial_lstm")
    assert plugins.find_user_dir("tutorial_lstm") == str(repository / "plugins" / "tutorial_lstm")


def test_a_missing_folder_is_an_error_that_lists_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder. Looked for: .*plug_none"):
        load(tmp_path / "plug_none")


def test_a_name_taken_by_another_module_is_explained(tmp_path: Path) -> None:
    load(make(tmp_path / "a" / "plug_five", {"__init__.py": ""}))
    with pytest.raises(ImportError, match=r"module name \(plug_five\) is not globally unique"):
        load(make(tmp_path / "b" / "plug_five", {"__init__.py": ""}))
    with pytest.raises(ImportError, match=r"\(json\) is not globally unique"):
        load(make(tmp_path / "json", {"__init__.py": ""}))


@pytest.mark.parametrize(
    ("text", "line", "cause"),
    [
        ("import os\nraise KeyError('arch')\n", 2, "KeyError: 'arch'"),
        ("x = (\n", 1, "SyntaxError"),
        ("\n\nimport no_such_module_anywhere\n", 3, "ModuleNotFoundError: No module named 'no_such_module_anywhere'"),
    ],
)
def test_a_broken_plugin_is_one_error_with_file_line_and_cause(
    tmp_path: Path, text: str, line: int, cause: str
) -> None:
    folder = make(tmp_path / "plug_six", {"__init__.py": "", "models/broken.py": text})
    with pytest.raises(ImportError) as caught:
        load(folder)
    message = str(caught.value)
    assert f"--user-dir={folder}" in message and f"broken.py:{line}: {cause}" in message and "\n" not in message
    assert "plug_six" not in sys.modules and str(tmp_path) not in sys.path
    (folder / "models" / "broken.py").write_text("", encoding="utf-8")
    load(folder)


def test_objects_of_a_plugin_can_be_unpickled_in_a_started_process(tmp_path: Path) -> None:
    make(tmp_path / "plug_seven", {"thing.py": "class Thing:\n    def __init__(self):\n        self.x = 7\n"})
    script = (
        "from argparse import Namespace\n"
        "import multiprocessing\n"
        "from fairseq import utils\n"
        "from show import show\n"
        "if __name__ == '__main__':\n"
        f"    utils.import_user_module(Namespace(user_dir={str(tmp_path / 'plug_seven')!r}))\n"
        "    from plug_seven.thing import Thing\n"
        "    p = multiprocessing.get_context('spawn').Process(target=show, args=(Thing(),))\n"
        "    p.start(); p.join(); raise SystemExit(p.exitcode)\n"
    )
    make(tmp_path / "run", {"main.py": script, "show.py": "def show(thing):\n    print(thing.x)\n"})
    result = subprocess.run([sys.executable, str(tmp_path / "run" / "main.py")], capture_output=True, text=True)
    assert result.returncode == 0 and result.stdout.strip() == "7", result.stderr
