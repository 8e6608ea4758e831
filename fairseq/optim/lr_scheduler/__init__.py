"""Learning-rate schedules. One per file, found by ``--lr-scheduler``.

``FairseqLRScheduler``     base class
``register_lr_scheduler``  decorator
``build_lr_scheduler``     from a config section or a flat namespace to an instance
"""

from argparse import Namespace
from typing import Any

from fairseq import registry
from fairseq._lazy import attach
from fairseq.optim.lr_scheduler.fairseq_lr_scheduler import FairseqLRScheduler, LegacyFairseqLRScheduler

__all__ = [
    "FairseqLRScheduler",
    "LR_SCHEDULER_DATACLASS_REGISTRY",
    "LR_SCHEDULER_REGISTRY",
    "LegacyFairseqLRScheduler",
    "build_lr_scheduler",
    "build_lr_scheduler_",
    "register_lr_scheduler",
    "registry",
]

_tables = registry.setup_registry("--lr-scheduler", base_class=FairseqLRScheduler, default="fixed")
if _tables is None:
    raise RuntimeError("the registry --lr-scheduler was set up before fairseq.optim.lr_scheduler was imported")
build_lr_scheduler_, register_lr_scheduler, LR_SCHEDULER_REGISTRY, LR_SCHEDULER_DATACLASS_REGISTRY = _tables

__getattr__, __dir__ = attach(__name__)


def build_lr_scheduler(cfg: Any, optimizer: Any) -> FairseqLRScheduler:
    """Build the schedule that ``cfg._name`` (config section) or ``cfg.lr_scheduler`` (flat namespace) names.

    A namespace of an old checkpoint may have no ``lr_scheduler``: the schedule was ``fixed`` then.
    """
    if isinstance(cfg, Namespace) and not hasattr(cfg, "lr_scheduler"):
        cfg.lr_scheduler = "fixed"
    return build_lr_scheduler_(cfg, optimizer)
