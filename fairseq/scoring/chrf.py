"""chrF: F-score of character n-grams (Popovic 2015), computed by sacreBLEU."""

from dataclasses import dataclass
from typing import Any

from fairseq.dataclass import FairseqDataclass
from fairseq.scoring import BaseScorer, register_scorer

__all__ = ["ChrFScorer", "ChrFScorerConfig"]


@dataclass
class ChrFScorerConfig(FairseqDataclass):
    """``--scoring chrf`` has no options."""


@register_scorer("chrf", dataclass=ChrFScorerConfig)
class ChrFScorer(BaseScorer):
    """chrF over text."""

    def __init__(self, args: Any) -> None:
        super().__init__(args)
        import sacrebleu

        self.sacrebleu = sacrebleu

    def _corpus(self, order: int) -> Any:
        if order != 4:
            raise NotImplementedError(f"chrF has its own n-gram order; --order {order} does not apply")
        return self.sacrebleu.corpus_chrf(self.pred, [self.ref])

    def score(self, order: int = 4) -> float:
        return self._corpus(order).score

    def result_string(self, order: int = 4) -> str:
        return self._corpus(order).format()
