"""``--bpe sentencepiece`` (Kudo and Richardson 2018)."""

from dataclasses import dataclass
from typing import Any, Dict, Optional

from fairseq.data.encoders import register_bpe
from fairseq.data.encoders._files import needed_file, needed_package
from fairseq.dataclass.configs import MISSING, FairseqDataclass
from fairseq.dataclass.fields import option

__all__ = ["SentencepieceBPE", "SentencepieceConfig"]

WORD_START = "\u2581"
SPECIAL = ("<unk>", "<s>", "</s>", "<pad>")


@dataclass
class SentencepieceConfig(FairseqDataclass):
    """Options of ``--bpe sentencepiece``."""

    sentencepiece_model: str = option(MISSING, "file of the SentencePiece model")
    sentencepiece_enable_sampling: bool = option(False, "draw a segmentation at random (subword regularisation)")
    sentencepiece_alpha: Optional[float] = option(
        None, "how even the draw is: smoothing for unigram models, dropout probability for BPE models"
    )


@register_bpe("sentencepiece", dataclass=SentencepieceConfig)
class SentencepieceBPE:
    """Pieces separated by spaces; U+2581 begins a word.

    Raises:
        ValueError: no model was given.
        ImportError: sentencepiece is not installed.
    """

    def __init__(self, cfg: SentencepieceConfig) -> None:
        self.enable_sampling = cfg.sentencepiece_enable_sampling
        self.alpha = cfg.sentencepiece_alpha
        path = needed_file(cfg, "sentencepiece_model", "sentencepiece")
        self.sp = needed_package("sentencepiece").SentencePieceProcessor(model_file=path)

    def encode(self, x: str) -> str:
        """Cut a text into pieces."""
        sampling: Dict[str, Any] = {"enable_sampling": True} if self.enable_sampling else {}
        if self.enable_sampling and self.alpha is not None:
            sampling["alpha"] = self.alpha
        return " ".join(self.sp.Encode(x, out_type=str, **sampling))

    def decode(self, x: str) -> str:
        """Join pieces."""
        return x.replace(" ", "").replace(WORD_START, " ").strip()

    def is_beginning_of_word(self, x: str) -> bool:
        """Whether a piece begins a word; special symbols are words of their own."""
        return x in SPECIAL or x.startswith(WORD_START)
