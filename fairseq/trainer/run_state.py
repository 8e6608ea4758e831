"""What a run remembers beyond the checkpoint layout that is shared with upstream.

Upstream loses these when a run is resumed: the counters of ``reduce_lr_on_plateau``, of loss scaling and of
``--patience``, the position within ``--ema-update-freq``. They are a few numbers, so they go into the checkpoint's
notes (``fairseq.serialization.notes``): other readers do not see them, and a file without them starts each of them
anew.

A part gives ``notes()``, a dictionary that JSON takes, and takes it back with ``resume(notes)``. Schedules, optimizers
and the EMA are asked directly; state that belongs to the process is announced with ``keep``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

__all__ = ["RUN", "keep", "make_notes", "resume_ema", "resume_optimizer", "resume_process", "resume_scheduler"]

logger = logging.getLogger("fairseq.trainer")

# The notes' entry for all of this.
RUN = "run"
Notes = dict[str, Any]
_process: dict[str, tuple[Callable[[], Notes], Callable[[Notes], None]]] = {}


def keep(name: str, notes: Callable[[], Notes], resume: Callable[[Notes], None]) -> None:
    """Let checkpoints hold state of this process under ``name``."""
    _process[name] = (notes, resume)


def make_notes(trainer: Any) -> Notes:
    """The notes of all parts, without those that have nothing to say."""
    parts = {
        "lr_scheduler": getattr(trainer.lr_scheduler, "notes", None),
        "optimizer": getattr(trainer.optimizer, "notes", None),
        "ema": getattr(trainer.ema, "notes", None),
        **{name: notes for name, (notes, _) in _process.items()},
    }
    found = {name: notes() for name, notes in parts.items() if notes is not None}
    return {name: notes for name, notes in found.items() if notes}


def resume_scheduler(trainer: Any, saved: Any) -> None:
    """Give the schedule its notes back."""
    _resume("lr_scheduler", getattr(trainer.lr_scheduler, "resume", None), saved)


def resume_optimizer(trainer: Any, saved: Any) -> None:
    """Give the optimizer its notes back."""
    _resume("optimizer", getattr(trainer.optimizer, "resume", None), saved)


def resume_ema(trainer: Any, saved: Any) -> None:
    """Give the averaged model its notes back."""
    _resume("ema", getattr(trainer.ema, "resume", None), saved)


def resume_process(saved: Any) -> None:
    """Give what was announced with ``keep`` its notes back."""
    for name, (_, resume) in _process.items():
        _resume(name, resume, saved)


def _resume(name: str, resume: Callable[[Notes], None] | None, saved: Any) -> None:
    notes = saved.get(name) if isinstance(saved, dict) else None
    if resume is None or not isinstance(notes, dict):
        return
    try:
        resume(notes)
    except (TypeError, ValueError, KeyError, OverflowError, RuntimeError) as error:
        # The notes are no part of the checkpoint's layout: a file whose notes were changed still loads.
        logger.warning("what the checkpoint says about %s is not understood and starts anew (%s)", name, error)
