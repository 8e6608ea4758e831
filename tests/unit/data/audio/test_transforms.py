"""Transforms are found by name, imported when they are used, and registered by plug-ins."""

from __future__ import annotations

import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fairseq.data.audio.feature_transforms import (
    AUDIO_FEATURE_TRANSFORM_CLASS_NAMES,
    AUDIO_FEATURE_TRANSFORM_REGISTRY,
    AudioFeatureTransform,
    get_audio_feature_transform,
    register_audio_feature_transform,
)
from fairseq.data.audio.waveform_transforms import CompositeAudioWaveformTransform, get_audio_waveform_transform


def test_listing_transforms_imports_none() -> None:
    code = (
        "import sys, fairseq.data.audio.feature_transforms as f, fairseq.data.audio.waveform_transforms as w, "
        "fairseq.data.audio.dataset_transforms as d\n"
        "assert sorted(f.AUDIO_FEATURE_TRANSFORM_REGISTRY) == "
        "['delta_deltas', 'global_cmvn', 'specaugment', 'utterance_cmvn']\n"
        "assert 'MusicAugmentTransform' in w.AUDIO_WAVEFORM_TRANSFORM_CLASS_NAMES\n"
        "assert 'concataugment' in d.AUDIO_DATASET_TRANSFORM_REGISTRY\n"
        "assert 'fairseq.data.audio.feature_transforms.specaugment' not in sys.modules\n"
        "assert f.get_audio_feature_transform('specaugment').__name__ == 'SpecAugmentTransform'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    with pytest.raises(KeyError, match=r"no feature transform is called cmvn; there are: delta_deltas, global_cmvn"):
        get_audio_feature_transform("cmvn")


def test_plugins_register_their_own_but_not_twice() -> None:
    class Louder(AudioFeatureTransform):
        @classmethod
        def from_config_dict(cls, config: Any = None) -> Any:
            return cls()

    try:
        register_audio_feature_transform("louder")(Louder)
        assert get_audio_feature_transform("louder") is Louder
        with pytest.raises(ValueError, match="there is a transform called louder already"):
            register_audio_feature_transform("louder")(Louder)
        with pytest.raises(ValueError, match="there is a transform class Louder already"):
            register_audio_feature_transform("louder2")(Louder)
        with pytest.raises(ValueError, match="there is a transform called specaugment already"):
            register_audio_feature_transform("specaugment")(Louder)
        with pytest.raises(ValueError, match="is no AudioFeatureTransform"):
            register_audio_feature_transform("list")(list)
    finally:
        AUDIO_FEATURE_TRANSFORM_REGISTRY.pop("louder", None)
        AUDIO_FEATURE_TRANSFORM_CLASS_NAMES.discard("Louder")


def write_noise(path: Path, samples: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(np.random.RandomState(1).randint(-9000, 9000, samples).astype("<i2").tobytes())


@pytest.mark.parametrize("name", ["musicaugment", "backgroundnoiseaugment", "babbleaugment", "sporadicnoiseaugment"])
def test_noise_has_the_level_that_is_asked_for(name: str, tmp_path: Path) -> None:
    write_noise(tmp_path / "n.wav", 700)
    options = {"samples_path": str(tmp_path), "rate": 1.0, "snr_min": 6, "snr_max": 6, "noise_rate": 20.0}
    transform = CompositeAudioWaveformTransform.from_config_dict({"waveform_transforms": [name], name: options})
    source = np.random.RandomState(2).uniform(-0.5, 0.5, (1, 8000)).astype(np.float32)
    np.random.seed(1)
    changed, rate = transform(source, 16000)
    assert (rate, changed.shape) == (16000, source.shape)
    ratio = np.mean(source**2) / np.mean((changed - source) ** 2)
    assert 10 * np.log10(ratio) == pytest.approx(6, abs=0.01)


def test_noise_may_be_as_long_as_the_audio(tmp_path: Path) -> None:
    write_noise(tmp_path / "n.wav", 800)
    cls = get_audio_waveform_transform("musicaugment")
    assert cls(str(tmp_path)).pick_sample((1, 800), always_2d=True).shape == (1, 800)
    assert cls(str(tmp_path)).pick_sample((800,)).shape == (800,)
