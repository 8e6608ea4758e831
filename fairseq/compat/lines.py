"""Line reading as plugins of the 0.8 to 0.10 releases import it (``from fairseq.binarizer import safe_readline``)."""

from __future__ import annotations

import io
from typing import IO

__all__ = ["safe_readline"]

LONGEST_CHARACTER = 4


def safe_readline(f: IO[str]) -> str:
    """Read to the end of the line from a position that may lie inside a multi-byte character.

    The position moves back, by at most three bytes, to where a character begins.

    Raises:
        UnicodeDecodeError: the text is not UTF-8.
    """
    start = f.tell()
    for back in range(LONGEST_CHARACTER):
        try:
            return f.readline()
        except UnicodeDecodeError:
            if back == LONGEST_CHARACTER - 1 or start - back - 1 < 0:
                raise
            f.seek(start - back - 1, io.SEEK_SET)
    return ""
