"""Optimizers and what wraps them. One optimizer per file, found by ``--optimizer``.

``FairseqOptimizer``             the interface that the trainer sees, around a ``torch.optim.Optimizer``
``FP16Optimizer`` ``MemoryEfficientFP16Optimizer`` ``AMPOptimizer``   reduced precision
``FairseqBMUF``                  block-wise model updates on many workers
``lr_scheduler``                 learning-rate schedules
"""

from collections.abc import Iterable
from typing import Any

from fairseq import registry
from fairseq._lazy import attach
from fairseq.optim.fairseq_optimizer import FairseqOptimizer, LegacyFairseqOptimizer

__all__ = [
    "AMPOptimizer",
    "FP16Optimizer",
    "FairseqBMUF",
    "FairseqOptimizer",
    "LegacyFairseqOptimizer",
    "MemoryEfficientFP16Optimizer",
    "OPTIMIZER_DATACLASS_REGISTRY",
    "OPTIMIZER_REGISTRY",
    "build_optimizer",
    "register_optimizer",
    "registry",
    "shard_",
]

_tables = registry.setup_registry("--optimizer", base_class=FairseqOptimizer, required=True)
if _tables is None:
    raise RuntimeError("the registry --optimizer was set up by other code before fairseq.optim was imported")
_build, register_optimizer, OPTIMIZER_REGISTRY, OPTIMIZER_DATACLASS_REGISTRY = _tables

__getattr__, __dir__ = attach(
    __name__,
    {
        "AMPOptimizer": "amp_optimizer",
        "FP16Optimizer": "fp16_optimizer",
        "FairseqBMUF": "bmuf",
        "MemoryEfficientFP16Optimizer": "fp16_optimizer",
        "shard_": "shard",
    },
)


def build_optimizer(cfg: Any, params: Iterable[Any], *extra_args: Any, **extra_kwargs: Any) -> FairseqOptimizer:
    """Build the optimizer that ``cfg._name`` (config section) or ``cfg.optimizer`` (flat namespace) names.

    Args:
        cfg: the options.
        params: parameters, or dicts of them (whose values are taken); those that need no gradient are left out.

    Raises:
        ValueError: no optimizer is named (``optimizer is required!``), or one that does not exist.
    """
    tensors = [tensor for entry in params for tensor in (entry.values() if isinstance(entry, dict) else (entry,))]
    trained = [tensor for tensor in tensors if tensor.requires_grad]
    return _build(cfg, trained, *extra_args, **extra_kwargs)
