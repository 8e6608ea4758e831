"""Transforms of features, ``(frames, channels)`` arrays; one module each, found by the name in a data configuration."""

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
    "AUDIO_FEATURE_TRANSFORM_CLASS_NAMES",
    "AUDIO_FEATURE_TRANSFORM_REGISTRY",
    "AudioFeatureTransform",
    "CompositeAudioFeatureTransform",
    "get_audio_feature_transform",
    "register_audio_feature_transform",
]


class AudioFeatureTransform(AudioTransform):
    """Features in, features out."""


AUDIO_FEATURE_TRANSFORM_REGISTRY, AUDIO_FEATURE_TRANSFORM_CLASS_NAMES = transform_registry("audio_feature_transform")


def get_audio_feature_transform(name: str) -> Any:
    """The transform class registered under ``name``; ``KeyError`` with the known names if there is none."""
    return find_audio_transform("feature", name, AUDIO_FEATURE_TRANSFORM_REGISTRY)


def register_audio_feature_transform(name: str) -> Callable[[type], type]:
    """Class decorator that makes a transform available under ``name``."""
    return register_audio_transform(
        name, AudioFeatureTransform, AUDIO_FEATURE_TRANSFORM_REGISTRY, AUDIO_FEATURE_TRANSFORM_CLASS_NAMES
    )


class CompositeAudioFeatureTransform(CompositeAudioTransform):
    """The transforms of a configuration, one after the other."""

    @classmethod
    def from_config_dict(cls, config: Optional[dict[str, Any]] = None) -> Any:
        """Those that ``config["feature_transforms"]`` names; ``None`` if it names none."""
        return super()._from_config_dict("feature", get_audio_feature_transform, CompositeAudioFeatureTransform, config)
