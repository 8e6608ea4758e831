"""How worker processes are started."""

from __future__ import annotations

import multiprocessing
import sys
from multiprocessing.context import BaseContext

__all__ = ["worker_context"]


def worker_context() -> BaseContext:
    """The way to start processes that read data.

    Returns:
        what the program has chosen with ``multiprocessing.set_start_method``, unless that is what Python does anyway;
        else, on Linux, forking. Python 3.14 no longer does that by default, but data sets of plugins hold what no
        other way can hand to a process (lambdas, open files), a forked worker shares the memory of its data set, and
        it need not import PyTorch again.
    """
    chosen = multiprocessing.get_start_method(allow_none=True)
    # Making a lock is enough for Python to settle on its default, so that is no sign of a choice.
    by_default = chosen in (None, multiprocessing.get_all_start_methods()[0])
    return multiprocessing.get_context("fork" if by_default and sys.platform == "linux" else chosen)
