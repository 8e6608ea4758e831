"""LayerDrop: leave out whole layers at random in training (Fan et al. 2019, https://arxiv.org/abs/1909.11556)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import nn

__all__ = ["LayerDropModuleList"]


class LayerDropModuleList(nn.ModuleList):
    """A ``ModuleList`` that skips each module with probability ``p`` when it is iterated over in training.

    Every iteration draws ``len(self)`` uniform numbers from torch's CPU generator, in evaluation too and with ``p`` 0:
    what is drawn afterwards does not depend on the mode. In evaluation, and by index, all modules are there.

    Args:
        p: probability of leaving a layer out.
        modules: layers to begin with.
    """

    def __init__(self, p: float, modules: Iterable[nn.Module] | None = None) -> None:
        super().__init__(modules)
        if not 0 <= p <= 1:
            raise ValueError(f"LayerDrop leaves layers out with a probability from 0 to 1, not {p}")
        self.p = p

    def __iter__(self) -> Iterator[nn.Module]:
        draws = torch.empty(len(self)).uniform_().tolist()
        for draw, module in zip(draws, super().__iter__()):
            if not self.training or draw > self.p:
                yield module
