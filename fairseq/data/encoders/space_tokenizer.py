"""``--tokenizer space``: runs of white space become one space."""

import re
from typing import Any

from fairseq.data.encoders import register_tokenizer
from fairseq.dataclass.configs import FairseqDataclass

__all__ = ["SpaceTokenizer"]


@register_tokenizer("space", dataclass=FairseqDataclass)
class SpaceTokenizer:
    """Tokens separated by single spaces. ``decode`` changes nothing."""

    def __init__(self, *unused: Any) -> None:
        self.space_tok = re.compile(r"\s+")

    def encode(self, x: str) -> str:
        """Collapse white space."""
        return self.space_tok.sub(" ", x)

    def decode(self, x: str) -> str:
        """The text as it is."""
        return x
