"""Which numbers a run computes with.

A ``Precision`` is chosen once from the options. It says what dtype model and samples have, and which optimizer wrapper
keeps float32 copies or scales the loss. The training step itself knows none of this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

__all__ = ["Precision", "choose_precision"]


@dataclass(frozen=True)
class Precision:
    """One way to compute.

    Attributes:
        name: fp32, fp16, bf16 or amp.
        dtype: of parameters and float samples; ``None`` leaves both as they are (float32).
        memory_efficient: no float32 copy of the parameters.
        scales_loss: the optimizer wrapper scales the loss, and so meets overflows that are no errors.
        is_sharded: workers hold shards of float32 parameters, which are rounded when they are gathered.
    """

    name: str
    dtype: torch.dtype | None = None
    memory_efficient: bool = False
    scales_loss: bool = False
    is_sharded: bool = False

    def convert_module(self, module: nn.Module) -> nn.Module:
        """Parameters and float buffers in this precision, in place."""
        if self.dtype is None or (self.is_sharded and not self.memory_efficient):
            return module
        return module.to(dtype=self.dtype)

    def convert_sample(self, sample: Any) -> Any:
        """float32 tensors of a batch in this precision; indices, masks and other dtypes stay."""
        if self.dtype is None:
            return sample
        from fairseq import utils

        def convert(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.to(dtype=self.dtype) if tensor.dtype is torch.float32 else tensor

        return utils.apply_to_sample(convert, sample)

    def build_optimizer(self, cfg: Any, params: list[nn.Parameter]) -> Any:
        """The optimizer of a run, wrapped as this precision needs.

        Raises:
            ValueError: ``optimizer is required!``, or one that cannot work in this precision.
        """
        from fairseq import optim

        if self.name == "amp":
            return optim.AMPOptimizer.build_optimizer(cfg, params)
        if self.dtype is None:
            return optim.build_optimizer(cfg.optimizer, params)
        if self.memory_efficient or self.is_sharded:
            # Shards are float32 unless memory matters more, so any optimizer can update them in place.
            allow = self.is_sharded and not self.memory_efficient
            return optim.MemoryEfficientFP16Optimizer.build_optimizer(cfg, params, allow_unsupported=allow)
        return optim.FP16Optimizer.build_optimizer(cfg, params)


def choose_precision(common: Any, is_sharded: bool = False) -> Precision:
    """Read ``--fp16``, ``--bf16``, ``--amp`` and their memory efficient forms.

    Args:
        common: the ``common`` section.
        is_sharded: whether parameters are spread over workers (``--ddp-backend fully_sharded``).

    Raises:
        AssertionError: ``--fp16`` with ``--amp``.
        ValueError: ``--fp16`` with ``--bf16``.
    """
    if common.fp16 and common.amp:
        raise AssertionError("Cannot use fp16 and AMP together")
    if common.fp16 and common.bf16:
        raise ValueError("--fp16 and --bf16 cannot be combined: choose one of the two half precisions")
    if common.fp16:
        return Precision("fp16", torch.float16, common.memory_efficient_fp16, True, is_sharded)
    if common.bf16:
        return Precision("bf16", torch.bfloat16, common.memory_efficient_bf16, False, is_sharded)
    if common.amp:
        return Precision("amp", scales_loss=True)
    return Precision("fp32")
