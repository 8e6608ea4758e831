"""``--tensorboard-logdir``: one event file per tag, in a folder of the tag's name."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any

from fairseq.logging.progress_bar.base import BaseProgressBar, WrappedProgressBar, logger, scalars, step_of

__all__ = ["TensorboardProgressBarWrapper", "close_writers", "find_writer_class"]

# One writer per folder for the whole process: an epoch's bar goes, the file stays.
_writers: dict[str, Any] = {}


def find_writer_class() -> Any:
    """``SummaryWriter`` of torch's own tensorboard support or of tensorboardX; ``None`` without either."""
    for package in ("torch.utils.tensorboard", "tensorboardX"):
        with contextlib.suppress(ImportError):
            return importlib.import_module(package).SummaryWriter
    return None


def close_writers() -> None:
    """Write out and close every event file."""
    while _writers:
        _, writer = _writers.popitem()
        writer.close()


class TensorboardProgressBarWrapper(WrappedProgressBar):
    """Send scalars to tensorboard: ``LOGDIR/TAG``, metric name without prefix, step = number of updates.

    Args:
        tensorboard_logdir: folder; made when the first metric arrives.
    """

    def __init__(self, wrapped_bar: BaseProgressBar, tensorboard_logdir: str) -> None:
        from fairseq.logging import progress_bar

        super().__init__(wrapped_bar)
        self.tensorboard_logdir = tensorboard_logdir
        self._writer_class = progress_bar.SummaryWriter
        if self._writer_class is None:
            logger.warning("tensorboard not found, please install with: pip install tensorboard")

    def __exit__(self, *exc: Any) -> Any:
        close_writers()
        return super().__exit__(*exc)

    def send(self, stats: Mapping[str, Any], tag: str | None, step: int | None) -> None:
        writer = self._writer(tag or "")
        if writer is None:
            return
        at = step_of(stats, step)
        for key, value in scalars(stats):
            writer.add_scalar(key, value, at)
        writer.flush()

    def _writer(self, tag: str) -> Any:
        if self._writer_class is None:
            return None
        folder = os.path.join(self.tensorboard_logdir, tag)
        if folder not in _writers:
            _writers[folder] = self._writer_class(folder)
            _writers[folder].add_text("sys.argv", str(sys.argv))
        return _writers[folder]
