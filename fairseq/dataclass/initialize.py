"""Components' config classes for Hydra, and sections of a config that Hydra composed without them."""

import dataclasses
import sys
from typing import Any, Dict, Optional, Tuple

from fairseq.dataclass.configs import FairseqConfig
from fairseq.dataclass.convert import dataclass_values

__all__ = ["add_defaults", "hand_over", "hydra_init", "store_node"]

# group/name -> config class, in order of registration; handed over when Hydra is there.
_NODES: Dict[Tuple[str, str], type] = {}


def store_node(group: str, name: str, dataclass: type) -> None:
    """Remember a component's config class for Hydra's group of its kind."""
    _NODES[group, name] = dataclass
    if "hydra.core.config_store" in sys.modules:
        _store(group, name, dataclass)


def _store(group: Optional[str], name: str, config: Any) -> None:
    from hydra.core.config_store import ConfigStore

    from fairseq.dataclass.config_store import fill, node_of

    fill()
    level = ConfigStore.instance().repo
    if group is not None:
        level = level.setdefault(group, {})
    level[f"{name}.yaml"] = node_of(group, name, config)


def hand_over() -> None:
    """Give Hydra's store the classes that registered before Hydra was there."""
    for (group, name), dataclass in _NODES.items():
        _store(group, name, dataclass)


def hydra_init(cfg_name: str = "config") -> None:
    """See that Hydra's store has the sections and every component's config class, and the whole config as a name.

    Args:
        cfg_name: the name of the whole config, besides ``config``.
    """
    _store(None, cfg_name, FairseqConfig)


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
