"""BLEU: over token ids (``--scoring bleu``), and over text with sacreBLEU (``--scoring sacrebleu``)."""

import ctypes
import math
from dataclasses import dataclass
from typing import Any, List

import numpy as np

from fairseq.dataclass import FairseqDataclass
from fairseq.dataclass.fields import option
from fairseq.scoring import BaseScorer, register_scorer
from fairseq.scoring.ngram_matches import ngram_statistics
from fairseq.scoring.tokenizer import ALL_TOKENIZER_TYPES, EvaluationTokenizer

__all__ = ["BleuConfig", "BleuStat", "SacrebleuConfig", "SacrebleuScorer", "Scorer"]

ORDER = 4
# Sentences to keep before counting them together.
PENDING = 4096


class BleuStat(ctypes.Structure):
    """Sums over sentences; a structure because code that talks to C libraries fills and reads one."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "reflen",
            "predlen",
            "match1",
            "count1",
            "match2",
            "count2",
            "match3",
            "count3",
            "match4",
            "count4",
        )
    ]


@dataclass
class SacrebleuConfig(FairseqDataclass):
    """Options of ``--scoring sacrebleu``."""

    sacrebleu_tokenizer: ALL_TOKENIZER_TYPES = option("13a", "tokenizer of sacreBLEU")
    sacrebleu_lowercase: bool = option(False, "ignore case")
    sacrebleu_char_level: bool = option(False, "compare characters instead of tokens")


@register_scorer("sacrebleu", dataclass=SacrebleuConfig)
class SacrebleuScorer(BaseScorer):
    """BLEU over text, comparable between systems (Post 2018)."""

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        import sacrebleu

        self.sacrebleu = sacrebleu
        self.tokenizer = EvaluationTokenizer(
            tokenizer_type=cfg.sacrebleu_tokenizer,
            lowercase=cfg.sacrebleu_lowercase,
            character_tokenization=cfg.sacrebleu_char_level,
        )

    def add_string(self, ref: str, pred: str) -> None:
        self.ref.append(self.tokenizer.tokenize(ref))
        self.pred.append(self.tokenizer.tokenize(pred))

    def _corpus(self, order: int) -> Any:
        if order != ORDER:
            raise NotImplementedError(f"sacreBLEU is computed with n-grams up to {ORDER}, not {order}")
        # The text is tokenized already.
        return self.sacrebleu.corpus_bleu(self.pred, [self.ref], tokenize="none")

    def score(self, order: int = ORDER) -> float:
        return self._corpus(order).score

    def result_string(self, order: int = ORDER) -> str:
        return self._corpus(order).format()


@dataclass
class BleuConfig(FairseqDataclass):
    """Special symbols for ``--scoring bleu``."""

    pad: int = option(1, "padding index")
    eos: int = option(2, "eos index")
    unk: int = option(3, "unk index")


@register_scorer("bleu", dataclass=BleuConfig)
class Scorer:
    """BLEU over token ids.

    Args:
        cfg: indices of the special symbols.
    """

    def __init__(self, cfg: Any) -> None:
        self.pad = cfg.pad
        self.eos = cfg.eos
        self.unk = cfg.unk
        self._sums = BleuStat()
        self._refs: List[Any] = []
        self._preds: List[Any] = []
        self.reset()

    def reset(self, one_init: bool = False) -> None:
        """Forget everything; with ``one_init``, n-grams longer than one start with one match in one (smoothing)."""
        self._refs, self._preds = [], []
        self._sums = BleuStat()
        for order in range(2, ORDER + 1) if one_init else ():
            setattr(self._sums, f"match{order}", 1)
            setattr(self._sums, f"count{order}", 1)

    def add(self, ref: Any, pred: Any) -> None:
        """Add one sentence.

        Args:
            ref, pred: 1-D tensors (or arrays) of token ids. Padding in front and padding or end marks behind do not
                count; unknown words of the reference match nothing.

        Raises:
            TypeError: something else than integers.
        """
        self._refs.append(self._content("ref", ref))
        self._preds.append(self._content("pred", pred))
        # A word that no prediction can have.
        self._refs[-1][self._refs[-1] == self.unk] = -999
        if len(self._refs) >= PENDING:
            self._count()

    def _content(self, name: str, tokens: Any) -> Any:
        ids = np.array(tokens.tolist() if hasattr(tokens, "tolist") else tokens)
        if ids.size and ids.dtype.kind not in "iu":
            raise TypeError(f"{name} must be a torch.IntTensor (got {type(tokens).__name__} of {ids.dtype})")
        ids = ids.astype(np.int64)
        if ids.size and ids.min() < 0:
            raise AssertionError(f"{name} holds the negative token id {ids.min()}")
        start, end = 0, len(ids)
        while start < end and ids[start] == self.pad:
            start += 1
        # One token always stays, be it an end mark.
        while end > start + 1 and ids[end - 1] in (self.eos, self.pad):
            end -= 1
        return ids[start:end]

    def _count(self) -> None:
        if not self._refs:
            return
        matches, counts = ngram_statistics(self._refs, self._preds, ORDER)
        sums = self._sums
        sums.reflen += sum(len(r) for r in self._refs)
        sums.predlen += sum(len(p) for p in self._preds)
        for order in range(1, ORDER + 1):
            for name, values in (("match", matches), ("count", counts)):
                setattr(sums, f"{name}{order}", getattr(sums, f"{name}{order}") + int(values[:, order - 1].sum()))
        self._refs, self._preds = [], []

    @property
    def stat(self) -> BleuStat:
        """Matches, counts and lengths of everything added."""
        self._count()
        return self._sums

    def score(self, order: int = ORDER) -> float:
        """BLEU, 0 to 100, with n-grams up to ``order``."""
        product = sum(math.log(p) if p > 0 else -math.inf for p in self.precision()[:order])
        return self.brevity() * math.exp(product / order) * 100

    def precision(self) -> List[float]:
        """Share of matching n-grams, for n = 1 .. 4."""
        stat = self.stat
        pairs = [(getattr(stat, f"match{n}"), getattr(stat, f"count{n}")) for n in range(1, ORDER + 1)]
        return [match / count if count > 0 else 0.0 for match, count in pairs]

    def brevity(self) -> float:
        """Penalty for predictions that are shorter than their references."""
        stat = self.stat
        if stat.predlen == 0:
            return 0.0
        return min(1, math.exp(1 - stat.reflen / stat.predlen))

    def result_string(self, order: int = ORDER) -> str:
        """``BLEU4 = 12.34, 50.0/20.0/9.0/4.0 (BP=1.000, ratio=1.050, syslen=63, reflen=60)``."""
        if order > ORDER:
            raise AssertionError("BLEU scores for order > 4 aren't supported")
        stat = self.stat
        precisions = "/".join(f"{p * 100:2.1f}" for p in self.precision()[:order])
        ratio = stat.predlen / stat.reflen if stat.reflen else 0.0
        return (
            f"BLEU{order} = {self.score(order=order):2.2f}, {precisions} "
            f"(BP={self.brevity():.3f}, ratio={ratio:.3f}, syslen={stat.predlen}, reflen={stat.reflen})"
        )
