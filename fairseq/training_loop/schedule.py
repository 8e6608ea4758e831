"""When to validate, save and stop: a pure function of the options and the position in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Decision", "decide", "stop_reason", "update_freq_of"]


@dataclass(frozen=True)
class Decision:
    """What happens after an update.

    Attributes:
        stop_reason: a sentence for the log, or ``None`` to go on.
        save: write checkpoints.
        validate: compute the validation loss first.
    """

    stop_reason: str | None
    save: bool
    validate: bool


def update_freq_of(cfg: Any, epoch: int) -> int:
    """Batches per update in an epoch counted from 1; the last entry of ``--update-freq`` repeats."""
    frequencies = cfg.optimization.update_freq
    return int(frequencies[min(epoch, len(frequencies)) - 1])


def stop_reason(cfg: Any, num_updates: int, seconds: float) -> str | None:
    """The sentence that says why training is over, by ``--max-update`` or ``--stop-time-hours``; or ``None``."""
    max_update, hours = cfg.optimization.max_update or 0, cfg.optimization.stop_time_hours
    if 0 < max_update <= num_updates:
        return f"Stopping training due to num_updates: {num_updates} >= max_update: {max_update}"
    if hours > 0 and seconds / 3600 > hours:
        return f"Stopping training due to cumulative_training_time: {seconds / 3600} > stop_time_hours: {hours} hour(s)"
    return None


def _falls_on(interval: int, num_updates: int) -> bool:
    return interval > 0 and num_updates > 0 and num_updates % interval == 0


def decide(cfg: Any, epoch: int, num_updates: int, end_of_epoch: bool, seconds: float) -> Decision:
    """Decide what follows an update.

    Args:
        cfg: the whole config.
        epoch: of the update, counted from 1.
        num_updates: including this one.
        end_of_epoch: no batch is left.
        seconds: spent in training so far.
    """
    reason = stop_reason(cfg, num_updates, seconds)
    stop = reason is not None
    late_enough = num_updates >= cfg.dataset.validate_after_updates
    save = (
        (end_of_epoch and epoch % cfg.checkpoint.save_interval == 0)
        or stop
        or (_falls_on(cfg.checkpoint.save_interval_updates, num_updates) and late_enough)
    )
    validate = (
        ((not end_of_epoch and save) or stop)
        or (end_of_epoch and epoch % cfg.dataset.validate_interval == 0)
        or _falls_on(cfg.dataset.validate_interval_updates, num_updates)
    )
    return Decision(reason, save, validate and late_enough and not cfg.dataset.disable_validation)
