"""How worker processes are started, and how many cores there are for them."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator
from multiprocessing.context import BaseContext
from pathlib import Path

__all__ = ["available_cores", "worker_context"]


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


def available_cores(root: str = "/") -> int:
    """How many cores this process may keep busy: by its affinity, and by the CPU quota of its control group.

    ``os.cpu_count`` counts all cores of the machine, also inside a container or a job that was given two of them.

    Args:
        root: where ``proc`` and ``sys`` are; for tests.

    Returns:
        At least 1.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for quota, period in _quotas(Path(root)):
        if quota > 0 and period > 0:
            count = min(count, -(-quota // period))
    return max(1, count)


def _quotas(root: Path) -> Iterator[tuple[int, int]]:
    """Quota and period, in microseconds, of the process's control group and of those above it."""
    base = root / "sys" / "fs" / "cgroup"
    try:
        lines = (root / "proc" / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return  # not Linux
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # Version 2 has no names of controllers. In a container, the group's own folder may be the root.
        top = base if not controllers else base / "cpu"
        group = top / path.lstrip("/")
        for folder in dict.fromkeys((group, *group.parents, top)):
            if folder == top or top in folder.parents:
                yield from _quota_of(folder)


def _quota_of(folder: Path) -> Iterator[tuple[int, int]]:
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            words = [word for name in names for word in (folder / name).read_text(encoding="utf-8").split()]
            yield int(words[0]), int(words[1])
        except (OSError, ValueError, IndexError):
            pass  # no such file, or "max": no limit
