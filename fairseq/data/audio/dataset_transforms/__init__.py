"""Transforms of data sets: they combine samples; one module each, found by the name in a data configuration."""

from collections.abc import Callable
from typing import Any, Optional

from fairseq.data.audio import (
    AudioTransform,
    CompositeAudioTransform,
    find_audio_transform,
    import_transforms,  # noqa: F401 - third-party packages import it from here
    register_audio_transform,
    transform_registry,
)

__all__ = [
    "AUDIO_DATASET_TRANSFORM_CLASS_NAMES",
    "AUDIO_DATASET_TRANSFORM_REGISTRY",
    "AudioDatasetTransform",
    "CompositeAudioDatasetTransform",
    "get_audio_dataset_transform",
    "register_audio_dataset_transform",
]


class AudioDatasetTransform(AudioTransform):
    """Works on several samples of a data set."""


AUDIO_DATASET_TRANSFORM_REGISTRY, AUDIO_DATASET_TRANSFORM_CLASS_NAMES = transform_registry("audio_dataset_transform")


def get_audio_dataset_transform(name: str) -> Any:
    """The transform class registered under ``name``; ``KeyError`` with the known names if there is none."""
    return find_audio_transform("dataset", name, AUDIO_DATASET_TRANSFORM_REGISTRY)


def register_audio_dataset_transform(name: str) -> Callable[[type], type]:
    """Class decorator that makes a transform available under ``name``."""
    return register_audio_transform(
        name, AudioDatasetTransform, AUDIO_DATASET_TRANSFORM_REGISTRY, AUDIO_DATASET_TRANSFORM_CLASS_NAMES
    )


class CompositeAudioDatasetTransform(CompositeAudioTransform):
    """The transforms of a configuration, one after the other."""

    @classmethod
    def from_config_dict(cls, config: Optional[dict[str, Any]] = None) -> Any:
        """Those that ``config["dataset_transforms"]`` names; without any, a composite that does nothing."""
        return super()._from_config_dict(
            "dataset", get_audio_dataset_transform, CompositeAudioDatasetTransform, config, return_empty=True
        )

    def get_transform(self, cls: type) -> Any:
        """The transform of a class, or ``None``."""
        return next((transform for transform in self.transforms if isinstance(transform, cls)), None)

    def has_transform(self, cls: type) -> bool:
        """Whether there is a transform of a class."""
        return self.get_transform(cls) is not None
