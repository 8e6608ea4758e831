"""Reading ahead on a thread, so that the next batches are ready while the model computes."""

import logging
import queue
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, Optional

import torch

from fairseq.data.iterators.at_exit import end_before_exit

__all__ = ["BackgroundConsumer", "BufferedIterator"]

logger = logging.getLogger("fairseq.data.iterators")

_END = object()
SECONDS_BEFORE_FIRST_WARNING = 5 * 60
SECONDS_BETWEEN_WARNINGS = 15 * 60


def length_of(iterable: Any) -> int:
    """Its length; a number beyond reach for a stream that cannot tell it."""
    try:
        return len(iterable)
    except TypeError:
        return sys.maxsize


class BackgroundConsumer(threading.Thread):
    """Moves items from ``source`` into ``queue`` until the source ends, fails, or :meth:`stop` is called.

    Args:
        queue: bounded; receives the items, then an end mark, or the exception that ended it.
        source: what is read.
        max_len: items at most; ``None`` for all.
        cuda_device: current device on this thread, for pinned memory; ``None`` without CUDA.
    """

    def __init__(
        self, queue: "queue.Queue[Any]", source: Any, max_len: Optional[int], cuda_device: Optional[int]
    ) -> None:
        super().__init__(daemon=True, name="fairseq-read-ahead")
        self._queue = queue
        self._source = source
        self._max_len = max_len
        self._stopped = threading.Event()
        self.count = 0
        self.cuda_device = cuda_device
        end_before_exit(thread=self)

    def run(self) -> None:
        if self.cuda_device is not None:
            torch.cuda.set_device(self.cuda_device)
        try:
            for item in self._source:
                if not self._put(item):
                    return
                self.count += 1
                if self._max_len is not None and self.count >= self._max_len:
                    break
            self._put(_END)
        except Exception as error:  # handed to the consumer, who raises it
            self._put(error)

    def _put(self, item: Any) -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def stop(self) -> None:
        """Do not read any further; the thread ends soon after."""
        self._stopped.set()


class BufferedIterator:
    """Hands out the items of ``iterable`` while a thread keeps up to ``size`` of the next ones ready.

    The thread starts with the first item asked for and ends with the iterator, also when that is dropped half-way.
    """

    def __init__(self, size: int, iterable: Any) -> None:
        self._queue: queue.Queue[Any] = queue.Queue(size)
        self._iterable = iterable
        self._consumer: Optional[BackgroundConsumer] = None
        self.start_time = time.time()
        self.warning_time: Optional[float] = None
        self.total: int = length_of(iterable)

    def _start(self) -> BackgroundConsumer:
        device = torch.cuda.current_device() if torch.cuda.is_available() else None
        consumer = BackgroundConsumer(self._queue, self._iterable, self.total, device)
        consumer.start()
        return consumer

    def __iter__(self) -> Iterator[Any]:
        return self

    def __len__(self) -> int:
        return self.total

    def take(self, n: int) -> "BufferedIterator":
        """Read at most ``n`` items."""
        self.total = min(self.total, n)
        if hasattr(self._iterable, "take"):
            self._iterable.take(n)
        return self

    def __next__(self) -> Any:
        if self._consumer is None:
            self._consumer = self._start()
        self._warn_if_starving()
        item = self._queue.get(True)
        if isinstance(item, Exception):
            self.close()
            raise item
        if item is _END:
            # Further calls end as well.
            self._queue.put(_END)
            raise StopIteration
        return item

    def _warn_if_starving(self) -> None:
        if self._queue.qsize() >= min(2, max(1, self._queue.maxsize // 2)):
            return
        now = time.time()
        if now - self.start_time <= SECONDS_BEFORE_FIRST_WARNING:
            return
        if self.warning_time is None or now - self.warning_time > SECONDS_BETWEEN_WARNINGS:
            logger.debug(
                "the model waits for data: batches are used faster than they are read; more --num-workers may help"
            )
            self.warning_time = now

    def close(self) -> None:
        """Stop the thread."""
        if self._consumer is not None:
            self._consumer.stop()

    def __del__(self) -> None:
        self.close()
