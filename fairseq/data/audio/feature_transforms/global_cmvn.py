"""Mean and variance normalisation with statistics of the whole corpus."""

from typing import Any, Optional

import numpy as np

from fairseq.data.audio.feature_transforms import AudioFeatureTransform, register_audio_feature_transform
from fairseq.utils.source_names import naming_array

__all__ = ["GlobalCMVN"]


@register_audio_feature_transform("global_cmvn")
class GlobalCMVN(AudioFeatureTransform):
    """``(x - mean) / std`` per channel; ``stats_npz_path`` holds ``mean`` and ``std``, each ``(channels,)``."""

    @classmethod
    def from_config_dict(cls, config: Optional[dict[str, Any]] = None) -> "GlobalCMVN":
        path = (config or {}).get("stats_npz_path")
        if path is None:
            raise ValueError("global_cmvn needs stats_npz_path, a file with the arrays mean and std")
        return GlobalCMVN(path)

    def __init__(self, stats_npz_path: str) -> None:
        self.stats_npz_path = stats_npz_path
        with naming_array(str(stats_npz_path)), np.load(stats_npz_path) as stats:
            self.mean, self.std = stats["mean"], stats["std"]

    def __repr__(self) -> str:
        return f'{type(self).__name__}(stats_npz_path="{self.stats_npz_path}")'

    def __call__(self, x: Any) -> Any:
        return (x - self.mean) / self.std
