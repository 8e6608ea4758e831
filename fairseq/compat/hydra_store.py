"""Hydra's config store knows our groups after ``import fairseq``.

Who needs it: programs and notebooks that do ``import fairseq`` and then ``hydra.compose``, ``hydra.initialize``,
``hydra.main`` or ``ConfigStore.instance()``, because upstream fills the store while it is imported. Filling means
importing every family of models and tasks, and Hydra itself; ``import fairseq`` is to do neither. So this only waits:
when Hydra's store module is imported, names are put into it, and a name's config class is imported when Hydra reads it
(``fairseq.dataclass.config_store``).
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any

__all__ = ["fill_when_hydra_is_imported"]

STORE = "hydra.core.config_store"


class _Watch:
    """A finder that finds nothing itself: it sees to it that the store is filled right after its module has run."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != STORE:
            return None
        sys.meta_path.remove(self)  # type: ignore[arg-type] # a finder by duck typing
        spec = importlib.util.find_spec(name)
        loader: Any = None if spec is None else spec.loader
        if loader is None:
            return spec
        run = loader.exec_module

        def run_and_fill(module: Any) -> None:
            del loader.exec_module
            run(module)
            _fill()

        loader.exec_module = run_and_fill
        return spec


def fill_when_hydra_is_imported() -> None:
    """Fill the store: now if Hydra is there, else as soon as it is."""
    if STORE in sys.modules:
        _fill()
    elif not any(type(finder).__name__ == _Watch.__name__ for finder in sys.meta_path):
        sys.meta_path.insert(0, _Watch())  # type: ignore[arg-type]


def _fill() -> None:
    importlib.import_module("fairseq.dataclass.config_store").fill()
