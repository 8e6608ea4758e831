"""``--patience``: stop when validation no longer gets better."""

from __future__ import annotations

import logging
from typing import Any

from fairseq.dataclass.configs import CheckpointConfig
from fairseq.dataclass.lenient import lenient
from fairseq.trainer import run_state

__all__ = ["forget", "is_out_of_patience", "should_stop_early"]

logger = logging.getLogger("fairseq_cli.train")


def should_stop_early(cfg: Any, valid_loss: float | None) -> bool:
    """Whether the best value is ``--patience`` validations old.

    The best value and the number of validations since are attributes of this function (``best``, ``num_runs``), which
    programs read and reset. They are saved with checkpoints, and a resumed run goes on counting.

    Args:
        cfg: the whole config.
        valid_loss: of the validation just done; ``None`` (none was done) never stops.
    """
    options = lenient(cfg.checkpoint, CheckpointConfig)
    patience = options.patience
    if valid_loss is None or patience is None or patience <= 0:
        return False
    state = should_stop_early.__dict__
    best = state.get("best")
    larger_is_better = options.maximize_best_checkpoint_metric
    if best is None or (valid_loss > best if larger_is_better else valid_loss < best):
        state["best"], state["num_runs"] = valid_loss, 0
        return False
    state["num_runs"] = state.get("num_runs", 0) + 1
    if state["num_runs"] >= patience:
        logger.info("early stop since valid performance hasn't improved for last %s runs", patience)
        return True
    return False


def is_out_of_patience(cfg: Any) -> bool:
    """Whether the run that is resumed had been stopped by ``--patience``, as it is set now."""
    patience = cfg.checkpoint.patience
    return patience is not None and 0 < patience <= should_stop_early.__dict__.get("num_runs", 0)


def _notes() -> dict[str, Any]:
    state = should_stop_early.__dict__
    if state.get("best") is None:
        return {}
    return {"best": float(state["best"]), "num_runs": int(state.get("num_runs", 0))}


def _resume(notes: dict[str, Any]) -> None:
    best, num_runs = float(notes["best"]), int(notes["num_runs"])
    should_stop_early.__dict__.update(best=best, num_runs=num_runs)


run_state.keep("early_stop", _notes, _resume)


def forget() -> None:
    """Begin a new run in the same process."""
    should_stop_early.__dict__.clear()
