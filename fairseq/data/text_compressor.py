"""Short texts kept compressed, where millions of them are held in memory."""

from enum import Enum

__all__ = ["TextCompressionLevel", "TextCompressor"]


class TextCompressionLevel(Enum):
    """``low`` is fast (zlib), ``high`` is small (Unishox 2, made for short texts)."""

    none = 0
    low = 1
    high = 2


class TextCompressor:
    """Compresses and restores texts.

    Args:
        level: how.
        max_input_byte_length: longest text, in bytes, for ``high``.

    Raises:
        ImportError: ``high`` without the package ``unishox2-py3``.
    """

    def __init__(self, level: TextCompressionLevel, max_input_byte_length: int = 2**16) -> None:
        self.level = level
        self.max_input_length = max_input_byte_length
        if level == TextCompressionLevel.high:
            try:
                import unishox2  # noqa: F401
            except ImportError as error:
                raise ImportError("Please install unishox2: pip install unishox2-py3") from error

    def compress(self, text: str) -> bytes:
        """Text to bytes."""
        if self.level == TextCompressionLevel.low:
            import zlib

            return zlib.compress(text.encode())
        if self.level == TextCompressionLevel.high:
            import unishox2

            if len(text.encode()) > self.max_input_length:
                raise ValueError(f"a text of {len(text.encode())} bytes is over the limit of {self.max_input_length}")
            return unishox2.compress(text)[0]
        return text.encode()

    def decompress(self, compressed: bytes) -> str:
        """Bytes to text."""
        if self.level == TextCompressionLevel.low:
            import zlib

            return zlib.decompress(compressed).decode()
        if self.level == TextCompressionLevel.high:
            import unishox2

            return unishox2.decompress(compressed, self.max_input_length)
        return compressed.decode()
