"""How good outputs are, by comparison with references.

``bleu``        BLEU over token ids, and sacreBLEU over text
``chrf`` ``meteor`` ``wer`` ``bertscore``   other measures over text
``tokenizer``   the text tokenisers that measures share
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from fairseq._lazy import attach
from fairseq.registry import setup_registry

__all__ = ["SCORER_REGISTRY", "BaseScorer", "build_scorer", "is_plain_bleu", "register_scorer"]

__getattr__, __dir__ = attach(__name__)


class BaseScorer(ABC):
    """Collects references and predictions as text and scores them together.

    Args:
        cfg: the scorer's own config.
    """

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg
        self.ref: list[str] = []
        self.pred: list[str] = []

    def add_string(self, ref: str, pred: str) -> None:
        """Add one sentence: the reference and what was predicted."""
        for texts, text in ((self.pred, pred), (self.ref, ref)):
            texts.append(text)

    @abstractmethod
    def score(self) -> float:
        """The score of everything added."""

    @abstractmethod
    def result_string(self) -> str:
        """The score as a line of text."""


_registry = setup_registry("--scoring", default="bleu")
assert _registry is not None
_build_scorer, register_scorer, SCORER_REGISTRY, SCORER_DATACLASS_REGISTRY = _registry


def is_plain_bleu(choice: Any) -> bool:
    """Whether ``--scoring`` (a name, a config section or nothing) is BLEU over token ids, the default."""
    return (choice if isinstance(choice, str) else getattr(choice, "_name", None)) in (None, "bleu")


def build_scorer(choice: Any, tgt_dict: Any) -> Any:
    """Make a scorer.

    Args:
        choice: a name, or a config section with the name under ``_name``.
        tgt_dict: BLEU compares token ids and takes the special ones from here.
    """
    name = choice if isinstance(choice, str) else getattr(choice, "_name", None)
    if name == "bleu":
        from fairseq.scoring import bleu

        return bleu.Scorer(bleu.BleuConfig(pad=tgt_dict.pad(), eos=tgt_dict.eos(), unk=tgt_dict.unk()))
    return _build_scorer(choice)
