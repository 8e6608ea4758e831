"""A tokenizer and a subword encoder, one after the other, for preprocessing raw text."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from fairseq.data import encoders
from fairseq.tokenizer import tokenize_line

__all__ = ["EncodingTokenizer"]


class EncodingTokenizer:
    """Splits a line of raw text into the tokens that a model with these encoders reads.

    Args:
        tokenizer: has ``encode``; or ``None``.
        bpe: has ``encode``; or ``None``.
    """

    def __init__(self, tokenizer: Any, bpe: Any) -> None:
        self.steps = [step for step in (tokenizer, bpe) if step is not None]

    @classmethod
    def from_args(cls, args: Namespace, lang: str | None) -> EncodingTokenizer:
        """Build what ``--tokenizer`` and ``--bpe`` name.

        Args:
            args: the options.
            lang: the language of the text, for tokenizers with rules by language.
        """
        known = {**vars(args), "source_lang": lang or "en", "target_lang": lang or "en"}
        local = Namespace(**known)
        return cls(encoders.build_tokenizer(local), encoders.build_bpe(local))

    def __call__(self, line: str) -> list[str]:
        text = line.strip()
        for step in self.steps:
            text = step.encode(text)
        return tokenize_line(text)
