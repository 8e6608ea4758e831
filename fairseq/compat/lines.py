"""What plugins of the 0.8 to 0.10 releases do with lines: read them (``fairseq.binarizer.safe_readline``) and join
their subwords (``fairseq.data.data_utils.process_bpe_symbol``)."""

from __future__ import annotations

import io
from typing import IO

__all__ = ["process_bpe_symbol", "safe_readline"]

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


def process_bpe_symbol(sentence: str, bpe_symbol: str | None) -> str:
    """Undo a subword segmentation: ``sentencepiece``, any continuation marker such as ``"@@ "``, or ``None``."""
    if bpe_symbol is None:
        return sentence
    if bpe_symbol == "sentencepiece":
        return sentence.replace(" ", "").replace("\u2581", " ").strip()
    return (sentence + " ").replace(bpe_symbol, "").rstrip()
