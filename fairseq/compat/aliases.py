"""Old module paths: the same module object under a second name.

Identity matters: ``fairseq.metrics`` and ``fairseq.logging.metrics`` must share one set of aggregators, and checkpoints
of 2019 pickle ``fairseq.meters.AverageMeter``.
"""

from __future__ import annotations

import importlib
import sys

__all__ = ["ALIASES", "install"]

ALIASES = {
    # Up to 0.8.
    "fairseq.data.block_pair_dataset": "fairseq.data.legacy.block_pair_dataset",
    "fairseq.data.masked_lm_dataset": "fairseq.data.legacy.masked_lm_dataset",
    "fairseq.data.masked_lm_dictionary": "fairseq.data.legacy.masked_lm_dictionary",
    # Up to 0.9.
    "fairseq.bleu": "fairseq.scoring.bleu",
    "fairseq.legacy_distributed_data_parallel": "fairseq.distributed.legacy_distributed_data_parallel",
    # To this day.
    "fairseq.distributed_utils": "fairseq.distributed.utils",
    "fairseq.meters": "fairseq.logging.meters",
    "fairseq.metrics": "fairseq.logging.metrics",
    "fairseq.progress_bar": "fairseq.logging.progress_bar",
}


def install(alias: str) -> None:
    """Let ``import alias`` give the module that has its contents now. Called by the alias module itself."""
    module = importlib.import_module(ALIASES[alias])
    sys.modules[alias] = module
    # `import fairseq.metrics` looks into sys.modules, `from fairseq import metrics` at the parent's attribute.
    package, _, name = alias.rpartition(".")
    setattr(sys.modules[package], name, module)
