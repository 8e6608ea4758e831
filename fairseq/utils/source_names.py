"""Say in an error which file it is about."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

__all__ = ["naming_source"]


@contextlib.contextmanager
def naming_source(name: str) -> Iterator[None]:
    """Add to a decoding error which file it is about; ``-`` is standard input."""
    try:
        yield
    except UnicodeDecodeError as error:
        where = "standard input" if name == "-" else name
        error.reason += f" ({where} must be UTF-8; convert it, for example with iconv)"
        raise
