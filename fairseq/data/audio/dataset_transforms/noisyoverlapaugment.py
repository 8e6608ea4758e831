"""Stretches of an utterance covered by noise or by another voice (utterance mixing, Chen et al. 2022, WavLM)."""

from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import torch
from torch import Tensor

from fairseq.data.audio import rand_uniform
from fairseq.data.audio.dataset_transforms import AudioDatasetTransform, register_audio_dataset_transform
from fairseq.data.audio.waveform_transforms.noiseaugment import NoiseAugmentTransform

__all__ = ["NoisyOverlapAugment"]

_RATE, _MIXING_NOISE_RATE = 0.25, 0.1
_SNR_MIN, _SNR_MAX = -5, 5


@register_audio_dataset_transform("noisyoverlapaugment")
class NoisyOverlapAugment(AudioDatasetTransform):
    """Covers up to half of an utterance of a batch, with numpy's global generator.

    Args:
        rate: share of the utterances that are covered.
        mixing_noise_rate: share of those that are covered by noise; the others by an utterance of the batch.
        noise_path: folder of ``.wav`` files of noise.
        noise_snr_min, noise_snr_max: limits of the ratio of utterance to noise, in decibels.
        utterance_snr_min, utterance_snr_max: the same for utterances.
    """

    @classmethod
    def from_config_dict(cls, config: Optional[dict[str, Any]] = None) -> "NoisyOverlapAugment":
        options = config or {}
        return NoisyOverlapAugment(
            options.get("rate", _RATE),
            options.get("mixing_noise_rate", _MIXING_NOISE_RATE),
            options.get("noise_path", ""),
            options.get("noise_snr_min", _SNR_MIN),
            options.get("noise_snr_max", _SNR_MAX),
            options.get("utterance_snr_min", _SNR_MIN),
            options.get("utterance_snr_max", _SNR_MAX),
        )

    def __init__(
        self, rate: float = _RATE, mixing_noise_rate: float = _MIXING_NOISE_RATE, noise_path: str = "",
        noise_snr_min: float = _SNR_MIN, noise_snr_max: float = _SNR_MAX, utterance_snr_min: float = _SNR_MIN,
        utterance_snr_max: float = _SNR_MAX,
    ) -> None:  # fmt: skip
        self.rate = rate
        self.mixing_noise_rate = mixing_noise_rate
        # It gives stretches of noise here; its own limits are not used.
        self.noise_shaper = NoiseAugmentTransform(noise_path)
        self.noise_snr_min, self.noise_snr_max = noise_snr_min, noise_snr_max
        self.utterance_snr_min, self.utterance_snr_max = utterance_snr_min, utterance_snr_max

    def __repr__(self) -> str:
        names = (
            "rate",
            "mixing_noise_rate",
            "noise_snr_min",
            "noise_snr_max",
            "utterance_snr_min",
            "utterance_snr_max",
        )
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)}' for name in names)})"

    def __call__(self, sources: Sequence[Tensor]) -> Sequence[Tensor]:
        """Cover utterances ``(samples,)`` of a batch in place; a later one may be covered by one that is covered."""
        for source in sources:
            if np.random.random() > self.rate or len(source) == 0:
                continue
            if np.random.random() < self.mixing_noise_rate:
                cover = torch.from_numpy(self.noise_shaper.pick_sample(tuple(source.shape))).to(source)
                snr = rand_uniform(self.noise_snr_min, self.noise_snr_max)
            else:
                cover = sources[np.random.randint(0, len(sources))]
                snr = rand_uniform(self.utterance_snr_min, self.utterance_snr_max)
            self._cover(source, cover, snr)
        return sources

    @staticmethod
    def _cover(source: Tensor, cover: Tensor, snr: float) -> None:
        length = min(np.random.randint(0, len(source) // 2 + 1), len(cover))
        start = np.random.randint(0, len(source) - length + 1)
        begin = np.random.randint(0, len(cover) - length + 1)
        power = (cover**2).mean()
        if length > 0 and power > 0:
            scale = torch.sqrt((source**2).mean() / (10 ** (snr / 10) * power))
            # The cover may be the source itself.
            source[start : start + length] += scale * cover[begin : begin + length].clone()
