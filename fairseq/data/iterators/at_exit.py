"""What reads data ends before the program does."""

from __future__ import annotations

import atexit
import time
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fairseq.data.iterators.buffered import BackgroundConsumer

__all__ = ["end_before_exit"]

SECONDS_TO_END = 10  # of a thread when the program ends; a data loader looks after its workers every five seconds

_THREADS: weakref.WeakSet[BackgroundConsumer] = weakref.WeakSet()
_LOADERS: weakref.WeakSet[Any] = weakref.WeakSet()


def end_before_exit(thread: BackgroundConsumer | None = None, loader: Any = None) -> None:
    """Remember a thread that reads ahead, or a ``torch.utils.data.DataLoader``, without keeping it alive."""
    if thread is not None:
        _THREADS.add(thread)
    if loader is not None:
        _LOADERS.add(loader)


@atexit.register
def _end_threads_then_workers() -> None:
    """End both while they still can.

    A thread that comes back from torch into an interpreter that has ended takes the whole process down (``terminate
    called without an active exception``). A worker that is killed because its parent ends leaves its folder of sockets
    (``pymp-...``) in the temporary folder for good.
    """
    threads = [thread for thread in _THREADS if thread.is_alive()]
    for thread in threads:
        thread.stop()
    deadline = time.monotonic() + SECONDS_TO_END
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    for loader in list(_LOADERS):
        # Where a loader keeps persistent workers. PyTorch ends them when the last reference goes, and so too late.
        getattr(loader._iterator, "_shutdown_workers", lambda: None)()
