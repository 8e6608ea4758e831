"""Matrix products of a beam with what all its hypotheses share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["BeamableMM"]


class BeamableMM(nn.Module):
    """A batched product whose second factor is the same for all hypotheses of a sentence.

    In generation the second factor (encoder output) is repeated ``beam_size`` times. Taking it once makes
    ``sentences`` products of ``(beam, k) x (k, m)`` out of ``sentences * beam`` products of ``(1, k) x (k, m)``.

    Args:
        beam_size: number of hypotheses; ``None`` makes this an ordinary batched product.
    """

    def __init__(self, beam_size: int | None = None) -> None:
        super().__init__()
        self.beam_size = beam_size

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        """Multiply ``(batch, n, k)`` with ``(batch, k, m)``: ``(batch, n, m)``."""
        beam = self.beam_size
        # Nested for TorchScript, which forgets in a long condition that the beam is known.
        if not self.training and beam is not None:  # noqa: SIM102
            if input1.dim() == 3 and input1.size(1) == 1 and input1.size(0) % beam == 0:
                batch, _, width = input1.size()
                product = torch.bmm(input1.reshape(batch // beam, beam, width), input2[::beam])
                return product.view(batch, 1, -1)
        return torch.bmm(input1, input2)

    def set_beam_size(self, beam_size: int) -> None:
        """Change the number of hypotheses."""
        self.beam_size = beam_size
