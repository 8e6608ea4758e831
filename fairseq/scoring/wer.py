"""Word error rate."""

from dataclasses import dataclass
from typing import Any, Sequence

import numpy as np

from fairseq.dataclass import FairseqDataclass
from fairseq.dataclass.fields import option
from fairseq.scoring import BaseScorer, register_scorer
from fairseq.scoring.tokenizer import ALL_TOKENIZER_TYPES, EvaluationTokenizer

__all__ = ["WerScorer", "WerScorerConfig", "edit_distance"]


def edit_distance(first: Sequence[str], second: Sequence[str]) -> int:
    """Fewest insertions, deletions and substitutions that turn one sequence into the other (Levenshtein 1966)."""
    codes: dict[str, int] = {}
    a, b = (
        np.array([codes.setdefault(item, len(codes)) for item in items], dtype=np.int64) for items in (first, second)
    )
    steps = np.arange(len(b) + 1)
    row = steps.copy()
    for i, item in enumerate(a, start=1):
        best = np.empty_like(row)
        best[0] = i
        best[1:] = np.minimum(row[1:] + 1, row[:-1] + (b != item))
        # Insertions run along the row: best[j] = min over k <= j of best[k] + (j - k).
        row = np.minimum.accumulate(best - steps) + steps
    return int(row[-1])


@dataclass
class WerScorerConfig(FairseqDataclass):
    """Options of ``--scoring wer``."""

    wer_tokenizer: ALL_TOKENIZER_TYPES = option("none", "sacreBLEU tokenizer to apply first")
    wer_remove_punct: bool = option(False, "ignore punctuation")
    wer_char_level: bool = option(False, "compare characters instead of words")
    wer_lowercase: bool = option(False, "ignore case")


@register_scorer("wer", dataclass=WerScorerConfig)
class WerScorer(BaseScorer):
    """Edits per hundred reference words."""

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        self.ed = edit_distance
        self.tokenizer = EvaluationTokenizer(
            tokenizer_type=cfg.wer_tokenizer,
            lowercase=cfg.wer_lowercase,
            punctuation_removal=cfg.wer_remove_punct,
            character_tokenization=cfg.wer_char_level,
        )
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.distance = 0
        self.ref_length = 0

    def add_string(self, ref: str, pred: str) -> None:
        ref_items = self.tokenizer.tokenize(ref).split()
        pred_items = self.tokenizer.tokenize(pred).split()
        self.distance += self.ed(ref_items, pred_items)
        self.ref_length += len(ref_items)

    def result_string(self) -> str:
        return f"WER: {self.score():.2f}"

    def score(self) -> float:
        return 100.0 * self.distance / self.ref_length if self.ref_length > 0 else 0.0
