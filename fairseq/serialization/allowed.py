"""Which classes and functions a checkpoint may mention, and why each is on the list.

``resolve(path)``        the object that stands for a name while one file is loaded, or None
``add_safe_globals``     names that a user or plugin vouches for
``unsafe_load_wanted``   whether the caller asked for unchecked loading

Tensors, storages, dtypes and ``OrderedDict`` are torch's own business (``torch.load(weights_only=True)`` knows them).
Everything here is either a class whose construction cannot run code, or an inert stand-in with the old name.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

__all__ = ["SAFE_ENV", "UNSAFE_ENV", "add_cli_options", "add_safe_globals", "is_known", "resolve", "unsafe_load_wanted"]

SAFE_ENV = "FAIRSEQ_SAFE_GLOBALS"
UNSAFE_ENV = "FAIRSEQ_UNSAFE_LOAD"

# name -> why a checkpoint mentions it; the real class is used, its construction only stores what it is given
_REAL = {
    "argparse.Namespace": "options of runs before 0.10 and of components without a dataclass",
    "builtins.frozenset": "sets of names in task states",
    # torch knows these three by itself since 2.5
    "builtins.set": "sets of names in task states",
    "builtins.complex": "numbers kept by plugins",
    "builtins.bytearray": "texts kept by plugins",
    "builtins.slice": "ranges kept by plugins",
    "builtins.range": "ranges kept by plugins",
    "fairseq.data.dictionary.Dictionary": "task_state of audio tasks",
    "fairseq.data.dictionary.TruncatedDictionary": "task_state of older language models",
    "fairseq.data.legacy.masked_lm_dictionary.MaskedLMDictionary": "task_state of XLM style models",
    "fairseq.data.legacy.masked_lm_dictionary.BertDictionary": "task_state of BERT style models",
}

# name -> why; mentioned as values (element types of OmegaConf nodes, array types), never called
_MARKERS = {
    "typing.Any": "type of OmegaConf nodes",
    "numpy.ndarray": "type given to numpy's _reconstruct",
    **{
        f"builtins.{name}": "element or key type of OmegaConf containers"
        for name in ("object", "str", "int", "float", "bool", "dict", "list", "tuple", "bytes")
    },
}

# name -> why; attributes are kept, the class is not needed
_BAGS = {
    **{
        f"omegaconf.{name}": "configuration saved without conversion (2020-2021)"
        for name in (
            "dictconfig.DictConfig",
            "listconfig.ListConfig",
            "base.ContainerMetadata",
            "base.Metadata",
            "nodes.AnyNode",
            "nodes.StringNode",
            "nodes.IntegerNode",
            "nodes.FloatNode",
            "nodes.BooleanNode",
            "nodes.BytesNode",
            "nodes.PathNode",
            "nodes.EnumNode",
        )
    },
}

_added: dict[str, Any] = {}


def add_safe_globals(names: Iterable[Any] | str | Callable[..., Any]) -> None:
    """Allow checkpoints to contain these classes, for the rest of the process.

    Args:
        names: classes or functions themselves, or their full names (``"package.module.Class"``, imported when a file
            needs them); one or an iterable of several. A string may list several, separated by commas.

    Raises:
        ValueError: a name without a module part.

    A file that names a class can construct it with arguments of its own choice: add only what is harmless with any.
    """
    if isinstance(names, str) or not isinstance(names, Iterable):
        names = [names]
    for item in names:
        if isinstance(item, str):
            for path in filter(None, (part.strip() for part in item.split(","))):
                if "." not in path:
                    raise ValueError(f"--safe-globals {path}: a full name such as package.module.Class is expected")
                _added.setdefault(path, None)
        else:
            _added[f"{item.__module__}.{item.__qualname__}"] = item


def unsafe_load_wanted() -> bool:
    """Whether ``FAIRSEQ_UNSAFE_LOAD`` (set by ``--unsafe-load`` too) asks for unchecked loading."""
    return os.environ.get(UNSAFE_ENV, "").strip().lower() in ("1", "true", "yes", "on")


class _SafeGlobals(argparse.Action):
    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        try:
            add_safe_globals(values)
        except ValueError as error:
            parser.error(str(error))
        # Spawned ranks and data workers are new processes: the environment tells them.
        os.environ[SAFE_ENV] = ",".join(sorted({*_from_environment(), *values.split(",")}))


class _UnsafeLoad(argparse.Action):
    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        os.environ[UNSAFE_ENV] = "1"


def add_cli_options(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """``--safe-globals`` and ``--unsafe-load``. They act when parsed and leave nothing in the namespace: what one run
    trusts is no part of the configuration that its checkpoints carry to others."""
    parser.add_argument(
        "--safe-globals",
        action=_SafeGlobals,
        default=argparse.SUPPRESS,
        metavar="PKG.MOD.CLASS",
        help="let checkpoints contain this class (repeatable, or separated by commas); it may then be constructed "
        "with whatever the file says",
    )
    parser.add_argument(
        "--unsafe-load",
        action=_UnsafeLoad,
        nargs=0,
        default=argparse.SUPPRESS,
        help="load checkpoints unchecked; a hostile file can then run any code",
    )


def resolve(path: str) -> Any | None:
    """What stands for ``path`` while a file is loaded; ``None`` if the name is not known to be safe."""
    from fairseq.serialization import placeholders

    if path in _added or path in _from_environment():
        return _added.get(path) or _import(path)
    if path in _REAL:
        return _import(path)
    if path in _MARKERS:
        return placeholders.marker(path)
    if path == "numpy.dtype":
        return placeholders.named(type("PendingDtype", (placeholders.PendingDtype,), {"path": path}), path)
    functions = placeholders.inert_functions()
    if path in functions:
        return functions[path]
    if path in _BAGS or _is_own_class(path):
        return placeholders.opaque_object(path)
    return _plugin_class(path)


def is_known(path: str) -> bool:
    """Whether ``resolve`` would find something for a name, without importing anything to know it."""
    from fairseq.serialization import placeholders

    return (
        path in _added
        or path in _from_environment()
        or path in _REAL
        or path in _MARKERS
        or path in _BAGS
        or path == "numpy.dtype"
        or path in placeholders.inert_functions()
        or _is_own_class(path)
        or _plugin_class(path) is not None
    )


def _from_environment() -> set[str]:
    return {part.strip() for part in os.environ.get(SAFE_ENV, "").split(",") if part.strip()}


def _import(path: str) -> Any:
    """The object behind a dotted name; nested classes (``module.Outer.Inner``) too."""
    parts = path.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            value: Any = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for name in parts[cut:]:
            value = getattr(value, name, None)
        if value is not None:
            return value
    raise ImportError(f"{path} is allowed in checkpoints but cannot be imported; is its package installed?")


def _is_own_class(path: str) -> bool:
    """Config dataclasses, enums, meters of any fairseq release: kept as attributes, whatever became of the class."""
    return path.startswith("fairseq.") and path.rpartition(".")[2][:1].isupper()


def _plugin_class(path: str) -> Any | None:
    """A class of an imported ``--user-dir`` package: its code runs in this process anyway."""
    plugins = sys.modules.get("fairseq.utils.plugins")
    roots = [Path(root).resolve() for root in plugins.user_dirs()] if plugins is not None else []
    parts = path.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        module = sys.modules.get(".".join(parts[:cut]))
        if module is None:
            continue
        origin = getattr(module, "__file__", None)
        if origin is None or not any(Path(origin).resolve().is_relative_to(root) for root in roots):
            return None
        value: Any = module
        for name in parts[cut:]:
            value = vars(value).get(name)
            if not isinstance(value, type):
                return None
        # An imported class would answer to this name too; only those defined in the plugin count.
        return value if value.__module__ == module.__name__ else None
    return None
