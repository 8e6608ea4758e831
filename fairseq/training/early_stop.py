"""``--patience``: stop when validation no longer gets better."""

from __future__ import annotations

import logging
from typing import Any

__all__ = ["forget", "should_stop_early"]

logger = logging.getLogger("fairseq_cli.train")


def should_stop_early(cfg: Any, valid_loss: float | None) -> bool:
    """Whether the best value is ``--patience`` validations old.

    The best value and the number of validations since are attributes of this function (``best``, ``num_runs``): they
    belong to the process, and are not part of checkpoints.

    Args:
        cfg: the whole config.
        valid_loss: of the validation just done; ``None`` (none was done) never stops.
    """
    patience = cfg.checkpoint.patience
    if valid_loss is None or patience is None or patience <= 0:
        return False
    state = should_stop_early.__dict__
    best = state.get("best")
    larger_is_better = cfg.checkpoint.maximize_best_checkpoint_metric
    if best is None or (valid_loss > best if larger_is_better else valid_loss < best):
        state["best"], state["num_runs"] = valid_loss, 0
        return False
    state["num_runs"] = state.get("num_runs", 0) + 1
    if state["num_runs"] >= patience:
        logger.info("early stop since valid performance hasn't improved for last %s runs", patience)
        return True
    return False


def forget() -> None:
    """Begin a new run in the same process."""
    should_stop_early.__dict__.clear()
