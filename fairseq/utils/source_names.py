"""Say in an error which file it is about."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator

__all__ = ["naming_array", "naming_source"]


@contextlib.contextmanager
def naming_source(name: str) -> Iterator[None]:
    """Add to a decoding error which file it is about; ``-`` is standard input."""
    try:
        yield
    except UnicodeDecodeError as error:
        where = "standard input" if name == "-" else name
        error.reason += f" ({where} must be UTF-8; convert it, for example with iconv)"
        raise


@contextlib.contextmanager
def naming_array(name: str) -> Iterator[None]:
    """Add to NumPy's errors of reading arrays which file they are about.

    Raises:
        ValueError: the file is no readable array, or lacks one.
    """
    try:
        yield
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        # str() of a KeyError is the message in quotes.
        text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
        if "allow_pickle" in text:  # NumPy advises to run what is in the file
            text = "it holds Python objects or is no array at all"
        raise ValueError(f"{name} cannot be read as a file of NumPy arrays: {text}") from error
