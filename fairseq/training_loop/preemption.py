"""Being asked to leave: SIGTERM (schedulers, ``kill``) and SIGUSR1 (SLURM's ``--signal``).

The signal only sets a flag. Training looks at it between updates, saves, and the process ends with ``128 + signal``, so
that a script does not mistake it for a finished run; the same command goes on from there.

Signals belong to the program. The commands ask for this handling with ``command``; a program that calls
``fairseq_cli.train.main`` keeps its own handlers, unless it sets ``FAIRSEQ_LEAVE_ON_SIGNALS=1``.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["LEAVE_ENV", "Preempted", "command", "leave_if_command", "leave_on_signals", "requested"]

logger = logging.getLogger("fairseq_cli.train")

LEAVE_ENV = "FAIRSEQ_LEAVE_ON_SIGNALS"

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
def command() -> Iterator[None]:
    """Inside, this process is a command of ours: training in it, and in workers that it starts, heeds the signals."""
    before = os.environ.get(LEAVE_ENV)
    # The number of the process, so that a job that only inherits the variable (a Hydra launcher's) is not meant.
    os.environ[LEAVE_ENV] = str(os.getpid())
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(LEAVE_ENV, None)
        else:
            os.environ[LEAVE_ENV] = before


def leave_if_command() -> contextlib.AbstractContextManager[None]:
    """``leave_on_signals`` in a command and in its workers; a block without effect in any other program."""
    asked = os.environ.get(LEAVE_ENV, "")
    is_ours = asked == "1" or asked in (str(os.getpid()), str(os.getppid()))
    return leave_on_signals() if is_ours else contextlib.nullcontext()


@contextlib.contextmanager
def leave_on_signals() -> Iterator[None]:
    """Handle the signals inside the block; handlers of the surrounding program come back afterwards."""
    _received.clear()
    if threading.current_thread() is not threading.main_thread():
        yield  # Python takes signals in the main thread only
        return
    # A handler that was not installed from Python shows as None and could not be put back: it is left in place.
    taken = [number for number in _SIGNALS if signal.getsignal(number) is not None]
    before = {number: signal.signal(number, _remember) for number in taken}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _received.clear()
