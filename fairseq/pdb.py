"""A debugger for worker processes: ``from fairseq import pdb; pdb.set_trace()``.

``multiprocessing`` gives children an empty stdin; this one reads the terminal that the job was started from, and lets
one process at a time have it.
"""

from __future__ import annotations

import multiprocessing
import os
import pdb
import sys
from typing import Any

__all__ = ["set_trace"]

_terminal: dict[str, Any] = {"fd": None, "stdin": None}
_one_at_a_time = multiprocessing.Lock()

try:
    _terminal["fd"] = sys.stdin.fileno()
except (AttributeError, OSError, ValueError):
    # No stdin (a service, pytest with capture): the debugger then works in the main process only.
    _terminal["fd"] = None


class MultiprocessingPdb(pdb.Pdb):
    """``pdb.Pdb`` on the parent's terminal."""

    def __init__(self) -> None:
        super().__init__(nosigint=True)

    def _cmdloop(self) -> None:
        own = sys.stdin
        with _one_at_a_time:
            try:
                if _terminal["fd"] is not None:
                    if _terminal["stdin"] is None:
                        _terminal["stdin"] = os.fdopen(_terminal["fd"])
                    sys.stdin = _terminal["stdin"]
                self.cmdloop()
            finally:
                sys.stdin = own


def set_trace() -> None:
    """Stop in the caller's frame."""
    MultiprocessingPdb().set_trace(sys._getframe().f_back)
