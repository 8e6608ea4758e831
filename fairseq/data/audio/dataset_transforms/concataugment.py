"""Utterances joined to longer ones."""

from collections.abc import Sequence
from typing import Any, Optional

import numpy as np

from fairseq.data.audio.dataset_transforms import AudioDatasetTransform, register_audio_dataset_transform

__all__ = ["ConcatAugment"]

_RATE, _MAX_TOKENS, _ATTEMPTS = 0.25, 3000, 5


@register_audio_dataset_transform("concataugment")
class ConcatAugment(AudioDatasetTransform):
    """Chooses, with numpy's global generator, what an utterance is joined with.

    Args:
        rate: share of the utterances that are joined.
        max_tokens: both together are shorter than this, in frames; 0 for no limit.
        attempts: utterances that are tried.
    """

    @classmethod
    def from_config_dict(cls, config: Optional[dict[str, Any]] = None) -> "ConcatAugment":
        options = config or {}
        return ConcatAugment(
            options.get("rate", _RATE), options.get("max_tokens", _MAX_TOKENS), options.get("attempts", _ATTEMPTS)
        )

    def __init__(self, rate: float = _RATE, max_tokens: int = _MAX_TOKENS, attempts: int = _ATTEMPTS) -> None:
        self.rate, self.max_tokens, self.attempts = rate, max_tokens, attempts

    def __repr__(self) -> str:
        return f"{type(self).__name__}(rate={self.rate}, max_tokens={self.max_tokens}, attempts={self.attempts})"

    def find_indices(self, index: int, n_frames: Sequence[int], n_samples: int) -> list[int]:
        """``[index]``, or ``[index, other]`` for two that become one.

        Args:
            n_frames: length of every utterance.
            n_samples: how many there are.
        """
        if np.random.random() > self.rate:
            return [index]
        limit = self.max_tokens if self.max_tokens > 0 else float("inf")
        if n_frames[index] > limit:
            return [index]
        for _ in range(self.attempts):
            other = np.random.randint(0, n_samples)
            if other != index and n_frames[index] + n_frames[other] < limit:
                return [index, other]
        return [index]
