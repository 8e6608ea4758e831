"""Being asked to leave: SIGTERM (schedulers, ``kill``) and SIGUSR1 (SLURM's ``--signal``).

The signal only sets a flag. Training looks at it between updates, saves, and the process ends with ``128 + signal``, so
that a script does not mistake it for a finished run; the same command goes on from there.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["Preempted", "leave_on_signals", "requested"]

logger = logging.getLogger("fairseq_cli.train")

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name))
_received: list[int] = []


class Preempted(SystemExit):
    """Training has saved its state because it was asked to leave."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


def requested() -> int:
    """The signal that asked this process to leave, or 0."""
    return _received[0] if _received else 0


def _remember(number: int, frame: FrameType | None) -> None:
    del frame
    if not _received:
        logger.warning("received %s: leaving after this update, with a checkpoint", signal.Signals(number).name)
    _received.append(number)


@contextlib.contextmanager
def leave_on_signals() -> Iterator[None]:
    """Handle the signals inside the block; handlers of the surrounding program come back afterwards."""
    _received.clear()
    if threading.current_thread() is not threading.main_thread():
        yield  # Python takes signals in the main thread only
        return
    before = {number: signal.signal(number, _remember) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None stands for a handler that was not installed from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        _received.clear()
