"""``--profile``: a trace of some updates, to be opened in a browser (chrome://tracing, ui.perfetto.dev).

The first updates are skipped (caches fill, memory is taken for the first time); twenty are recorded. Every worker
writes its own file, ``SAVE_DIR/profile/rank0.trace.json.gz``, and a table of the costliest operations goes to the log.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Any

import torch

__all__ = ["mark_update", "recorded"]

logger = logging.getLogger("fairseq_cli.train")

SKIPPED, WARM_UP, RECORDED = 5, 2, 20

_running: list[Any] = []


def mark_update() -> None:
    """Tell a running profiler that an update is complete."""
    for profiler in _running:
        profiler.step()


@contextlib.contextmanager
def recorded(cfg: Any, trainer: Any) -> Iterator[None]:
    """Profile inside the block if the config asks for it."""
    if not cfg.common.profile:
        yield
        return
    folder = os.path.join(cfg.checkpoint.save_dir, "profile")
    os.makedirs(folder, exist_ok=True)
    trace = os.path.join(folder, f"rank{trainer.data_parallel_rank}.trace.json.gz")
    activities = [torch.profiler.ProfilerActivity.CPU]
    if trainer.cuda:
        activities.append(torch.profiler.ProfilerActivity.CUDA)

    def write(profiler: Any) -> None:
        profiler.export_chrome_trace(trace)
        order = "cuda_time_total" if trainer.cuda else "cpu_time_total"
        logger.info("profile written to %s\n%s", trace, profiler.key_averages().table(sort_by=order, row_limit=25))

    schedule = torch.profiler.schedule(wait=SKIPPED, warmup=WARM_UP, active=RECORDED, repeat=1)
    with torch.profiler.profile(activities=activities, schedule=schedule, on_trace_ready=write) as profiler:
        _running.append(profiler)
        try:
            yield
        finally:
            _running.remove(profiler)
