"""One embedding for both sides: when that is possible."""

from __future__ import annotations

from typing import Any

__all__ = ["check_shared_embeddings"]

FLAG = "--share-all-embeddings"


def check_shared_embeddings(
    source: Any, target: Any, widths: tuple[int, int], paths: tuple[str | None, str | None]
) -> None:
    """Refuse ``--share-all-embeddings`` where the two sides need embeddings of their own.

    Args:
        source, target: dictionaries.
        widths, paths: of the encoder's and the decoder's embedding; a path is a file to load vectors from, if any.

    Raises:
        ValueError: the sides differ in something that is shared.
    """
    if source != target:
        raise ValueError(f"{FLAG} requires a joined dictionary")
    if widths[0] != widths[1]:
        needed = "--encoder-embed-dim to match --decoder-embed-dim"
        raise ValueError(f"{FLAG} requires {needed}: {widths[0]} and {widths[1]}")
    if paths[1] and paths[1] != paths[0]:
        raise ValueError(f"{FLAG} not compatible with --decoder-embed-path")
