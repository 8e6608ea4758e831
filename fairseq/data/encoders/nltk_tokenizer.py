"""``--tokenizer nltk``: the word tokenizer of NLTK."""

from typing import Any

from fairseq.data.encoders import register_tokenizer
from fairseq.data.encoders._files import needed_package
from fairseq.dataclass.configs import FairseqDataclass

__all__ = ["NLTKTokenizer"]


@register_tokenizer("nltk", dataclass=FairseqDataclass)
class NLTKTokenizer:
    """Tokens separated by spaces. There is no way back: ``decode`` changes nothing.

    Raises:
        ImportError: nltk is not installed.
    """

    def __init__(self, *unused: Any) -> None:
        self.word_tokenize = needed_package("nltk.tokenize", "nltk").word_tokenize

    def encode(self, x: str) -> str:
        """Separate words and punctuation.

        Raises:
            LookupError: NLTK's sentence models were not downloaded.
        """
        try:
            return " ".join(self.word_tokenize(x))
        except LookupError:
            # NLTK's own message is a banner of twenty lines.
            raise LookupError(
                "NLTK needs its sentence models: python -c \"import nltk; nltk.download('punkt_tab')\""
            ) from None

    def decode(self, x: str) -> str:
        """The text as it is."""
        return x
