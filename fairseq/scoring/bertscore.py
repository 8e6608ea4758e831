"""BERTScore (Zhang et al. 2020), computed by the package of its authors."""

import importlib.util
from dataclasses import dataclass
from typing import Any, List

import numpy as np

from fairseq.dataclass import FairseqDataclass
from fairseq.dataclass.fields import option
from fairseq.scoring import BaseScorer, register_scorer

__all__ = ["BertScoreScorer", "BertScoreScorerConfig"]


@dataclass
class BertScoreScorerConfig(FairseqDataclass):
    """Options of ``--scoring bert_score``."""

    bert_score_lang: str = option("en", "language of the texts, which chooses the model that compares them")


@register_scorer("bert_score", dataclass=BertScoreScorerConfig)
class BertScoreScorer(BaseScorer):
    """Mean F1 of the sentences."""

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        # Now, not after hours of generation; importing it takes seconds and is left for later.
        if importlib.util.find_spec("bert_score") is None:
            raise ImportError(
                "--scoring bert_score needs a package: pip install bert-score, or pip install 'fairseq[scoring]'"
            )
        self.cfg = cfg
        self.scores: List[float] = []

    def score(self, order: int = 4) -> float:
        if not self.pred:
            return 0.0
        import bert_score

        f1 = bert_score.score(self.pred, self.ref, lang=self.cfg.bert_score_lang)[2]
        self.scores = f1.tolist()
        return float(np.mean(self.scores))

    def result_string(self, order: int = 4) -> str:
        return f"BERTScore: {self.score():.4f}"
