"""What a package says it has, it has."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import fairseq

PACKAGES = ["fairseq", *(info.name for info in pkgutil.walk_packages(fairseq.__path__, "fairseq.") if info.ispkg)]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_that_a_package_lists_can_be_imported(package: str) -> None:
    module = importlib.import_module(package)
    names = set(getattr(module, "__all__", ()))
    lazy = getattr(module, "__getattr__", None)
    lazy = getattr(lazy, "own", lazy)  # below the one that serves the table of compat.names
    for cell in getattr(lazy, "__closure__", None) or ():
        if isinstance(cell.cell_contents, dict):
            names |= set(cell.cell_contents)
    for name in sorted(names):
        assert hasattr(module, name), name
