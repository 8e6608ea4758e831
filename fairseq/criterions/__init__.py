"""Criteria: what training minimises, and what it logs. One per file, found by ``--criterion``.

``FairseqCriterion``    base class; constructor arguments are filled from the options by name
``register_criterion``  decorator
``build_criterion``     from a config section or a flat namespace to an instance
"""

from argparse import Namespace
from typing import Any

from fairseq import registry
from fairseq._lazy import attach
from fairseq.criterions.fairseq_criterion import FairseqCriterion, LegacyFairseqCriterion

__all__ = [
    "CRITERION_DATACLASS_REGISTRY",
    "CRITERION_REGISTRY",
    "FairseqCriterion",
    "LegacyFairseqCriterion",
    "build_criterion",
    "build_criterion_",
    "register_criterion",
    "registry",
]

_tables = registry.setup_registry("--criterion", base_class=FairseqCriterion, default="cross_entropy")
if _tables is None:
    raise RuntimeError("the registry --criterion was set up by other code before fairseq.criterions was imported")
build_criterion_, register_criterion, CRITERION_REGISTRY, CRITERION_DATACLASS_REGISTRY = _tables

__getattr__, __dir__ = attach(__name__)


def build_criterion(cfg: Any, task: Any, from_checkpoint: bool = False) -> FairseqCriterion:
    """Build the criterion that ``cfg._name`` (config section) or ``cfg.criterion`` (flat namespace) names.

    Args:
        cfg: the options.
        task: given to the criterion; its target dictionary tells what padding is.
        from_checkpoint: drop fields that today's config class does not know instead of refusing them.
    """
    name = None if isinstance(cfg, (Namespace, str)) else getattr(cfg, "_name", None)
    if name is not None and name in CRITERION_DATACLASS_REGISTRY:
        from fairseq.dataclass.utils import merge_with_parent

        cfg = merge_with_parent(CRITERION_DATACLASS_REGISTRY[name](), cfg, from_checkpoint)
    return build_criterion_(cfg, task)
