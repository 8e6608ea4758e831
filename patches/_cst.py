"""LibCST, imported the first time one of its names is used.

Rule modules hold the cards too, and ``fairseq-patch list`` and ``explain`` read cards on machines without LibCST.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__all__ = ["MissingLibCST", "cst"]


class MissingLibCST(ImportError):
    """LibCST is needed and not installed; the text says how to get it."""


class _Lazy:
    def __getattr__(self, name: str) -> Any:
        try:
            module = importlib.import_module("libcst")
        except ModuleNotFoundError as err:
            raise MissingLibCST(
                "rewriting source needs LibCST, which is not installed here: "
                "pip install 'fairseq[patches]' (or: pip install libcst)"
            ) from err
        value = getattr(module, name)
        setattr(self, name, value)
        return value


if TYPE_CHECKING:
    import libcst as cst
else:
    cst = _Lazy()
