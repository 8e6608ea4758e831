"""The config groups in Hydra's config store, put there when Hydra is used and not before."""

import dataclasses
import logging
import sys
from typing import Any, Dict, Optional, Tuple

from fairseq.dataclass.configs import FairseqConfig
from fairseq.dataclass.convert import dataclass_values

__all__ = ["add_defaults", "hydra_init", "store_node"]

logger = logging.getLogger(__name__)

# group/name -> config class, in order of registration; handed over by hydra_init.
_NODES: Dict[Tuple[str, str], type] = {}


def store_node(group: str, name: str, dataclass: type) -> None:
    """Remember a component's config class for Hydra's group of its kind."""
    _NODES[group, name] = dataclass
    if "hydra.core.config_store" in sys.modules:
        _store(group, name, dataclass)


def _store(group: Optional[str], name: str, node: Any) -> None:
    from hydra.core.config_store import ConfigStore

    if isinstance(node, type):
        node = node()
        if group is not None:
            node._name = name
    ConfigStore.instance().store(name=name, group=group, node=node, provider="fairseq")


def hydra_init(cfg_name: str = "config") -> None:
    """Fill Hydra's config store: the whole config, each of its sections, and every component's config class."""
    from fairseq import models, tasks
    from fairseq.registry import REGISTRIES

    _store(None, cfg_name, FairseqConfig)
    for section in FairseqConfig.__dataclass_fields__:
        value = getattr(FairseqConfig(), section)
        try:
            _store(None, section, value)
        except BaseException:
            logger.error("section %s could not be stored: %r", section, value)
            raise
    tables = {"model": models.MODEL_DATACLASS_REGISTRY, "task": tasks.TASK_DATACLASS_REGISTRY}
    tables.update({name: REGISTRIES[name]["dataclass_registry"] for name in REGISTRIES})
    for group, table in tables.items():
        for name in table:
            _store(group, name, table[name])
    for (group, name), dataclass in _NODES.items():
        _store(group, name, dataclass)


def add_defaults(cfg: Any) -> None:
    """Complete the component sections of a config in place: names become sections, missing ones take the default."""
    from omegaconf import OmegaConf, open_dict

    from fairseq.dataclass.utils import merge_with_parent
    from fairseq.registry import REGISTRIES

    OmegaConf.set_struct(cfg, False)
    with open_dict(cfg):
        for section, field in FairseqConfig.__dataclass_fields__.items():
            if section not in cfg and not section.startswith("_") and dataclasses.is_dataclass(field.type):
                cfg[section] = OmegaConf.create(dataclass_values(field.type))
        for kind in [*_component_kinds(), *REGISTRIES]:
            config_class = _config_class(kind, cfg.get(kind))
            name = _name_of(cfg.get(kind))
            if name is None and kind in REGISTRIES:
                name = REGISTRIES[kind]["default"]
                if name is not None:
                    cfg[kind] = OmegaConf.create({"_name": name})
                    config_class = REGISTRIES[kind]["dataclass_registry"].get(name)
            if config_class is not None:
                section_cfg = cfg.get(kind)
                if not OmegaConf.is_config(section_cfg):
                    section_cfg = OmegaConf.create({"_name": name})
                cfg[kind] = merge_with_parent(config_class(), section_cfg)
                cfg[kind]["_name"] = name


def _component_kinds() -> Tuple[str, str]:
    return ("model", "task")


def _name_of(section: Any) -> Optional[str]:
    return section if isinstance(section, str) or section is None else getattr(section, "_name", None)


def _config_class(kind: str, section: Any) -> Optional[type]:
    from fairseq import models, tasks
    from fairseq.registry import REGISTRIES

    name = _name_of(section)
    if name is None:
        return None
    if kind == "model":
        return models.MODEL_DATACLASS_REGISTRY.get(models.ARCH_MODEL_NAME_REGISTRY.get(name, name))
    if kind == "task":
        return tasks.TASK_DATACLASS_REGISTRY.get(name)
    return REGISTRIES[kind]["dataclass_registry"].get(name)
