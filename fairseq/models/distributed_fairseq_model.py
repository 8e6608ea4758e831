"""A model on several workers, under upstream's name; the work is in ``fairseq.distributed.wrap``."""

from __future__ import annotations

from typing import Any

from torch import nn

from fairseq.distributed import (
    DistributedTimeoutWrapper,
    LegacyDistributedDataParallel,
    ModuleProxyWrapper,
    TPUDistributedDataParallel,
)
from fairseq.distributed.wrap import wrap_model

__all__ = [
    "DistributedFairseqModel",
    "DistributedTimeoutWrapper",
    "LegacyDistributedDataParallel",
    "ModuleProxyWrapper",
    "TPUDistributedDataParallel",
]


def DistributedFairseqModel(args: Any, model: nn.Module, process_group: Any, device: Any) -> nn.Module:
    """Wrap a model as ``args.ddp_backend`` says; see ``fairseq.distributed.wrap.wrap_model``.

    Args:
        args: the ``distributed_training`` section, or a flat namespace with its options.
        model: the bare model.
        process_group: the workers that see different data.
        device: this worker's device.
    """
    return wrap_model(args, model, process_group, device)
