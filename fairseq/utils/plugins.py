"""``--user-dir``: import a folder of user code, so that its decorators register models, tasks and the rest.

The folder may be a package (with ``__init__.py``), a plain folder of modules, or one file. A relative path is looked
for in the working directory, then in the installed ``fairseq`` package, then beside it (the repository's root); the
plugins that ship with the project are also found by their bare name.

Worker processes need nothing special: the folder's parent stays on ``sys.path``, which ``multiprocessing`` hands on,
so unpickling an object of the plugin imports the plugin.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
import traceback
from types import ModuleType
from typing import Any

__all__ = ["find_user_dir", "import_user_module", "user_dirs"]

logger = logging.getLogger(__name__)

# Absolute paths imported so far, in order. Kept also as `import_user_module.memo`, where old code looks for it.
_imported: dict[str, None] = {}


def user_dirs() -> list[str]:
    """The plugin folders imported in this process."""
    return list(_imported)


def import_user_module(args: Any) -> None:
    """Import the plugin that ``args.user_dir`` names; nothing happens without one, or the second time.

    Args:
        args: anything with a ``user_dir`` attribute (namespace, config section).

    Raises:
        FileNotFoundError: there is no such folder; the message lists where it was looked for.
        ImportError: another module has the folder's name, or the plugin's code failed (with its file, line and cause).
    """
    given = getattr(args, "user_dir", None)
    if not given:
        return
    path = find_user_dir(str(given))
    if path in _imported:
        return
    parent, filename = os.path.split(path)
    name = filename.removesuffix(".py")
    if name in sys.modules:
        if not _is_loaded_from(sys.modules[name], path):
            raise ImportError(
                # The sentence is part of the contract; tools look for it.
                f"Failed to import --user-dir={path} because the corresponding module name ({name}) is not globally "
                "unique. Please rename the directory to something unique and try again."
            )
        logger.info("--user-dir=%s has already been imported.", path)
        # In a started process, unpickling may have imported one module of the plugin and not the others.
        _run(path, name, set(sys.modules))
    else:
        _import_plugin(path, parent, name)
    _imported[path] = None


import_user_module.memo = _imported  # type: ignore[attr-defined]


def find_user_dir(given: str) -> str:
    """The absolute path of a plugin (module docstring for where it is looked for).

    Raises:
        FileNotFoundError: nowhere.
    """
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    root = os.path.dirname(package)
    relative = os.path.expanduser(given)
    places = [os.path.abspath(relative)]
    if not os.path.isabs(relative):
        shipped = os.path.relpath(relative, "plugins") if relative.startswith("plugins" + os.sep) else relative
        places += [
            os.path.join(package, relative),
            os.path.join(root, relative),
            os.path.join(root, "plugins", shipped),
            os.path.join(root, "fairseq_plugins", shipped),
        ]
    for place in places:
        place = os.path.normpath(place)
        if os.path.isdir(place) or (place.endswith(".py") and os.path.isfile(place)):
            return place
    looked = ", ".join(dict.fromkeys(map(os.path.normpath, places)))
    raise FileNotFoundError(f"--user-dir {given}: no such folder. Looked for: {looked}")


def _is_loaded_from(module: ModuleType, path: str) -> bool:
    """Whether a loaded module is the plugin at ``path`` (symbolic links resolved)."""
    homes = [str(home) for home in getattr(module, "__path__", None) or []]
    file = getattr(module, "__file__", None)
    if file:
        homes += [file, os.path.dirname(file)] if os.path.basename(file) == "__init__.py" else [file]
    wanted = os.path.realpath(path)
    return any(os.path.realpath(home) == wanted for home in homes)


def _import_plugin(path: str, parent: str, name: str) -> None:
    if "." in name:
        raise ImportError(f"--user-dir={path}: a plugin folder is a Python module, its name cannot hold a dot")
    known = set(sys.modules)
    sys.path.insert(0, parent)
    importlib.invalidate_caches()
    try:
        _run(path, name, known)
    except ImportError:
        sys.path.remove(parent)
        raise


def _run(path: str, name: str, known: set[str]) -> None:
    """Import the plugin's modules; on failure, forget those that are not among the ``known`` ones."""
    try:
        module = importlib.import_module(name)
        if not _is_loaded_from(module, path):
            raise ImportError(f"Python found another module called {name}, at {getattr(module, '__file__', None)}")
        if os.path.isdir(path):
            for child in _modules_to_import(path, name):
                importlib.import_module(child)
    except Exception as error:
        # A half-imported plugin must not look like an imported one to the next attempt.
        for loaded in set(sys.modules) - known:
            if loaded == name or loaded.startswith(name + "."):
                del sys.modules[loaded]
        raise ImportError(_explain(path, error)) from error


def _modules_to_import(path: str, name: str) -> list[str]:
    """Modules of ``tasks/`` and ``models/``; of a folder without ``__init__.py`` also its own."""
    found = []
    if not os.path.isfile(os.path.join(path, "__init__.py")):
        found += [f"{name}.{child}" for child in _children(path) if os.path.isfile(os.path.join(path, child + ".py"))]
    for sub in ("tasks", "models"):
        folder = os.path.join(path, sub)
        if os.path.isdir(folder):
            found += [f"{name}.{sub}.{child}" for child in _children(folder)]
    return found


def _children(folder: str) -> list[str]:
    """Modules and packages in a folder, sorted; private ones, tests and scripts that are no identifiers left out."""
    names = set()
    for entry in os.listdir(folder):
        stem, extension = os.path.splitext(entry)
        is_module = extension == ".py"
        is_package = not extension and os.path.isfile(os.path.join(folder, entry, "__init__.py"))
        if (is_module or is_package) and not stem.startswith("_") and stem.isidentifier():
            names.add(stem)
    return sorted(names)


def _explain(path: str, error: BaseException) -> str:
    """``plugin, file:line, cause`` in one line."""
    if isinstance(error, SyntaxError) and error.filename:
        place = f"{error.filename}:{error.lineno}"
    else:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if os.path.abspath(frame.filename).startswith(path)]
        place = f"{own[-1].filename}:{own[-1].lineno}" if own else path
    cause = f"{type(error).__name__}: {error}".strip().replace("\n", " ")
    return f"The plugin --user-dir={path} could not be imported. {place}: {cause}"
