"""Dropout that may stay on at inference."""

from __future__ import annotations

import logging
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["FairseqDropout"]

logger = logging.getLogger(__name__)


class FairseqDropout(nn.Module):
    """Dropout with probability ``p``.

    Args:
        p: probability of zeroing an element, in ``[0, 1]``.
        module_name: class name of the owner; ``--retain-dropout-modules`` selects by it.
    """

    def __init__(self, p: float, module_name: str | None = None) -> None:
        super().__init__()
        self.p = p
        self.module_name = module_name
        self.apply_during_inference = False

    def forward(self, x: Tensor, inplace: bool = False) -> Tensor:
        """Drop elements of ``x`` (any shape) in training, or always after ``--retain-dropout``."""
        if self.p > 0 and (self.training or self.apply_during_inference):
            return F.dropout(x, p=self.p, training=True, inplace=inplace)
        return x

    def make_generation_fast_(
        self,
        name: str,
        retain_dropout: bool = False,
        retain_dropout_modules: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Keep dropping at inference if asked to; ``retain_dropout_modules=None`` means every module."""
        if not retain_dropout:
            return
        if retain_dropout_modules is not None and self.module_name is None:
            logger.warning("dropout stays off at inference for %s: it belongs to no named module", name)
            return
        wanted = None if retain_dropout_modules is None else {_plain(module) for module in retain_dropout_modules}
        if wanted is None or _plain(str(self.module_name)) in wanted:
            logger.info("dropout stays on at inference for %s (%s)", name, self.module_name)
            self.apply_during_inference = True
        else:
            logger.info("dropout is off at inference for %s (%s)", name, self.module_name)


def _plain(module_name: str) -> str:
    # TransformerDecoderBase and TransformerDecoder are one thing to the user.
    return module_name[: -len("Base")] if module_name.endswith("Base") else module_name
