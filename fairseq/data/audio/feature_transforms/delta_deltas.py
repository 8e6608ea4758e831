"""First and second differences over time, as further channels."""

from typing import Any, Optional

import numpy as np
from numpy.typing import NDArray

from fairseq.data.audio.feature_transforms import AudioFeatureTransform, register_audio_feature_transform

__all__ = ["DeltaDeltas"]


@register_audio_feature_transform("delta_deltas")
class DeltaDeltas(AudioFeatureTransform):
    """``(frames, channels)`` -> ``(frames, 3 * channels)``: features, slopes of ``win_length`` frames, theirs."""

    @classmethod
    def from_config_dict(cls, config: Optional[dict[str, Any]] = None) -> "DeltaDeltas":
        return DeltaDeltas((config or {}).get("win_length", 5))

    def __init__(self, win_length: int = 5) -> None:
        if win_length < 3:
            raise ValueError(f"win_length should be at least 3, got {win_length}")
        self.win_length = win_length

    def __repr__(self) -> str:
        return f"{type(self).__name__}(win_length={self.win_length})"

    def _slope(self, x: NDArray[Any]) -> NDArray[Any]:
        reach = (self.win_length - 1) // 2
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
