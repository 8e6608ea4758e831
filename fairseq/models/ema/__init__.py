"""Exponential moving averages of a model's parameters (``--store-ema``)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from fairseq.models.ema.ema import EMA

__all__ = ["EMA", "build_ema"]


def build_ema(model: nn.Module, cfg: Any, device: torch.device | str | None) -> EMA:
    """Begin an average of ``model``, as the ``ema`` section of a config wants it, on ``device``."""
    return EMA(model, cfg, device)
