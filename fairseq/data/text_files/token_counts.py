"""Counting the words of large texts."""

from __future__ import annotations

from collections import Counter
from importlib import import_module
from typing import Any

__all__ = ["WordCounts", "compiled"]

# The version of the compiled module that this code works with.
KERNEL_VERSION = 1


def _compiled() -> Any:
    try:
        module = import_module("fairseq.data._kernels.token_table")
    except ImportError:
        return None
    return module if getattr(module, "KERNEL_VERSION", None) == KERNEL_VERSION else None


# ``fairseq.data._kernels.token_table``, or ``None`` where it was not built.
compiled = _compiled()


class WordCounts:
    """How often each word occurs: compiled where that was built, with ``collections.Counter`` elsewhere."""

    def __init__(self) -> None:
        self._table = None if compiled is None else compiled.WordTable()
        self._counts: Counter[str] = Counter()

    def add(self, text: str) -> None:
        """Count the words of a text, which are separated by white space."""
        if self._table is not None:
            try:
                self._table.count_words(text.encode())
                return
            except UnicodeEncodeError:
                pass  # lone surrogates, which no file in UTF-8 has
        self._counts.update(text.split())

    def total(self) -> Counter[str]:
        """All counts so far."""
        counts: Counter[str] = Counter() if self._table is None else Counter(dict(self._table.items()))
        counts.update(self._counts)
        return counts
