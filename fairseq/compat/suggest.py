"""What to say when a name is not registered."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["near", "unknown_name"]

LISTED = 12  # more names than this are not put into a message


def near(name: str, known: Iterable[str], count: int = 4) -> list[str]:
    """The ``count`` registered names that look most like ``name``."""
    return difflib.get_close_matches(name, list(known), n=count, cutoff=0.5)


def unknown_name(option: str, name: str, known: Iterable[str]) -> str:
    """One message for an unknown choice: what was given, what comes close, where a plugin's name would come from."""
    names = sorted(known)
    close = near(name, names)
    if close:
        hint = f"Did you mean: {', '.join(close)}?"
    elif len(names) <= LISTED:
        hint = f"Known: {', '.join(names) or 'none'}."
    else:
        hint = f"None of the {len(names)} known names comes close; --help lists them."
    return f"{option} {name}: no such name. {hint} Names that a plugin registers need --user-dir."
