"""Text tokenisation before scoring."""

from __future__ import annotations

import unicodedata
from typing import Any

from fairseq.dataclass.constants import ChoiceEnum

__all__ = ["ALL_TOKENIZER_TYPES", "SACREBLEU_V2_ABOVE", "EvaluationTokenizer"]

# Version 2 is required; the name stays because outside code asks for it.
SACREBLEU_V2_ABOVE = True
ALL_TOKENIZER_TYPES: Any = ChoiceEnum(
    ["none", "zh", "13a", "intl", "char", "ja-mecab", "ko-mecab", "spm", "flores101", "flores200", "spBLEU-1K"]
)


class EvaluationTokenizer:
    """sacreBLEU's tokenisers, then lower-casing, removal of punctuation or splitting into characters.

    Args:
        tokenizer_type: one of ``ALL_TOKENIZER_TYPES``.
        lowercase: lower-case the text.
        punctuation_removal: drop tokens that are punctuation only; works after tokenisation.
        character_tokenization: make every character a token; blanks become U+2581.

    Raises:
        ValueError: no such tokeniser.
    """

    SPACE = chr(32)
    SPACE_ESCAPE = chr(9601)
    ALL_TOKENIZER_TYPES = ALL_TOKENIZER_TYPES

    def __init__(
        self,
        tokenizer_type: Any = "13a",
        lowercase: bool = False,
        punctuation_removal: bool = False,
        character_tokenization: bool = False,
    ) -> None:
        from sacrebleu.metrics.bleu import _get_tokenizer

        name = str(tokenizer_type)
        if name not in [str(member) for member in ALL_TOKENIZER_TYPES]:
            known = ", ".join(str(member) for member in ALL_TOKENIZER_TYPES)
            raise ValueError(f"no tokenizer {name!r} for scoring; known: {known}")
        self.lowercase = lowercase
        self.punctuation_removal = punctuation_removal
        self.character_tokenization = character_tokenization
        self.tokenizer = _get_tokenizer(name)()

    @classmethod
    def remove_punctuation(cls, sent: str) -> str:
        """Drop tokens made of Unicode punctuation only."""
        return cls.SPACE.join(
            token for token in sent.split(cls.SPACE) if not all(unicodedata.category(c)[0] == "P" for c in token)
        )

    def tokenize(self, sent: str) -> str:
        """The tokens of a sentence, separated by blanks."""
        tokenized = self.tokenizer(sent)
        if self.punctuation_removal:
            tokenized = self.remove_punctuation(tokenized)
        if self.character_tokenization:
            tokenized = self.SPACE.join(list(tokenized.replace(self.SPACE, self.SPACE_ESCAPE)))
        return tokenized.lower() if self.lowercase else tokenized
