"""Name -> class tables whose built-in entries are imported when they are first asked for.

``LazyRegistry``    a ``dict`` that knows names from ``fairseq._index`` and imports a module to answer ``table[name]``
``setup_registry``  one ``--option`` with its builder, its decorator and its two tables (criterion, optimizer, ...)
``REGISTRIES``      all tables made by ``setup_registry``, by name; the built-in ones appear without being imported

Plugins register eagerly, by decorator, in the same tables.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from typing import Any, TypedDict

from fairseq import _index

__all__ = ["REGISTRIES", "LazyRegistry", "setup_registry"]

logger = logging.getLogger(__name__)


class LazyRegistry(dict[str, Any]):
    """A ``dict`` whose keys may be known before their values are imported.

    ``isinstance(x, dict)``, ``dict(x)``, ``{**x}``, ``sorted(x)`` and argparse's ``choices`` all see every name. Asking
    for a value (``x[name]``, ``get``, ``items``, ``values``, ``pop``) imports what it needs, listing names does not.

    Args:
        targets: name -> ``"module:attribute"``. Importing the module is expected to register the name by itself (the
            built-ins carry decorators); if it does not, the attribute is taken.
    """

    def __init__(self, targets: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._targets = dict(targets or {})

    def target(self, name: str) -> str | None:
        """Where a built-in lives, as ``"module:attribute"``; ``None`` for what a plugin registered."""
        return self._targets.get(name)

    def is_home_of(self, name: str, obj: Any) -> bool:
        """Whether ``obj`` is the built-in that the index promises under ``name``."""
        module = getattr(obj, "__module__", None)
        qualified = f"{module}:{getattr(obj, '__qualname__', '')}"
        return self._targets.get(name) == qualified

    def __missing__(self, name: str) -> Any:
        target = self._targets.get(name)
        if target is None:
            raise KeyError(name)
        module_name, _, attribute = target.partition(":")
        module = importlib.import_module(module_name)
        if not super().__contains__(name):
            super().__setitem__(name, getattr(module, attribute))
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self._targets

    def __iter__(self) -> Iterator[str]:
        yield from self._targets
        yield from (name for name in super().__iter__() if name not in self._targets)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        return len(self) > 0

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self)})"

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else default

    def keys(self) -> KeysView[str]:  # type: ignore[override]
        return KeysView(self)

    def values(self) -> ValuesView[Any]:  # type: ignore[override]
        return ValuesView(self)

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]
        return ItemsView(self)

    def setdefault(self, name: str, default: Any = None) -> Any:
        if name not in self:
            self[name] = default
        return self[name]

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self._targets.pop(name, None)
        if super().__contains__(name):
            super().__delitem__(name)

    def pop(self, name: str, *default: Any) -> Any:
        if name not in self and default:
            return default[0]
        value = self[name]
        del self[name]
        return value

    def copy(self) -> dict[str, Any]:
        return dict(self.items())


class Registry(TypedDict):
    """What ``REGISTRIES[name]`` holds."""

    registry: LazyRegistry
    default: str | None
    dataclass_registry: LazyRegistry


class _Registries(LazyRegistry):
    """The table of tables: a built-in one is set up by importing the package that owns it."""

    def __missing__(self, name: str) -> Any:
        if name not in self._targets:
            raise KeyError(name)
        package = self._targets[name]
        if package is None:
            setup_registry("--" + name.replace("_", "-"))
        else:
            importlib.import_module(package)
        if not dict.__contains__(self, name):
            # Asked for while its package is half imported.
            raise KeyError(f"registry {name} is not set up yet: {package} is still being imported")
        return dict.__getitem__(self, name)


REGISTRIES = _Registries({name: kind["package"] for name, kind in _index.REGISTRIES.items()})  # type: ignore[misc]


def check_dataclass(dataclass: type | None) -> None:
    """Refuse a config class that is not a ``FairseqDataclass`` (``None`` is fine)."""
    from fairseq.dataclass.configs import FairseqDataclass

    if dataclass is not None and not issubclass(dataclass, FairseqDataclass):
        raise ValueError(f"Dataclass {dataclass} must extend FairseqDataclass")


def store_dataclass(group: str, name: str, dataclass: type | None, cls: type) -> None:
    """Remember a config class: on the class itself (as ``__dataclass``), and for Hydra under ``group/name``."""
    # The two underscores are part of the contract: plugins and tools read getattr(cls, "__dataclass", None).
    setattr(cls, "__dataclass", dataclass)
    if dataclass is not None:
        from fairseq.dataclass.initialize import store_node

        store_node(group, name, dataclass)


def setup_registry(
    registry_name: str, base_class: type | None = None, default: str | None = None, required: bool = False
) -> tuple[Callable[..., Any], Callable[..., Any], LazyRegistry, LazyRegistry] | None:
    """Make a registry that is also a command-line option.

    Args:
        registry_name: the option, e.g. ``"--lr-scheduler"``.
        base_class: what registered classes must extend, if anything.
        default: the entry used when the option is not given.
        required: whether ``build`` refuses a missing choice.

    Returns:
        ``(build_x, register_x, REGISTRY, DATACLASS_REGISTRY)``; ``None`` when the name is set up already.
    """
    if not registry_name.startswith("--"):
        raise ValueError(f"a registry is named like its option, with two dashes: got {registry_name!r}")
    name = registry_name[2:].replace("-", "_")
    if dict.__contains__(REGISTRIES, name):
        return None
    registry = LazyRegistry(_index.ENTRIES.get(name))
    dataclasses = LazyRegistry(_index.DATACLASSES.get(name))
    REGISTRIES[name] = Registry(registry=registry, default=default, dataclass_registry=dataclasses)
    build = _builder(name, registry, dataclasses, required)
    register = _registrar(name, registry, dataclasses, base_class)
    return build, register, registry, dataclasses


def _builder(name: str, registry: LazyRegistry, dataclasses: LazyRegistry, required: bool) -> Callable[..., Any]:
    def build_x(cfg: Any, *extra_args: Any, **extra_kwargs: Any) -> Any:
        from fairseq.dataclass.utils import choice_and_config

        choice, cfg = choice_and_config(cfg, name, dataclasses)
        if choice is None:
            if required:
                raise ValueError(f"{name} is required!")
            return None
        if choice not in registry:
            from fairseq.compat.suggest import unknown_name

            raise ValueError(unknown_name(f"--{name.replace('_', '-')}", choice, registry))
        cls = registry[choice]
        factory = getattr(cls, "build_" + name, cls)
        try:
            return factory(cfg, *extra_args, **extra_kwargs)
        except Exception as error:
            # OmegaConf's, told by its name because OmegaConf may be absent.
            if type(error).__name__ != "MissingMandatoryValue":
                raise
            option = str(getattr(error, "key", None) or error).replace("_", "-")
            raise ValueError(f"--{name.replace('_', '-')} {choice} needs --{option}") from error

    return build_x


def _registrar(
    kind: str, registry: LazyRegistry, dataclasses: LazyRegistry, base_class: type | None
) -> Callable[..., Any]:
    def register_x(name: str, dataclass: type | None = None) -> Callable[[type], type]:
        def register(cls: type) -> type:
            ours = registry.is_home_of(name, cls)
            if name in registry and not (ours and not dict.__contains__(registry, name)):
                if same_source(registry[name], cls):
                    return registry[name]
                raise ValueError(f"Cannot register duplicate {kind} ({name})")
            if not ours and cls.__name__ in class_names(registry):
                raise ValueError(f"Cannot register {kind} with duplicate class name ({cls.__name__})")
            if base_class is not None and not issubclass(cls, base_class):
                raise ValueError(f"{cls.__name__} must extend {base_class.__name__}")
            check_dataclass(dataclass)
            if dataclass is not None:
                dataclasses[name] = dataclass
            store_dataclass(kind, name, dataclass, cls)
            registry[name] = cls
            return cls

        return register

    return register_x


def same_source(one: Any, other: Any) -> bool:
    """Whether two classes or functions are one piece of code, imported under two module names.

    A plugin folder can be reached as ``my_plugin`` (by ``--user-dir``) and as ``package.my_plugin`` in one process.
    """

    def file_of(obj: Any) -> str | None:
        return getattr(sys.modules.get(getattr(obj, "__module__", "")), "__file__", None)

    return file_of(one) is not None and file_of(one) == file_of(other) and one.__qualname__ == other.__qualname__


def class_names(registry: LazyRegistry) -> set[str]:
    """Names of all registered classes, without importing the built-in ones."""
    known = {target.partition(":")[2] for target in registry._targets.values()}
    loaded = (dict.__getitem__(registry, name) for name in dict.__iter__(registry))
    return known | {cls.__name__ for cls in loaded if hasattr(cls, "__name__")}
