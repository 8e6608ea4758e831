"""The one import hook: it serves the table of ``fairseq.compat.names``, and fills Hydra's config store.

Who needs it:

* Plugins with lines such as ``from fairseq.trainer import metrics``, ``from fairseq.models.lstm import FairseqEncoder``
  or ``import fairseq.meters``. A module of ``fairseq`` or ``fairseq_cli`` gets a ``__getattr__`` after it has run. That
  function fetches a lent name from its home. An old name of a whole module gives the module of today.
* Programs that write ``from fairseq.data.dictionary import logger`` to replace or silence it. A module that logs
  nothing is lent the logger of its name.
* Programs and notebooks that do ``import fairseq`` and then ``hydra.compose``, ``hydra.initialize``, ``hydra.main`` or
  ``ConfigStore.instance()``, because upstream fills the store while it is imported. Filling means importing Hydra, so
  the hook waits until Hydra's store module is imported. A config class is imported when Hydra reads it
  (``fairseq.dataclass.config_store``).

The hook finds no file itself: it asks the finders behind it, so zip files, frozen modules and caches work as they do
without it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from fairseq.compat.names import OLD_NAMES, homes_of, module_alias

__all__ = ["install_hook", "serve_names"]

PREFIXES = ("fairseq.", "fairseq_cli.")
HYDRA_STORE = "hydra.core.config_store"


def serve_names(module: ModuleType) -> None:
    """Give a module the ``__getattr__`` that finds the names it lends; its own ``__getattr__`` comes first.

    ``dir()`` of a module with a ``__dir__`` of its own lists its old names too.
    """
    served = module.__name__
    homes = homes_of(served)
    own: Callable[[str], Any] | None = vars(module).get("__getattr__")
    own = getattr(own, "own", own)  # a reloaded module may still have the one that an earlier call made

    def __getattr__(name: str) -> Any:
        if own is not None:
            try:
                return own(name)
            except AttributeError:
                if name not in homes and name != "logger":
                    raise
        if name in homes:
            value = _fetch(name, homes[name])
        elif name == "logger":
            value = importlib.import_module("logging").getLogger(served)
        else:
            raise AttributeError(f"module {served!r} has no attribute {name!r}")
        # Remember it, so that the next access does not come here again.
        setattr(module, name, value)
        return value

    vars(__getattr__)["own"] = own
    module.__getattr__ = __getattr__  # type: ignore[method-assign] # PEP 562
    own_dir: Callable[[], list[str]] | None = vars(module).get("__dir__")
    if own_dir is not None and served in OLD_NAMES:
        old = homes_of(served, OLD_NAMES)
        module.__dir__ = lambda: sorted({*own_dir(), *old})  # type: ignore[method-assign]


def _fetch(name: str, home: str) -> Any:
    module, colon, attribute = home.partition(":")
    found = importlib.import_module(module)
    return getattr(found, attribute or name) if colon else found


def _fill_config_store(_: ModuleType) -> None:
    importlib.import_module("fairseq.dataclass.config_store").fill()


class _AliasLoader:
    """Loads an old name of a module: the module of today takes its place in ``sys.modules``."""

    def __init__(self, home: str) -> None:
        self.home = home

    def create_module(self, spec: ModuleSpec) -> None:
        """The import system makes an empty module, which ``exec_module`` replaces."""

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = importlib.import_module(self.home)


class _LoaderWithFollowUp:
    """Runs a module with its own loader, then calls ``follow_up(module)``.

    The spec and the module have their own loader again before the module runs: tools look at its class, and a loader of
    a zip file or of frozen modules is shared by many modules, so it must not be changed.
    """

    def __init__(self, loader: Any, follow_up: Callable[[ModuleType], None]) -> None:
        self.loader = loader
        self.follow_up = follow_up

    def __getattr__(self, name: str) -> Any:
        if name == "loader":  # not set yet, while a copy is made
            raise AttributeError(name)
        return getattr(self.loader, name)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        module.__loader__ = self.loader
        self.loader.exec_module(module)
        self.follow_up(module)


class CompatFinder:
    """A finder in front of all others, for this package's modules and Hydra's config store."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if not name.startswith(PREFIXES) and name != HYDRA_STORE:
            return None
        home = module_alias(name)
        if home is not None:
            return ModuleSpec(name, _AliasLoader(home), origin=home)  # type: ignore[arg-type] # by duck typing
        spec = self._spec_of_the_others(name, path, target)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            follow_up = _fill_config_store if name == HYDRA_STORE else serve_names
            spec.loader = _LoaderWithFollowUp(spec.loader, follow_up)  # type: ignore[assignment] # by duck typing
        return spec

    def _spec_of_the_others(self, name: str, path: Any, target: Any) -> ModuleSpec | None:
        """What the finders behind this one find. Those in front of it have been asked before."""
        finders: list[Any] = list(sys.meta_path)
        behind = finders[finders.index(self) + 1 :] if self in finders else finders
        for finder in behind:
            find_spec = getattr(finder, "find_spec", None)
            spec = None if find_spec is None else find_spec(name, path, target)
            if spec is not None:
                return spec
        return None


def install_hook(package: str) -> None:
    """Put the hook into ``sys.meta_path``, and serve the package that is imported already.

    A hook that an earlier import of this package left in ``sys.meta_path`` is replaced.
    """
    finder: Any = CompatFinder()
    for index, other in enumerate(sys.meta_path):
        if type(other).__name__ == CompatFinder.__name__ and type(other).__module__ == __name__:
            sys.meta_path[index] = finder
            break
    else:
        sys.meta_path.insert(0, finder)
    if HYDRA_STORE in sys.modules:
        _fill_config_store(sys.modules[HYDRA_STORE])
    serve_names(sys.modules[package])
