"""Work on the parts of a text file in several processes, with a progress bar over its sentences.

``run_in_parallel``   call a function for each part and return the results in order
``progress_style``    how progress is shown: a bar, lines in the log, or not at all
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, Literal

from fairseq.utils.processes import worker_context

__all__ = ["LineProgress", "progress_style", "run_in_parallel"]

logger = logging.getLogger(__name__)

Style = Literal["bar", "log", "none"]
REFRESH_SECONDS = 0.2
LOG_SECONDS = 30.0

_style: Style | None = None


@contextlib.contextmanager
def progress_style(style: Style) -> Iterator[None]:
    """Choose how progress is shown within a ``with`` block. Outside of one: a bar if someone watches, else nothing."""
    global _style
    before, _style = _style, style
    try:
        yield
    finally:
        _style = before


class LineProgress:
    """Shows how far through a text file the work is, and how many sentences per second it does.

    Args:
        description: what is being done.
        num_bytes: the size of the whole file. Sentences cannot be known in advance; bytes are.
    """

    def __init__(self, description: str, num_bytes: int) -> None:
        self.description, self.num_bytes = description, num_bytes
        self.style = _style or ("bar" if sys.stderr.isatty() else "none")
        self.started = self.shown = time.monotonic()
        self.bar: Any = None
        if self.style == "bar":
            from tqdm import tqdm

            self.bar = tqdm(total=num_bytes, desc=description, unit="B", unit_scale=True, leave=False, mininterval=0)

    def show(self, num_lines: int, num_bytes: int) -> None:
        """Say how many sentences and bytes are done in total."""
        now = time.monotonic()
        pause = LOG_SECONDS if self.bar is None else REFRESH_SECONDS
        if self.style == "none" or now - self.shown < pause:
            return
        self.shown = now
        speed = f"{num_lines:,} sentences, {num_lines / max(now - self.started, 1e-9):,.0f} sentences/s"
        if self.bar is not None:
            self.bar.set_postfix_str(speed, refresh=False)
            self.bar.update(num_bytes - self.bar.n)
        else:
            logger.info("%s: %.0f %%, %s", self.description, 100 * num_bytes / max(1, self.num_bytes), speed)

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.close()


def run_in_parallel(
    function: Callable[..., Any], parts: Sequence[tuple[Any, ...]], description: str, num_bytes: int
) -> list[Any]:
    """Call ``function(*part, report)`` for every part, each in a process of its own if there are several.

    Args:
        function: importable (it travels to the processes by name). It calls ``report(num_lines, num_bytes)`` with what
            it did since the last call.
        parts: the arguments of each call.
        description: for the progress bar.
        num_bytes: how much there is to do in all parts together.

    Returns:
        What the calls returned, in the order of ``parts``.

    Raises:
        Exception: whatever a call raised first; the other processes are stopped.
        RuntimeError: a process ended without an answer (killed, usually for want of memory).
    """
    progress = LineProgress(description, num_bytes)
    try:
        if len(parts) == 1:
            totals = [0, 0]

            def report(num_lines: int, num_bytes: int) -> None:
                totals[0] += num_lines
                totals[1] += num_bytes
                progress.show(*totals)

            return [function(*parts[0], report)]
        return _run_processes(function, parts, progress)
    finally:
        progress.close()


def _run_processes(function: Callable[..., Any], parts: Sequence[tuple[Any, ...]], progress: LineProgress) -> list[Any]:
    context: Any = worker_context()
    # Two counters per process, written by it alone: lines and bytes done.
    done = context.Array("q", 2 * len(parts), lock=False)
    workers: list[tuple[Any, Connection]] = []
    results: dict[int, Any] = {}
    try:
        with _interrupts_later():
            for number, part in enumerate(parts):
                receiver, sender = context.Pipe(duplex=False)
                process = context.Process(target=_work, args=(function, part, done, number, sender), daemon=True)
                process.start()
                sender.close()
                workers.append((process, receiver))
        while len(results) < len(workers):
            waiting = {connection: i for i, (_, connection) in enumerate(workers) if i not in results}
            for connection in wait(list(waiting), timeout=REFRESH_SECONDS):
                number = waiting[connection]  # type: ignore[index]
                results[number] = _receive(connection, workers[number][0])  # type: ignore[arg-type]
            progress.show(sum(done[0::2]), sum(done[1::2]))
        return [results[number] for number in range(len(parts))]
    finally:
        for process, connection in workers:
            connection.close()
            if len(results) < len(workers):
                process.terminate()
            process.join()


@contextlib.contextmanager
def _interrupts_later() -> Iterator[None]:
    """Ctrl-C counts at the end of the block: Python drops an exception that is raised while it forks."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is interrupted
        return
    waiting: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: waiting.append(number))
    try:
        yield
    finally:
        # ``None`` is a handler that was not set by Python; it cannot be put back.
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)
    if waiting:
        signal.raise_signal(signal.SIGINT)


def _receive(connection: Connection, process: Any) -> Any:
    try:
        succeeded, value = connection.recv()
    except EOFError:
        process.join()
        raise RuntimeError(
            f"a worker process ended with exit code {process.exitcode} before it was done. Was it killed for want of "
            "memory? Fewer --workers need less."
        ) from None
    if not succeeded:
        raise value
    return value


def _work(function: Callable[..., Any], part: tuple[Any, ...], done: Any, number: int, sender: Connection) -> None:
    """What a process does: call the function and send what it returns or raises."""
    # Ctrl-C reaches the whole group of processes; the parent alone answers it and ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()

    def report(num_lines: int, num_bytes: int) -> None:
        if os.getppid() != parent:
            os._exit(1)  # the parent was killed: no process waits for the answer
        done[2 * number] += num_lines
        done[2 * number + 1] += num_bytes

    try:
        answer = (True, function(*part, report))
    except Exception as error:
        answer = (False, _portable(error))
    sender.send(answer)
    sender.close()


def _portable(error: Exception) -> Exception:
    """The error itself if it survives the way to another process, else one with the same text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
