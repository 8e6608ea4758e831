"""METEOR (Banerjee & Lavie 2005), computed by NLTK."""

from dataclasses import dataclass
from typing import Any, List

import numpy as np

from fairseq.dataclass import FairseqDataclass
from fairseq.scoring import BaseScorer, register_scorer

__all__ = ["MeteorScorer", "MeteorScorerConfig"]


@dataclass
class MeteorScorerConfig(FairseqDataclass):
    """``--scoring meteor`` has no options."""


@register_scorer("meteor", dataclass=MeteorScorerConfig)
class MeteorScorer(BaseScorer):
    """Mean METEOR of the sentences; needs NLTK and its WordNet data."""

    def __init__(self, args: Any) -> None:
        super().__init__(args)
        try:
            import nltk
        except ImportError:
            raise ImportError(
                "--scoring meteor needs NLTK: pip install nltk, or pip install 'fairseq[scoring]'"
            ) from None
        self.nltk = nltk
        self.scores: List[float] = []

    def score(self, order: int = 4) -> float:
        from nltk.translate.meteor_score import single_meteor_score

        try:
            self.scores = [single_meteor_score(r.split(), p.split()) for r, p in zip(self.ref, self.pred)]
        except LookupError:
            raise LookupError("METEOR needs the WordNet data: python -m nltk.downloader wordnet") from None
        return float(np.mean(self.scores)) if self.scores else 0.0

    def result_string(self, order: int = 4) -> str:
        return f"METEOR: {self.score():.4f}"
