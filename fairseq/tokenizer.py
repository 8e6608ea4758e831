"""Splitting a line of prepared text into its tokens."""

from __future__ import annotations

import re

__all__ = ["SPACE_NORMALIZER", "tokenize_line"]

SPACE_NORMALIZER = re.compile(r"\s+")


def tokenize_line(line: str) -> list[str]:
    r"""Split at runs of white space; an empty or blank line has no tokens.

    ``str.split`` and the regular expression ``\s+`` agree on what white space is (a test goes through all of Unicode),
    so no separate normalisation is needed.
    """
    return line.split()
