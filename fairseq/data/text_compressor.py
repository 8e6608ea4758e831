"""Keep many short texts (file names, transcripts) in little memory."""

from __future__ import annotations

import enum
import zlib

__all__ = ["TextCompressionLevel", "TextCompressor"]


class TextCompressionLevel(enum.Enum):
    """How hard to try."""

    none = 0
    low = 1
    high = 2


ZLIB_LEVEL = {TextCompressionLevel.low: 1, TextCompressionLevel.high: 9}


class TextCompressor:
    """Turns text into bytes and back.

    Args:
        level: ``none`` stores UTF-8 as it is.
        max_input_byte_length: longer texts are refused, in either direction.
    """

    def __init__(self, level: TextCompressionLevel, max_input_byte_length: int = 2**16) -> None:
        self.level = level
        self.max_input_length = max_input_byte_length

    def compress(self, text: str) -> bytes:
        """The bytes of a text.

        Raises:
            ValueError: it is too long.
        """
        encoded = text.encode("utf-8")
        if len(encoded) > self.max_input_length:
            raise ValueError(f"a text of {len(encoded):,} bytes is longer than the limit of {self.max_input_length:,}")
        return zlib.compress(encoded, ZLIB_LEVEL[self.level]) if self.level in ZLIB_LEVEL else encoded

    def decompress(self, compressed: bytes) -> str:
        """The text of bytes that ``compress`` gave.

        Raises:
            ValueError: they are something else.
        """
        if self.level not in ZLIB_LEVEL:
            return compressed.decode("utf-8")
        unpacker = zlib.decompressobj()
        try:
            # Never more than the limit: a few hostile bytes can stand for gigabytes.
            encoded = unpacker.decompress(compressed, self.max_input_length)
        except zlib.error as error:
            raise ValueError(f"these bytes are no compressed text: {error}") from None
        if not unpacker.eof:
            raise ValueError(f"these bytes are no complete compressed text of up to {self.max_input_length:,} bytes")
        return encoded.decode("utf-8")
