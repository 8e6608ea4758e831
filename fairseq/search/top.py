"""The k best of very many numbers."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["divide_flat", "top_k"]


def top_k(values: Tensor, k: int, wide: int = 2048) -> tuple[Tensor, Tensor]:
    """``values.topk(k)`` over the last dimension, faster for wide rows on a CPU.

    A CPU selects the k best by moving whole rows; a maximum is a vectorised read. So the row is folded into columns,
    the k columns with the greatest maxima are found, and the k best must lie in those. The result is exact; only which
    of several equal values comes first may differ.

    Args:
        values: ``(rows, width)``.
        k: at most ``width``.
        wide: below this width one round is as fast as two.

    Returns:
        ``(values, indices)``, both ``(rows, k)``, in decreasing order.
    """
    rows, width = values.shape
    if values.device.type != "cpu" or width < wide or k * 16 > width:
        found, where = values.topk(k, dim=1)
        return found, where
    depth = 16
    columns = width // depth
    main = values[:, : columns * depth].view(rows, depth, columns)
    best_columns = main.amax(dim=1).topk(k, dim=1)[1]
    # All members of the chosen columns, and the few values that did not fill a row of the fold.
    offsets = torch.arange(0, columns * depth, columns, device=values.device)
    inside = (best_columns.unsqueeze(2) + offsets).view(rows, k * depth)
    rest = torch.arange(columns * depth, width, device=values.device).expand(rows, -1)
    candidates = torch.cat([inside, rest], dim=1)
    found, where = values.gather(1, candidates).topk(k, dim=1)
    return found, candidates.gather(1, where)


def divide_flat(indices: Tensor, vocab_size: int) -> tuple[Tensor, Tensor]:
    """Positions in a flattened ``(beam, vocab)`` -> ``(beams, tokens)``."""
    beams = torch.div(indices, vocab_size, rounding_mode="floor")
    return beams, indices - beams * vocab_size
