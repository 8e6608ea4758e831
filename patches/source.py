"""Bytes of a source file <-> text, without losing a byte."""

from __future__ import annotations

import codecs
import io
import re
import tokenize
from dataclasses import dataclass

__all__ = ["LINK_TEXT", "Source", "UnreadableSource", "decode", "link_target"]

LINK = re.compile(rb"(?:\.{1,2}/)*[\w-][\w./-]*")
LINK_TEXT = (
    "is a link stored as text (to {}): it was copied or unpacked where links do not exist. Put the file or folder it "
    "names in its place"
)


class UnreadableSource(ValueError):
    """The bytes cannot be read as text; the message says why."""


@dataclass(frozen=True)
class Source:
    """Decoded file.

    Attributes:
        text: content with its own line ends, without a byte order mark.
        encoding: codec that gives the bytes back.
        mark: byte order mark of the file, or ``b""``.
        undeclared: True when the file is neither UTF-8 nor says what it is: Python refuses to import it.
    """

    text: str
    encoding: str
    mark: bytes = b""
    undeclared: bool = False

    def encode(self, text: str) -> bytes:
        """Bytes of ``text`` in this file's encoding.

        Raises:
            UnicodeEncodeError: the text has a character that the encoding lacks.
        """
        return self.mark + text.encode(self.encoding)


def decode(data: bytes) -> Source:
    """Read ``data`` in its declared encoding, else as UTF-8, else byte for byte as Latin-1.

    Raises:
        UnreadableSource: the declared encoding is unknown, is not the one of the bytes, or the file is binary.
    """
    if b"\0" in data:
        raise UnreadableSource("holds NUL bytes, so it is no source text")
    mark = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
    body = data[len(mark) :]
    try:
        # Without the mark, so that the codec found is the one to encode with.
        encoding, _ = tokenize.detect_encoding(io.BytesIO(body).readline)
    except SyntaxError as err:
        if "unknown encoding" in str(err):
            raise UnreadableSource(f"declares an encoding that Python does not know ({err})") from err
        return Source(body.decode("latin-1"), "latin-1", mark, undeclared=True)
    try:
        source = Source(body.decode(encoding), encoding, mark)
    except UnicodeDecodeError as err:
        if encoding == "utf-8" and not mark:
            return Source(body.decode("latin-1"), "latin-1", mark, undeclared=True)
        raise UnreadableSource(f"declares the encoding {encoding}, but its bytes are not ({err})") from err
    if source.encode(source.text) != data:
        raise UnreadableSource(f"does not survive a round trip through its encoding {encoding}")
    return source


def link_target(data: bytes) -> str | None:
    """Where a link leads whose path was written as the content of a file (zip archives, git on Windows)."""
    text = data.strip()
    if len(data) > 260 or not LINK.fullmatch(text) or not (b"/" in text or text.endswith(b".py")):
        return None
    return text.decode("ascii", "replace")
