"""Audio data: waveforms, features, and transforms of both."""

import importlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Optional

import numpy as np

from fairseq import _index
from fairseq._lazy import attach
from fairseq.registry import LazyRegistry

__all__ = [
    "AudioTransform",
    "CompositeAudioTransform",
    "find_audio_transform",
    "import_transforms",
    "rand_uniform",
    "register_audio_transform",
    "transform_registry",
]

__getattr__, __dir__ = attach(__name__)


class AudioTransform(ABC):
    """Something done to audio or features, configured by a dictionary."""

    @classmethod
    @abstractmethod
    def from_config_dict(cls, config: Optional[dict[str, Any]] = None) -> Any:
        """Make it from its section of a data configuration."""


class CompositeAudioTransform(AudioTransform):
    """Several transforms, one after the other."""

    @classmethod
    def _from_config_dict(
        cls,
        transform_type: str,
        get_audio_transform: Callable[[str], Any],
        composite_cls: Any,
        config: Optional[dict[str, Any]] = None,
        return_empty: bool = False,
    ) -> Any:
        """The transforms that ``config["TYPE_transforms"]`` names, each made from its own section.

        Returns:
            the composite; ``None`` if it names none, unless ``return_empty``.
        """
        sections = config or {}
        names = sections.get(f"{transform_type}_transforms") or []
        if not names and not return_empty:
            return None
        return composite_cls([get_audio_transform(name).from_config_dict(sections.get(name)) for name in names])

    def __init__(self, transforms: Sequence[Any]) -> None:
        self.transforms = [transform for transform in transforms if transform is not None]

    def __call__(self, x: Any) -> Any:
        for transform in self.transforms:
            x = transform(x)
        return x

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__}(", *(f"    {transform!r}" for transform in self.transforms), ")"]
        return "\n".join(lines)


def transform_registry(kind: str) -> tuple[LazyRegistry, set[str]]:
    """The table of a kind of transforms and the names of its classes; built-ins are imported when they are used."""
    targets = _index.ENTRIES.get(kind, {})
    return LazyRegistry(targets), {target.partition(":")[2] for target in targets.values()}


def register_audio_transform(
    name: str, cls_type: type, registry: dict[str, Any], class_names: set[str]
) -> Callable[[type], type]:
    """Class decorator that makes a transform available under ``name``.

    Raises:
        ValueError: the name or the class name is taken, or the class is of another kind.
    """

    def register(cls: type) -> type:
        # A built-in that is imported now is in the index already.
        is_indexed = isinstance(registry, LazyRegistry) and registry.is_home_of(name, cls)
        if name in registry and not (is_indexed and not dict.__contains__(registry, name)):
            raise ValueError(f"there is a transform called {name} already")
        if not issubclass(cls, cls_type):
            raise ValueError(f"{cls.__name__}, registered as {name}, is no {cls_type.__name__}")
        if cls.__name__ in class_names and not is_indexed:
            raise ValueError(f"there is a transform class {cls.__name__} already")
        registry[name] = cls
        class_names.add(cls.__name__)
        return cls

    return register


def find_audio_transform(kind: str, name: str, registry: dict[str, Any]) -> Any:
    """The transform class that a registry of some kind holds under ``name``.

    Raises:
        KeyError: there is none; the message lists those there are.
    """
    if name not in registry:
        known = ", ".join(sorted(registry)) or "none"
        raise KeyError(f"no {kind} transform is called {name}; there are: {known}")
    return registry[name]


def import_transforms(transforms_dir: str, transform_type: str) -> None:
    """Import every module of a folder of transforms, so that their decorators run."""
    for entry in sorted(os.listdir(transforms_dir)):
        if entry[0] not in "._" and entry.endswith(".py"):
            importlib.import_module(f"fairseq.data.audio.{transform_type}_transforms.{entry[:-3]}")


def rand_uniform(a: float, b: float) -> float:
    """A draw from ``[a, b)`` by numpy's global generator."""
    return np.random.uniform() * (b - a) + a
