"""Keys of dictionaries that come from files: refused where they could share a hash.

A table of keys that all have one hash takes quadratic time to fill. Texts and bytes are hashed with a secret of the
process; numbers are not, and tuples of numbers neither.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fairseq.serialization.trees import measure

__all__ = ["KeyGuard", "Refused", "check_hashable"]

# Python hashes a number modulo 2^61 - 1.
_LARGE_KEY = 1 << 60
_MAX_ODD_KEYS = 10_000
_MAX_KEY_SIZE = 1000  # values in a tuple that is a key, shared ones counted each time


class Refused(Exception):
    """Why a file is turned down; becomes a CorruptCheckpointError with the file's name."""


def check_hashable(key: Any) -> None:
    """Refuse a tuple whose hash would take forever: a few bytes can nest one tuple twice in another, many times."""
    if isinstance(key, (tuple, frozenset)) and measure(key).size > _MAX_KEY_SIZE:
        raise Refused("a tuple that repeats itself is the key of a dictionary")


class KeyGuard:
    """Looks at all keys of one file, and at what its sets hold."""

    def __init__(self) -> None:
        self._num_odd = 0

    def check(self, keys: Iterable[Any]) -> None:
        """Refuse keys that could share a hash."""
        for key in keys:
            if isinstance(key, (str, bytes, float, bool, type(None))):
                continue
            if type(key) is int:
                if abs(key) >= _LARGE_KEY:
                    raise Refused("a number beyond 2^60 is the key of a dictionary")
                continue
            check_hashable(key)
            self._num_odd += 1
            if self._num_odd > _MAX_ODD_KEYS:
                raise Refused("too many keys of dictionaries are neither text nor numbers")
