"""An LSTM cell whose states sometimes stay as they were: zoneout (Krueger et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["LSTMCellWithZoneOut"]


class LSTMCellWithZoneOut(nn.Module):
    """In training each unit keeps its old value with probability ``prob``; in evaluation the mean of both is taken.

    Args:
        prob: in [0, 1].
        input_size, hidden_size, bias: as for ``nn.LSTMCell``.

    Raises:
        ValueError: ``prob`` is no probability.
    """

    def __init__(self, prob: float, input_size: int, hidden_size: int, bias: bool = True) -> None:
        super().__init__()
        if not 0.0 <= prob <= 1.0:
            raise ValueError(f"zoneout probability must be in [0, 1], got {prob}")
        self.prob = prob
        self.lstm_cell = nn.LSTMCell(input_size, hidden_size, bias=bias)

    def forward(self, x: Tensor, h: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """One step.

        Args:
            x: ``(B, input_size)``.
            h: hidden state and cell, ``(B, hidden_size)`` each.

        Returns:
            The next hidden state and cell.
        """
        hidden, cell = self.lstm_cell(x, h)
        return self.zoneout(h[0], hidden, self.prob), self.zoneout(h[1], cell, self.prob)

    def zoneout(self, h: Tensor, next_h: Tensor, prob: float) -> Tensor:
        """Mix an old and a new state of equal shape."""
        if self.training:
            keep = torch.empty_like(h).bernoulli_(prob)
            return keep * h + (1 - keep) * next_h
        return prob * h + (1 - prob) * next_h
