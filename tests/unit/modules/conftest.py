"""Fixtures of a tiny transformer."""

from tiny_transformer import batch, build, dictionary

__all__ = ["batch", "build", "dictionary"]
