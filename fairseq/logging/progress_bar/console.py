"""The four formats of ``--log-format``."""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

from fairseq.logging.progress_bar.base import (
    BaseProgressBar,
    format_stat,
    format_stats,
    log_line,
    logger,
    rename_logger,
)

__all__ = ["JsonProgressBar", "NoopProgressBar", "SimpleProgressBar", "TqdmProgressBar"]


class NoopProgressBar(BaseProgressBar):
    """Show nothing."""

    def __iter__(self) -> Iterator[Any]:
        yield from self.iterable

    def log(self, stats: Mapping[str, Any], tag: str | None = None, step: int | None = None) -> None:
        pass

    def print(self, stats: Mapping[str, Any], tag: str | None = None, step: int | None = None) -> None:
        pass


class _LineBar(BaseProgressBar):
    """One line per ``log_interval`` updates; remembers the index ``i`` of the current item and the ``size``."""

    def __init__(
        self, iterable: Any, epoch: int | None = None, prefix: str | None = None, log_interval: int = 1000
    ) -> None:
        super().__init__(iterable, epoch, prefix)
        self.log_interval = log_interval
        self.i: int | None = None
        self.size: int | None = None

    def __iter__(self) -> Iterator[Any]:
        self.size = len(self.iterable)
        for index, item in enumerate(self.iterable, start=self.n):
            self.i = index
            yield item

    def _is_due(self, step: int | None) -> bool:
        step = step or self.i or 0
        return bool(step > 0 and self.log_interval is not None and step % self.log_interval == 0)


class SimpleProgressBar(_LineBar):
    """``PREFIX:      3 / 40 loss=4.2, ppl=18.3`` during the epoch, ``PREFIX | loss 4.2 | ppl 18.3`` at its end."""

    def log(self, stats: Mapping[str, Any], tag: str | None = None, step: int | None = None) -> None:
        if self._is_due(step):
            done, total = (self.i or 0) + 1, self.size or 0
            with rename_logger(logger, tag):
                log_line(f"{self.prefix}:  {done:5d} / {total:d} {self._commas(stats)}")

    def print(self, stats: Mapping[str, Any], tag: str | None = None, step: int | None = None) -> None:
        self._print_pipes(stats, tag)


class JsonProgressBar(_LineBar):
    """One JSON object per line; every metric is a string. ``update`` is the position in epochs."""

    def __init__(
        self, iterable: Any, epoch: int | None = None, prefix: str | None = None, log_interval: int = 1000
    ) -> None:
        super().__init__(iterable, epoch, prefix, log_interval)
        self.stats: Mapping[str, Any] | None = None

    def log(self, stats: Mapping[str, Any], tag: str | None = None, step: int | None = None) -> None:
        if self._is_due(step):
            update = None
            if self.epoch is not None and self.size:
                update = self.epoch - 1 + ((self.i or 0) + 1) / self.size
            self._write(stats, tag, update)

    def print(self, stats: Mapping[str, Any], tag: str | None = None, step: int | None = None) -> None:
        self.stats = stats
        if tag is not None:
            self.stats = OrderedDict((f"{tag}_{key}", value) for key, value in stats.items())
        self._write(self.stats, tag, None)

    def _write(self, stats: Mapping[str, Any], tag: str | None, update: float | None) -> None:
        line: dict[str, Any] = {}
        if self.epoch is not None:
            line["epoch"] = self.epoch
        if update is not None:
            line["update"] = round(update, 3)
        line.update((key, format_stat(value)) for key, value in stats.items())
        with rename_logger(logger, tag):
            log_line(json.dumps(line, default=str))


class TqdmProgressBar(BaseProgressBar):
    """A tqdm bar during the epoch, the line of ``simple`` at its end."""

    def __init__(self, iterable: Any, epoch: int | None = None, prefix: str | None = None) -> None:
        super().__init__(iterable, epoch, prefix)
        from tqdm import tqdm

        self.tqdm = tqdm(
            iterable,
            self.prefix,
            leave=False,
            initial=self.n,
            disable=logger.getEffectiveLevel() > logging.INFO,
        )

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tqdm)

    def log(self, stats: Mapping[str, Any], tag: str | None = None, step: int | None = None) -> None:
        self.tqdm.set_postfix(format_stats(stats), refresh=False)

    def print(self, stats: Mapping[str, Any], tag: str | None = None, step: int | None = None) -> None:
        self._print_pipes(stats, tag)
