"""A model on several workers, under upstream's name; the work is in ``fairseq.distributed.wrap``."""

from __future__ import annotations

from typing import Any

from torch import nn

from fairseq.distributed.wrap import wrap_model

__all__ = ["DistributedFairseqModel"]


def DistributedFairseqModel(
    args: Any, model: nn.Module, process_group: Any, device: Any, compute_dtype: Any = None
) -> nn.Module:
    """Wrap a model (or a criterion with parameters) as ``args.ddp_backend`` says; see ``wrap_model``.

    Args:
        args: the ``distributed_training`` section, or a flat namespace with its options.
        model: the bare model.
        process_group: the workers that see different data.
        device: where this worker computes.
        compute_dtype: half precision in which a sharded model's float32 parameters are used.
    """
    return wrap_model(args, model, process_group, device, compute_dtype)
