"""Transposition as a module, for use in ``nn.Sequential``."""

from typing import Optional

from torch import Tensor, nn

__all__ = ["TransposeLast"]


class TransposeLast(nn.Module):
    """Swap the last dimension with another one.

    Args:
        deconstruct_idx: take this item of a tuple or list input first.
        tranpose_dim: the other dimension (the spelling is part of the interface).
    """

    def __init__(self, deconstruct_idx: Optional[int] = None, tranpose_dim: int = -2) -> None:
        super().__init__()
        self.deconstruct_idx = deconstruct_idx
        self.tranpose_dim = tranpose_dim

    def forward(self, x: Tensor) -> Tensor:
        """Return a transposed view; with ``deconstruct_idx``, ``x`` is a tuple or list."""
        if self.deconstruct_idx is not None:
            x = x[self.deconstruct_idx]
        result: Tensor = x.transpose(self.tranpose_dim, -1)
        return result
