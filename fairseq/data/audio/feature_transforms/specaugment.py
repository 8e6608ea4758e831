"""SpecAugment: bands of frequencies and of time hidden, time warped (Park et al. 2019)."""

import math
from typing import Any, Optional

import numpy as np
from numpy.typing import NDArray

from fairseq.data.audio.feature_transforms import AudioFeatureTransform, register_audio_feature_transform

__all__ = ["SpecAugmentTransform"]


def _stretch(rows: NDArray[Any], length: int) -> NDArray[Any]:
    """``(frames, channels)`` -> ``(length, channels)``, interpolated linearly between the middles of frames."""
    places = (np.arange(length) + 0.5) * len(rows) / length - 0.5
    places = np.clip(places, 0, len(rows) - 1)
    below = np.floor(places).astype(np.int64)
    above = np.minimum(below + 1, len(rows) - 1)
    share = (places - below)[:, None]
    return (rows[below] * (1 - share) + rows[above] * share).astype(rows.dtype)


@register_audio_feature_transform("specaugment")
class SpecAugmentTransform(AudioFeatureTransform):
    """Changes a copy of ``(frames, channels)`` features, by numpy's global generator.

    Args:
        time_warp_w: a point is moved by less than so many frames; 0 for no warping.
        freq_mask_n, freq_mask_f: number of hidden bands of channels, and the limit of their widths.
        time_mask_n, time_mask_t: number of hidden stretches of frames, and the limit of their lengths.
        time_mask_p: a stretch is no longer than this share of the frames.
        mask_value: what hides; ``None`` for the mean.
    """

    @classmethod
    def from_config_dict(cls, config: Optional[dict[str, Any]] = None) -> "SpecAugmentTransform":
        options = config or {}
        return SpecAugmentTransform(
            options.get("time_warp_W", 0),
            options.get("freq_mask_N", 0),
            options.get("freq_mask_F", 0),
            options.get("time_mask_N", 0),
            options.get("time_mask_T", 0),
            options.get("time_mask_p", 0.0),
            options.get("mask_value", None),
        )

    def __init__(
        self, time_warp_w: int = 0, freq_mask_n: int = 0, freq_mask_f: int = 0, time_mask_n: int = 0,
        time_mask_t: int = 0, time_mask_p: float = 0.0, mask_value: Optional[float] = 0.0,
    ) -> None:  # fmt: skip
        if mask_value is not None and not isinstance(mask_value, (int, float)):
            raise AssertionError(f"mask_value should be a number or left out, got {mask_value!r}")
        if freq_mask_n > 0 and not freq_mask_f > 0:
            raise AssertionError(f"freq_mask_F should be above 0 when freq_mask_N is {freq_mask_n}")
        if time_mask_n > 0 and not time_mask_t > 0:
            raise AssertionError(f"time_mask_T should be above 0 when time_mask_N is {time_mask_n}")
        self.freq_mask_f = freq_mask_f
        self.freq_mask_n = freq_mask_n
        self.mask_value = mask_value
        self.time_mask_n = time_mask_n
        self.time_mask_p = time_mask_p
        self.time_mask_t = time_mask_t
        self.time_warp_w = time_warp_w

    def __repr__(self) -> str:
        names = ("time_warp_w", "freq_mask_n", "freq_mask_f", "time_mask_n", "time_mask_t", "time_mask_p")
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)}' for name in names)})"

    def __call__(self, spectrogram: NDArray[Any]) -> NDArray[Any]:
        if spectrogram.ndim != 2:
            raise AssertionError("spectrogram must be a 2-D tensor.")
        frames, channels = spectrogram.shape
        if frames == 0 or channels < self.freq_mask_f:
            return spectrogram
        value = spectrogram.mean() if self.mask_value is None else self.mask_value
        changed = self._warp(spectrogram.copy())
        for _ in range(self.freq_mask_n):
            width = np.random.randint(0, self.freq_mask_f)
            start = np.random.randint(0, channels - width)
            changed[:, start : start + width] = value
        longest = min(self.time_mask_t, math.floor(frames * self.time_mask_p))
        if longest < 1:
            return changed
        for _ in range(self.time_mask_n):
            length = np.random.randint(0, longest)
            start = np.random.randint(0, frames - length)
            changed[start : start + length] = value
        return changed

    def _warp(self, features: NDArray[Any]) -> NDArray[Any]:
        """Move one point in time, stretching what is before it and pressing what is behind it, or the other way."""
        width, frames = self.time_warp_w, len(features)
        if width <= 0 or 2 * width >= frames:
            return features
        point = np.random.randint(width, frames - width)
        moved = point + np.random.randint(-width + 1, width)
        return np.concatenate([_stretch(features[:point], moved), _stretch(features[point:], frames - moved)])
