"""Our groups in Hydra's config store: every name is there, what it stands for is imported when Hydra reads it."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from fairseq import _index
from fairseq.registry import LazyRegistry

__all__ = ["LazyGroup", "fill", "node_of"]

PROVIDER = "fairseq"
SECTIONS = "fairseq.dataclass.configs:FairseqConfig"


def node_of(group: str | None, name: str, config: Any) -> Any:
    """What Hydra's store holds for a config class, an instance of one, or a plain value.

    Args:
        group: ``None`` for the sections and for the whole config.
        name: without ``.yaml``; a component's config class carries it as ``_name``.
    """
    from hydra.core.config_store import ConfigNode
    from omegaconf import OmegaConf

    if isinstance(config, type):
        config = config()
        if group is not None:
            config._name = name
    node = OmegaConf.structured(config)
    return ConfigNode(name=f"{name}.yaml", node=node, group=group, package=None, provider=PROVIDER)


class LazyGroup(LazyRegistry):
    """One level of Hydra's store: ``name.yaml`` -> node. Looks like the ``dict`` that Hydra keeps there.

    Args:
        targets: ``name.yaml`` -> ``"module:ConfigClass"``, or ``"module:ConfigClass.section"`` for one of its fields.
        group: name of the level; ``None`` for the top.
    """

    def __init__(self, targets: dict[str, str], group: str | None) -> None:
        super().__init__(targets)
        self.group = group

    def __missing__(self, key: str) -> Any:
        target = self._targets.get(key)
        if target is None:
            raise KeyError(key)
        module_name, _, attribute = target.partition(":")
        module = importlib.import_module(module_name)
        # Importing a component registers its config class, here too if this is the store in use.
        if not dict.__contains__(self, key):
            class_name, _, section = attribute.partition(".")
            config: Any = getattr(module, class_name)
            self[key] = node_of(self.group, key[: -len(".yaml")], getattr(config(), section) if section else config)
        return dict.__getitem__(self, key)

    def __reduce__(self) -> Any:
        # Launchers of sweeps copy the store into other processes: what was not read yet stays unread.
        return type(self), (dict(self._targets), self.group), None, None, iter(list(dict.items(self)))


def fill() -> None:
    """Put the names into the store of this process; what is there already stays."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    if isinstance(store.repo, LazyGroup):
        return
    top = LazyGroup(_sections(), None)
    for name, entry in store.repo.items():
        top[name] = entry
    for group, classes in _index.DATACLASSES.items():
        level = LazyGroup({f"{name}.yaml": target for name, target in classes.items()}, group)
        for name, entry in top.get(group, {}).items():
            level[name] = entry
        top[group] = level
    store.repo = top
    registered = sys.modules.get("fairseq.dataclass.initialize")
    if registered is not None:
        registered.hand_over()


def _sections() -> dict[str, str]:
    from fairseq.dataclass.configs import FairseqConfig

    names = FairseqConfig.__dataclass_fields__
    return {"config.yaml": SECTIONS, **{f"{name}.yaml": f"{SECTIONS}.{name}" for name in names}}
