"""Transforms of waveforms; one module each, found by the name in a data configuration."""

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
    "AUDIO_WAVEFORM_TRANSFORM_CLASS_NAMES",
    "AUDIO_WAVEFORM_TRANSFORM_REGISTRY",
    "AudioWaveformTransform",
    "CompositeAudioWaveformTransform",
    "get_audio_waveform_transform",
    "register_audio_waveform_transform",
]


class AudioWaveformTransform(AudioTransform):
    """``(samples, sample rate)`` in and out."""


AUDIO_WAVEFORM_TRANSFORM_REGISTRY, AUDIO_WAVEFORM_TRANSFORM_CLASS_NAMES = transform_registry("audio_waveform_transform")


def get_audio_waveform_transform(name: str) -> Any:
    """The transform class registered under ``name``; ``KeyError`` with the known names if there is none."""
    return find_audio_transform("waveform", name, AUDIO_WAVEFORM_TRANSFORM_REGISTRY)


def register_audio_waveform_transform(name: str) -> Callable[[type], type]:
    """Class decorator that makes a transform available under ``name``."""
    return register_audio_transform(
        name, AudioWaveformTransform, AUDIO_WAVEFORM_TRANSFORM_REGISTRY, AUDIO_WAVEFORM_TRANSFORM_CLASS_NAMES
    )


class CompositeAudioWaveformTransform(CompositeAudioTransform):
    """The transforms of a configuration, one after the other."""

    @classmethod
    def from_config_dict(cls, config: Optional[dict[str, Any]] = None) -> Any:
        """Those that ``config["waveform_transforms"]`` names; ``None`` if it names none."""
        return super()._from_config_dict(
            "waveform", get_audio_waveform_transform, CompositeAudioWaveformTransform, config
        )

    def __call__(self, x: Any, sample_rate: int) -> Any:  # type: ignore[override]
        """Changed samples and their rate."""
        for transform in self.transforms:
            x, sample_rate = transform(x, sample_rate)
        return x, sample_rate
