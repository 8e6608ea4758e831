"""``--heartbeat-timeout``: end a job that makes no progress."""

from __future__ import annotations

import logging
import os
import signal as signals
import threading
from typing import Any

from torch import nn

__all__ = ["DistributedTimeoutWrapper"]

logger = logging.getLogger(__name__)

# Seconds between the signal and the end by force: a process that waits inside a device library does not heed signals.
GRACE = 60.0
FORCE = getattr(signals, "SIGKILL", signals.SIGTERM)


class DistributedTimeoutWrapper(nn.Module):
    """Send this process a signal when no forward pass happened for ``timeout`` seconds, and kill it if that is no use.

    The clock starts with the first forward pass. Attributes and state dictionaries are those of the wrapped module.

    Args:
        timeout: seconds; 0 or less switches the watch off.
        signal: what to send; SIGINT lets the program end as after Ctrl-C.
    """

    def __init__(self, module: nn.Module, timeout: float, signal: Any = signals.SIGINT) -> None:
        super().__init__()
        self.module = module
        self.timeout = timeout
        self.signal = signal
        self._heartbeat: threading.Event | None = None
        self._finished: threading.Event | None = None
        if timeout > 0:
            self._heartbeat = threading.Event()
            self._finished = threading.Event()
            threading.Thread(
                target=_watch,
                args=(self._heartbeat, self._finished, timeout, signal, os.getpid()),
                daemon=True,
                name="heartbeat",
            ).start()

    def __del__(self) -> None:
        self.stop_timeout()

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)

    def stop_timeout(self) -> None:
        """End the watch."""
        finished = self.__dict__.get("_finished")
        if finished is not None:
            finished.set()
            self._heartbeat.set()  # type: ignore[union-attr]

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """That of the wrapped module."""
        return self.module.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Into the wrapped module."""
        return self.module.load_state_dict(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self._heartbeat is not None:
            self._heartbeat.set()
        return self.module(*args, **kwargs)


def _watch(heartbeat: threading.Event, finished: threading.Event, timeout: float, signal: Any, process: int) -> None:
    heartbeat.wait()
    while not finished.is_set():
        heartbeat.clear()
        if not heartbeat.wait(timeout):
            logger.error(
                "Killing job for not making progress in %s seconds. --heartbeat-timeout=-1 switches this check off.",
                timeout,
            )
            os.kill(process, signal)
            if not finished.wait(GRACE):
                logger.error("The signal did not end the job within %s seconds: it is killed.", GRACE)
                os.kill(process, FORCE)
            return
