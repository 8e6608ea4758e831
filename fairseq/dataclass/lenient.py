"""Configs that lack keys: of older releases, and those that programs and tests make with just what they need.

``complete``  fills a whole config in place, as ``Trainer`` and training do first
``lenient``   reads one section without changing it
"""

import dataclasses
from typing import Any

from fairseq.dataclass.configs import FairseqConfig
from fairseq.dataclass.convert import dataclass_values

__all__ = ["complete", "lenient"]


def complete(cfg: Any) -> None:
    """Give a whole config the sections and keys of ``FairseqConfig`` that it lacks, with their defaults, in place.

    What is there stays, whatever it is; anything but an OmegaConf config is left alone.
    """
    from omegaconf import OmegaConf, open_dict, read_write

    if not OmegaConf.is_dict(cfg):
        return
    for name, field in FairseqConfig.__dataclass_fields__.items():
        if not dataclasses.is_dataclass(field.type):
            continue
        defaults = dataclass_values(field.type)
        section = cfg[name] if name in cfg else None
        if section is None:
            with read_write(cfg), open_dict(cfg):
                cfg[name] = OmegaConf.create(defaults)
        elif OmegaConf.is_dict(section):
            missing = {key: value for key, value in defaults.items() if key not in section}
            if missing:
                with read_write(section), open_dict(section):
                    section.update(missing)


class _Lenient:
    """A section whose missing attributes have their defaults."""

    def __init__(self, section: Any, config: type) -> None:
        self._section, self._config = section, config

    def __getattr__(self, name: str) -> Any:
        try:
            return getattr(self._section, name)
        except AttributeError:
            defaults = dataclass_values(self._config)
            if name not in defaults:
                raise
            return defaults[name]


def lenient(section: Any, config: type) -> Any:
    """``section`` for reading: an attribute that it lacks has the default of the dataclass ``config``."""
    return section if isinstance(section, _Lenient) else _Lenient(section, config)
