"""``--tokenizer moses``: the rules of the Moses scripts (Koehn et al. 2007), by sacremoses."""

from dataclasses import dataclass

from fairseq.data.encoders import register_tokenizer
from fairseq.data.encoders._files import needed_package
from fairseq.dataclass.configs import FairseqDataclass
from fairseq.dataclass.fields import option

__all__ = ["MosesTokenizer", "MosesTokenizerConfig"]


@dataclass
class MosesTokenizerConfig(FairseqDataclass):
    """Options of ``--tokenizer moses``."""

    source_lang: str = option("en", "language of the text to tokenize")
    target_lang: str = option("en", "language of the text to detokenize")
    moses_no_dash_splits: bool = option(False, "keep hyphenated words together")
    moses_no_escape: bool = option(False, "do not write quotes, brackets and ampersands as HTML entities")


@register_tokenizer("moses", dataclass=MosesTokenizerConfig)
class MosesTokenizer:
    """Tokens separated by spaces.

    Raises:
        ImportError: sacremoses is not installed.
    """

    def __init__(self, cfg: MosesTokenizerConfig) -> None:
        sacremoses = needed_package("sacremoses")
        self.cfg = cfg
        self.tok = sacremoses.MosesTokenizer(cfg.source_lang)
        self.detok = sacremoses.MosesDetokenizer(cfg.target_lang)

    def encode(self, x: str) -> str:
        """Separate words and punctuation of a text in the source language."""
        return self.tok.tokenize(
            x,
            aggressive_dash_splits=not self.cfg.moses_no_dash_splits,
            return_str=True,
            escape=not self.cfg.moses_no_escape,
        )

    def decode(self, x: str) -> str:
        """Join tokens of the target language to a text."""
        return self.detok.detokenize(x.split())
