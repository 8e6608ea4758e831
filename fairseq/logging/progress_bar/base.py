"""The interface of progress bars, and how numbers are written."""

from __future__ import annotations

import contextlib
import logging
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from numbers import Number
from typing import Any

import numpy as np
from torch import Tensor

from fairseq.logging.meters import AverageMeter, StopwatchMeter, TimeMeter, safe_round

__all__ = [
    "BaseProgressBar",
    "WrappedProgressBar",
    "format_stat",
    "format_stats",
    "log_line",
    "logger",
    "rename_logger",
]

# One logger for all bars: --log-file hangs its handler here.
logger = logging.getLogger("fairseq.logging.progress_bar")


@contextlib.contextmanager
def rename_logger(logger: logging.Logger, new_name: str | None) -> Iterator[logging.Logger]:
    """Let records of ``logger`` carry another name inside the context (the tag of a metric line)."""
    old_name = logger.name
    if new_name is not None:
        logger.name = new_name
    try:
        yield logger
    finally:
        logger.name = old_name


def log_line(line: str) -> None:
    """Log a finished line of metrics as the message itself: programs parse ``record.msg``, so it takes no arguments."""
    logger.info(line)


def format_stat(stat: Any) -> Any:
    """One metric as text: numbers with six significant digits; a tensor with several values as a list."""
    if isinstance(stat, AverageMeter):
        return f"{stat.avg:.3f}"
    if isinstance(stat, TimeMeter):
        return f"{safe_round(stat.avg, 0):g}"
    if isinstance(stat, StopwatchMeter):
        return f"{safe_round(stat.sum, 0):g}"
    if isinstance(stat, (Tensor, np.ndarray)):
        size = stat.numel() if isinstance(stat, Tensor) else stat.size
        stat = stat.item() if size == 1 and stat.ndim == 0 else stat.tolist()
    return f"{stat:g}" if isinstance(stat, Number) and not isinstance(stat, complex) else stat


def format_stats(stats: Mapping[str, Any]) -> OrderedDict[str, str]:
    """All metrics as text, in order."""
    return OrderedDict((key, str(format_stat(value)).strip()) for key, value in stats.items())


class BaseProgressBar:
    """Iterate over something and show metrics now and then.

    Args:
        iterable: its attribute ``n``, if any, is the index of the first item (a resumed epoch).
        epoch: shown in the prefix as ``epoch 001``.
        prefix: further text for the prefix.
    """

    def __init__(self, iterable: Any, epoch: int | None = None, prefix: str | None = None) -> None:
        self.iterable = iterable
        self.n = getattr(iterable, "n", 0)
        self.epoch = epoch
        parts = [f"epoch {epoch:03d}"] if epoch is not None else []
        self.prefix = " | ".join([*parts, *([prefix] if prefix is not None else [])])

    def __len__(self) -> int:
        return len(self.iterable)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exc: Any) -> Any:
        return False

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError

    def log(self, stats: Mapping[str, Any], tag: str | None = None, step: int | None = None) -> None:
        """Show intermediate metrics, if it is time for it.

        Args:
            stats: metric name -> value or meter.
            tag: name of the logger that the line appears under (``train_inner``).
            step: number of updates.
        """
        raise NotImplementedError

    def print(self, stats: Mapping[str, Any], tag: str | None = None, step: int | None = None) -> None:
        """Show the metrics at the end of an epoch or a validation."""
        raise NotImplementedError

    def update_config(self, config: Mapping[str, Any]) -> None:
        """Record the run's configuration, where the bar has a place for it."""

    def _commas(self, stats: Mapping[str, Any]) -> str:
        return ", ".join(f"{key}={value}" for key, value in format_stats(stats).items())

    def _print_pipes(self, stats: Mapping[str, Any], tag: str | None) -> None:
        text = " | ".join(f"{key} {value}" for key, value in format_stats(stats).items())
        with rename_logger(logger, tag):
            log_line(f"{self.prefix} | {text}")


class WrappedProgressBar(BaseProgressBar):
    """A bar that shows what another one shows and also sends the metrics somewhere: override ``send``.

    Args:
        wrapped_bar: the bar on the console, or a further wrapper.
    """

    def __init__(self, wrapped_bar: BaseProgressBar) -> None:
        self.wrapped_bar = wrapped_bar
        self.iterable = getattr(wrapped_bar, "iterable", wrapped_bar)
        self.n = getattr(wrapped_bar, "n", 0)
        self.epoch = getattr(wrapped_bar, "epoch", None)
        self.prefix = getattr(wrapped_bar, "prefix", "")

    def __len__(self) -> int:
        return len(self.wrapped_bar)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.wrapped_bar)

    def __enter__(self) -> Any:
        self.wrapped_bar.__enter__()
        return self

    def __exit__(self, *exc: Any) -> Any:
        return self.wrapped_bar.__exit__(*exc)

    def log(self, stats: Mapping[str, Any], tag: str | None = None, step: int | None = None) -> None:
        self.send(stats, tag, step)
        self.wrapped_bar.log(stats, tag=tag, step=step)

    def print(self, stats: Mapping[str, Any], tag: str | None = None, step: int | None = None) -> None:
        self.send(stats, tag, step)
        self.wrapped_bar.print(stats, tag=tag, step=step)

    def update_config(self, config: Mapping[str, Any]) -> None:
        self.wrapped_bar.update_config(config)

    def send(self, stats: Mapping[str, Any], tag: str | None, step: int | None) -> None:
        """Deliver the metrics."""
        raise NotImplementedError


def scalars(stats: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The metrics that are one number; ``num_updates`` is the step, not a metric."""
    for key, value in stats.items():
        if key == "num_updates":
            continue
        if isinstance(value, AverageMeter):
            value = value.val
        if isinstance(value, (Tensor, np.ndarray)):
            size = value.numel() if isinstance(value, Tensor) else value.size
            value = value.item() if size == 1 else None
        if isinstance(value, Number) and not isinstance(value, complex):
            yield key, value  # type: ignore[misc]


def step_of(stats: Mapping[str, Any], step: int | None) -> int:
    """The given step, or the number of updates among the metrics."""
    return int(stats.get("num_updates", 0)) if step is None else step
