"""Makes ``fairseq_patches`` importable from the checkout, where its folder is called ``patches``."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Callable, Dict

import pytest

ROOT = Path(__file__).resolve().parents[2]

if importlib.util.find_spec("fairseq_patches") is None:
    spec = importlib.util.spec_from_file_location(
        "fairseq_patches", ROOT / "patches" / "__init__.py", submodule_search_locations=[str(ROOT / "patches")]
    )
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["fairseq_patches"] = package
    spec.loader.exec_module(package)

# Without LibCST (the extra "patches") nothing here can run.
collect_ignore_glob = [] if importlib.util.find_spec("libcst") else ["test_*.py"]


@pytest.fixture
def make_tree(tmp_path: Path) -> Callable[[Dict[str, "str | bytes"]], Path]:
    """Write files below a fresh folder; returns the folder."""

    def make(files: Dict[str, "str | bytes"]) -> Path:
        root = tmp_path / "tree"
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return root

    return make


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("FAIRSEQ_PATCH_CACHE", str(tmp_path_factory.mktemp("cache")))
