"""``--bpe bytes``: one token per byte of UTF-8."""

from typing import Any

from fairseq.data.encoders import register_bpe
from fairseq.data.encoders.byte_utils import SPACE, SPACE_ESCAPE, byte_encode, smart_byte_decode

__all__ = ["Bytes"]


@register_bpe("bytes")
class Bytes:
    """Bytes as characters, separated by spaces; a space is written U+2581."""

    def __init__(self, *unused: Any) -> None:
        pass

    @staticmethod
    def add_args(parser: Any) -> None:
        """There are no options."""

    @staticmethod
    def encode(x: str) -> str:
        """Separate the bytes of a text."""
        return SPACE.join(byte_encode(x).replace(SPACE, SPACE_ESCAPE))

    @staticmethod
    def decode(x: str) -> str:
        """Join bytes; incomplete characters are dropped."""
        return smart_byte_decode(x.replace(SPACE, "").replace(SPACE_ESCAPE, SPACE))
