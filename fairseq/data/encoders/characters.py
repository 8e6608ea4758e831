"""``--bpe characters``: one token per character."""

from typing import Any

from fairseq.data.encoders import register_bpe

__all__ = ["SPACE", "SPACE_ESCAPE", "Characters"]

SPACE = chr(32)
SPACE_ESCAPE = chr(9601)


@register_bpe("characters")
class Characters:
    """Characters separated by spaces; a space is written U+2581."""

    def __init__(self, *unused: Any) -> None:
        pass

    @staticmethod
    def add_args(parser: Any) -> None:
        """There are no options."""

    @staticmethod
    def encode(x: str) -> str:
        """Separate the characters of a text."""
        return SPACE.join(x.replace(SPACE, SPACE_ESCAPE))

    @staticmethod
    def decode(x: str) -> str:
        """Join characters."""
        return x.replace(SPACE, "").replace(SPACE_ESCAPE, SPACE)
