"""Cards without a rewrite (filled below)."""

from __future__ import annotations

from .model import Patch

__all__ = ["ADVICE"]

ADVICE: tuple[Patch, ...] = ()
