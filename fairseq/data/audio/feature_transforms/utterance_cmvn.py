"""Mean and variance normalisation over an utterance."""

from typing import Any, Optional

import numpy as np

from fairseq.data.audio.feature_transforms import AudioFeatureTransform, register_audio_feature_transform

__all__ = ["UtteranceCMVN"]

SMALLEST_VARIANCE = 1e-10


@register_audio_feature_transform("utterance_cmvn")
class UtteranceCMVN(AudioFeatureTransform):
    """Every channel of ``(frames, channels)`` features gets mean 0 and variance 1 over the frames."""

    @classmethod
    def from_config_dict(cls, config: Optional[dict[str, Any]] = None) -> "UtteranceCMVN":
        options = config or {}
        return UtteranceCMVN(options.get("norm_means", True), options.get("norm_vars", True))

    def __init__(self, norm_means: bool = True, norm_vars: bool = True) -> None:
        self.norm_means, self.norm_vars = norm_means, norm_vars

    def __repr__(self) -> str:
        return f"{type(self).__name__}(norm_means={self.norm_means}, norm_vars={self.norm_vars})"

    def __call__(self, x: Any) -> Any:
        mean = x.mean(axis=0)
        variance = (x**2).sum(axis=0) / x.shape[0] - mean**2
        if self.norm_means:
            x = x - mean
        if self.norm_vars:
            x = x / np.sqrt(np.maximum(variance, SMALLEST_VARIANCE))
        return x
