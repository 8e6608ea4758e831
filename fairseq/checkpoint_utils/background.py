"""Write checkpoints on a thread (``--write-checkpoints-asynchronously``).

Training waits only while the state is copied into memory. Files are finished in the order in which they were asked
for, so a copy or a removal never runs before the file it belongs to is complete; if that file fails, both are skipped.
"""

from __future__ import annotations

import atexit
import io
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

from fairseq.serialization.write import checksums_wanted, replacing, save_into, write_checksum

__all__ = ["WRITER", "BackgroundWriter"]

logger = logging.getLogger("fairseq.checkpoint_utils")


class BackgroundWriter:
    """One thread that runs jobs in order. At most one job waits while one runs: a slow disk slows training down
    instead of filling the memory with states."""

    def __init__(self) -> None:
        self._jobs: queue.Queue[tuple[Callable[[], None], str] | None] = queue.Queue(maxsize=3)
        self._thread: threading.Thread | None = None
        self._failed: dict[str, Exception] = {}
        self._lock = threading.Lock()

    def save(self, obj: Any, path: str, fill: Callable[[Any, Any], None] | None = None) -> None:
        """Take a copy of ``obj`` now, write it to ``path`` later; ``fill(obj, file)`` replaces the way it is copied."""
        buffer = io.BytesIO()
        if fill is None:
            save_into(buffer, obj)
        else:
            fill(obj, buffer)

        def write() -> None:
            with replacing(path) as out:
                out.write(buffer.getbuffer())
            if checksums_wanted():
                write_checksum(path)
            # Failures of older saves have been shown; what counts now is that there is a newer one.
            self._failed.clear()

        self._failed.pop(path, None)
        self._put(write, path)

    def submit(self, job: Callable[[], None], path: str) -> None:
        """Run ``job`` after the file ``path`` has been written; not at all if that failed."""
        self._put(job, path)

    def _put(self, job: Callable[[], None], path: str) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="checkpoint-writer", daemon=True)
                self._thread.start()
        self._jobs.put((job, path))

    def _run(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, path = item
            try:
                if path not in self._failed:
                    job()
            except Exception as error:  # shown now and raised by wait(): a thread has no caller to tell
                self._failed[path] = error
                bar = "!" * 100
                logger.error("%s\nNO CHECKPOINT WAS SAVED as %s: %s\n%s", bar, path, error, bar)
            finally:
                self._jobs.task_done()
        self._jobs.task_done()

    def check(self) -> None:
        """Raise the failure of the latest save that is over, if it failed; waits for nothing."""
        failed = list(self._failed.values())
        if failed:
            raise failed[-1]

    def wait(self) -> None:
        """Return when everything is on disk.

        Raises:
            Exception: the failure of the latest save, if it failed; older ones have been logged.
        """
        self._jobs.join()
        failed, self._failed = self._failed, {}
        if failed:
            raise list(failed.values())[-1]

    def close(self) -> None:
        """Finish all jobs and end the thread; failures have been logged."""
        if self._thread is not None and self._thread.is_alive():
            self._jobs.put(None)
            self._thread.join()
        self._thread = None


WRITER = BackgroundWriter()
atexit.register(WRITER.close)
