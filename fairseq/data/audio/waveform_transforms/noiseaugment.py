"""Noise added to waveforms: music, other recordings, voices, short sounds (as in MUSAN, Snyder et al. 2015)."""

from pathlib import Path
from typing import Any, ClassVar, Optional

import numpy as np
from numpy.typing import NDArray

from fairseq.data.audio import rand_uniform
from fairseq.data.audio.waveform_transforms import AudioWaveformTransform, register_audio_waveform_transform

__all__ = [
    "BabbleAugmentTransform",
    "BackgroundNoiseAugmentTransform",
    "MusicAugmentTransform",
    "NoiseAugmentTransform",
    "SporadicNoiseAugmentTransform",
]

SNR_MIN, SNR_MAX = 5.0, 15.0
RATE = 0.25
NOISE_RATE = 1.0
NOISE_LEN_MEAN, NOISE_LEN_STD = 0.2, 0.05
FEWEST_VOICES, MOST_VOICES = 3, 7


class NoiseAugmentTransform(AudioWaveformTransform):
    """Base: adds noise to ``(channels, samples)`` audio, with numpy's global generator.

    Args:
        samples_path: folder of ``.wav`` files, searched with all its subfolders.
        snr_min, snr_max: limits of the ratio of audio to noise, in decibels.
        rate: share of the audio that gets noise.

    Raises:
        AssertionError: no ``samples_path`` or no files in it, limits in the wrong order, a ``rate`` outside of [0, 1].
    """

    # Key of the configuration -> default, in the order of the parameters.
    OPTIONS: ClassVar[dict[str, Any]] = {"samples_path": None, "snr_min": SNR_MIN, "snr_max": SNR_MAX, "rate": RATE}

    @classmethod
    def from_config_dict(cls, config: Optional[dict[str, Any]] = None) -> Any:
        options = config or {}
        return cls(*(options.get(name, default) for name, default in cls.OPTIONS.items()))

    def __init__(
        self, samples_path: Optional[str], snr_min: float = SNR_MIN, snr_max: float = SNR_MAX, rate: float = RATE
    ) -> None:
        if not samples_path:
            raise AssertionError(f"{type(self).__name__} needs samples_path, a folder of noise in .wav files")
        if snr_max < snr_min:
            raise AssertionError(f"snr_min ({snr_min}) should not be above snr_max ({snr_max})")
        if not 0 <= rate <= 1:
            raise AssertionError(f"rate should be between 0 and 1, got {rate}")
        # Sorted, so that the same numbers choose the same files on every machine.
        self.paths = sorted(Path(samples_path).glob("**/*.wav"))
        self.n_samples = len(self.paths)
        if self.n_samples == 0:
            raise AssertionError(f"no .wav files in {samples_path}")
        self.snr_min, self.snr_max = snr_min, snr_max
        self.rate = rate

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(n_samples={self.n_samples}, snr={self.snr_min}-{self.snr_max}dB, rate={self.rate})"
        )

    def pick_sample(
        self, goal_shape: tuple[int, ...], always_2d: bool = False, use_sample_rate: Optional[int] = None
    ) -> NDArray[Any]:
        """A random stretch of a random file, repeated if the file is shorter.

        Args:
            goal_shape: ``(channels, samples)`` or ``(samples,)``; one channel is averaged from all.
            always_2d: give one channel as ``(1, samples)``.
            use_sample_rate: resample to this.
        """
        from fairseq.data.audio.audio_utils import get_waveform

        path = self.paths[np.random.randint(0, self.n_samples)]
        is_mono = len(goal_shape) == 1 or goal_shape[0] == 1
        noise = get_waveform(path, mono=is_mono, output_sample_rate=use_sample_rate)[0]
        length = goal_shape[-1]
        noise = np.tile(noise, (1, -(-length // noise.shape[1])))
        start = np.random.randint(0, noise.shape[1] - length + 1)
        noise = noise[:, start : start + length]
        return noise if always_2d or len(noise) > 1 else noise[0]

    def _mix(self, source: NDArray[Any], noise: NDArray[Any], snr: float) -> NDArray[Any]:
        """Audio with noise ``snr`` decibels below it; as it was if the noise is silent or has other channels."""
        if noise.shape != source.shape:
            noise = np.zeros(source.shape)
        noise_power = np.mean(noise**2)
        if noise_power == 0:
            return source + noise
        return source + np.sqrt(np.mean(source**2) / (10 ** (snr / 10) * noise_power)) * noise

    def _get_noise(
        self, goal_shape: tuple[int, ...], always_2d: bool = False, use_sample_rate: Optional[int] = None
    ) -> NDArray[Any]:
        """Noise of a shape; subclasses make it in other ways."""
        return self.pick_sample(goal_shape, always_2d, use_sample_rate)

    def __call__(self, source: NDArray[Any], sample_rate: int) -> tuple[NDArray[Any], int]:
        if np.random.random() > self.rate:
            return source, sample_rate
        noise = self._get_noise(source.shape, always_2d=True, use_sample_rate=sample_rate)
        return self._mix(source, noise, rand_uniform(self.snr_min, self.snr_max)), sample_rate


@register_audio_waveform_transform("musicaugment")
class MusicAugmentTransform(NoiseAugmentTransform):
    """Music in the background."""


@register_audio_waveform_transform("backgroundnoiseaugment")
class BackgroundNoiseAugmentTransform(NoiseAugmentTransform):
    """A noise in the background."""


@register_audio_waveform_transform("babbleaugment")
class BabbleAugmentTransform(NoiseAugmentTransform):
    """Three to seven voices in the background, each one decibel weaker against those before it than the last was."""

    def _get_noise(
        self, goal_shape: tuple[int, ...], always_2d: bool = False, use_sample_rate: Optional[int] = None
    ) -> NDArray[Any]:
        voices = np.random.randint(FEWEST_VOICES, MOST_VOICES + 1)
        noise = self.pick_sample(goal_shape, always_2d, use_sample_rate)
        for snr in range(1, voices):
            noise = self._mix(noise, self.pick_sample(goal_shape, always_2d, use_sample_rate), snr)
        return noise


@register_audio_waveform_transform("sporadicnoiseaugment")
class SporadicNoiseAugmentTransform(NoiseAugmentTransform):
    """Short sounds at random times.

    Args:
        noise_rate: sounds per second.
        noise_len_mean, noise_len_std: their lengths, normally distributed, in seconds.
        others: see :class:`NoiseAugmentTransform`.
    """

    OPTIONS: ClassVar[dict[str, Any]] = {
        **NoiseAugmentTransform.OPTIONS,
        "noise_rate": NOISE_RATE,
        "noise_len_mean": NOISE_LEN_MEAN,
        "noise_len_std": NOISE_LEN_STD,
    }

    def __init__(
        self, samples_path: Optional[str], snr_min: float = SNR_MIN, snr_max: float = SNR_MAX, rate: float = RATE,
        noise_rate: float = NOISE_RATE, noise_len_mean: float = NOISE_LEN_MEAN, noise_len_std: float = NOISE_LEN_STD,
    ) -> None:  # fmt: skip
        super().__init__(samples_path, snr_min, snr_max, rate)
        self.noise_rate = noise_rate
        self.noise_len_mean, self.noise_len_std = noise_len_mean, noise_len_std

    def _get_noise(
        self, goal_shape: tuple[int, ...], always_2d: bool = False, use_sample_rate: Optional[int] = None
    ) -> NDArray[Any]:
        rate, length = use_sample_rate or 16_000, goal_shape[-1]
        count = int(self.noise_rate * length / rate)
        starts = (np.random.random(count) * length).astype(np.int64)
        sizes = (np.random.normal(self.noise_len_mean, self.noise_len_std, count) * rate).astype(np.int64)
        noise = np.zeros(goal_shape)
        for start, end in zip(starts, np.minimum(starts + sizes, length)):
            if end > start:
                sound = self.pick_sample((*goal_shape[:-1], int(end - start)), always_2d, use_sample_rate)
                if sound.shape[:-1] != noise.shape[:-1]:
                    return sound  # other channels, which is not mixed
                noise[..., start:end] = sound
        return noise
