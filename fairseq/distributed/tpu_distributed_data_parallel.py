"""The name of upstream's TPU wrapper; there is no TPU support here."""

from __future__ import annotations

from typing import Any

from torch import nn

from fairseq.distributed import utils  # noqa: F401  (plug-ins import it from here)
from fairseq.utils.devices import NO_TPU

__all__ = ["TPUDistributedDataParallel"]


class TPUDistributedDataParallel(nn.Module):
    """Raises ``RuntimeError`` when it is made."""

    def __init__(self, module: nn.Module, process_group: Any) -> None:
        super().__init__()
        raise RuntimeError(NO_TPU)

    def all_reduce_grads(self) -> None:
        raise RuntimeError(NO_TPU)

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        raise RuntimeError(NO_TPU)
