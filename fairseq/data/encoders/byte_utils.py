"""Text as a sequence of bytes, each written as one printable character (Wang et al. 2019, byte-level BPE).

A byte that is a printable Latin character stands for itself, any other for the character 256 places further on.
"""

from __future__ import annotations

import re

__all__ = [
    "BCHAR_TO_BYTE",
    "BYTE_TO_BCHAR",
    "PRINTABLE_LATIN",
    "SPACE",
    "SPACE_ESCAPE",
    "WHITESPACE_NORMALIZER",
    "byte_decode",
    "byte_encode",
    "smart_byte_decode",
]

WHITESPACE_NORMALIZER = re.compile(r"\s+")
SPACE = chr(32)
SPACE_ESCAPE = chr(9601)
PRINTABLE_LATIN = {*range(32, 127), *range(161, 173), *range(174, 256)}
BYTE_TO_BCHAR = {byte: chr(byte if byte in PRINTABLE_LATIN else 256 + byte) for byte in range(256)}
BCHAR_TO_BYTE = {char: byte for byte, char in BYTE_TO_BCHAR.items()}

# No byte of any UTF-8 text, so it stands for characters that mean no byte.
NEVER_VALID = 0xFF


def byte_encode(x: str) -> str:
    """Write the bytes of a text as characters. White space becomes single spaces."""
    return "".join(BYTE_TO_BCHAR[byte] for byte in WHITESPACE_NORMALIZER.sub(SPACE, x).encode("utf-8"))


def byte_decode(x: str) -> str:
    """The inverse of ``byte_encode``; the empty string if the characters are not the bytes of a text."""
    try:
        return bytes(BCHAR_TO_BYTE[char] for char in x).decode("utf-8")
    except (KeyError, UnicodeDecodeError):
        return ""


def smart_byte_decode(x: str) -> str:
    """As ``byte_decode``, but where bytes are missing or wrong, as models produce them, the rest is kept.

    No two valid UTF-8 characters overlap, so leaving out what is invalid keeps as many characters as there can be.
    """
    return bytes(BCHAR_TO_BYTE.get(char, NEVER_VALID) for char in x).decode("utf-8", errors="ignore")
