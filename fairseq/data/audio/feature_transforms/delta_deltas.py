"""First and second differences over time, as further channels."""

import logging
from typing import Any, Optional

import numpy as np
from numpy.typing import NDArray

from fairseq.data.audio.feature_transforms import AudioFeatureTransform, register_audio_feature_transform

__all__ = ["DeltaDeltas"]

logger = logging.getLogger(__name__)

# Frames that a slope is taken from: those of a recorded model, whatever win_length says.
SLOPE_FRAMES = 5


@register_audio_feature_transform("delta_deltas")
class DeltaDeltas(AudioFeatureTransform):
    """``(frames, channels)`` -> ``(frames, 3 * channels)``: features, slopes over five frames, slopes of those.

    ``win_length`` is kept and has no effect, as in every release: models are trained on slopes over five frames.
    """

    @classmethod
    def from_config_dict(cls, config: Optional[dict[str, Any]] = None) -> "DeltaDeltas":
        return DeltaDeltas((config or {}).get("win_length", 5))

    def __init__(self, win_length: int = 5) -> None:
        if win_length != SLOPE_FRAMES:
            logger.warning(
                "delta_deltas: win_length %s has no effect; slopes are over %s frames", win_length, SLOPE_FRAMES
            )
        self.win_length = win_length

    def __repr__(self) -> str:
        return type(self).__name__

    def _slope(self, x: NDArray[Any]) -> NDArray[Any]:
        reach = (SLOPE_FRAMES - 1) // 2
        padded = np.pad(x, ((reach, reach), (0, 0)), mode="edge")
        steps = range(1, reach + 1)
        weighted = sum(
            step * (padded[reach + step : reach + step + len(x)] - padded[reach - step : reach - step + len(x)])
            for step in steps
        )
        return (weighted / (2 * sum(step**2 for step in steps))).astype(x.dtype)

    def __call__(self, spectrogram: NDArray[Any]) -> NDArray[Any]:
        slope = self._slope(spectrogram)
        return np.concatenate([spectrogram, slope, self._slope(slope)], axis=1)
