"""Start worker processes on this machine, and stop all of them when one fails."""

from __future__ import annotations

import io
import logging
import multiprocessing.connection
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch.multiprocessing

__all__ = ["run_processes"]

if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[Any]
else:
    _StreamHandler = logging.StreamHandler  # generic since Python 3.11

# Seconds that a worker has to leave after it was asked to, before it is killed.
GRACE = 10.0


def run_processes(function: Callable[..., Any], arguments: tuple[Any, ...], count: int) -> None:
    """Run ``function(i, *arguments)`` in ``count`` new processes and wait for them.

    Plugins of the ``--user-dir`` kind reach the children by ``sys.path`` and pickling.

    Raises:
        ChildProcessError: a process raised an exception or was killed. The message names it and the cause; the other
            processes have been stopped by then.
        KeyboardInterrupt: passed on after the processes have been stopped.
    """
    context = torch.multiprocessing.get_context("spawn")
    workers = []
    for index in range(count):
        receiver, sender = context.Pipe(duplex=False)
        worker = context.Process(target=_work, args=(index, function, arguments, sender, _log_settings()))
        worker.start()
        sender.close()
        workers.append((worker, receiver))
    try:
        failed = _first_failure(workers)
    except BaseException:
        _stop([worker for worker, _ in workers])
        raise
    if failed is not None:
        _stop([worker for worker, _ in workers])
        raise ChildProcessError(_explain(failed, workers))


def _log_settings() -> tuple[int, list[tuple[str, str | None]]]:
    """Level and line format of this process's console, for the children's."""
    root = logging.getLogger()
    formats = []
    for handler in root.handlers:
        formatter = handler.formatter
        is_console = isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler)
        if is_console and formatter is not None:
            formats.append((formatter._fmt or "%(message)s", formatter.datefmt))
    return root.level, formats


class _WorkerLog(_StreamHandler):
    """Writes lines until the reader goes away or the disk is full (``| head``); training goes on without."""

    def handleError(self, record: logging.LogRecord) -> None:
        if isinstance(sys.exc_info()[1], OSError):
            self.setStream(open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - until the process ends
        else:
            super().handleError(record)


def _work(
    index: int,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    sender: Any,
    log_settings: tuple[int, list[tuple[str, str | None]]],
) -> None:
    _die_with_parent()
    # Streams are UTF-8 in the parent, too.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    level, formats = log_settings
    root = logging.getLogger()
    if not root.handlers and formats:
        root.setLevel(level)
        for line_format, date_format in formats:
            handler = _WorkerLog(sys.stdout)
            handler.setFormatter(logging.Formatter(line_format, date_format))
            root.addHandler(handler)
    try:
        function(index, *arguments)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except BaseException as error:
        sender.send((type(error).__name__, str(error), traceback.format_exc()))
        sys.exit(1)


def _die_with_parent() -> None:
    """Ask Linux to stop this process when its parent is gone; elsewhere nothing happens."""
    if sys.platform.startswith("linux"):
        import ctypes

        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)


def _first_failure(workers: list[Any]) -> int | None:
    """Wait until all workers are done or one has failed; its index, or ``None``."""
    pending = {worker.sentinel: index for index, (worker, _) in enumerate(workers)}
    while pending:
        for sentinel in multiprocessing.connection.wait(list(pending)):
            index = pending.pop(sentinel)  # type: ignore[call-overload]
            worker = workers[index][0]
            worker.join()
            if worker.exitcode != 0:
                return index
    return None


def _stop(processes: list[Any]) -> None:
    running = [process for process in processes if process.is_alive()]
    for process in running:
        process.terminate()
    for process in running:
        process.join(GRACE)
    # A worker that waits for a lost peer inside a collective call may not heed SIGTERM.
    for process in running:
        if process.is_alive():
            process.kill()
            process.join()


def _explain(failed: int, workers: list[Any]) -> str:
    """What happened first. A worker that lost contact is a consequence: prefer one that says something else."""
    reports = {}
    for index, (_, receiver) in enumerate(workers):
        try:
            if receiver.poll():
                reports[index] = receiver.recv()
        except EOFError:
            continue
    killed = [i for i, (w, _) in enumerate(workers) if i not in reports and _was_killed(w, i == failed)]
    causes = [index for index, (name, _, _) in reports.items() if name != "ConnectionError"]
    culprit = (causes or killed or [failed])[0]
    if culprit in reports:
        name, message, trace = reports[culprit]
        if os.environ.get("FAIRSEQ_TRACEBACK"):
            print(trace, file=sys.stderr)
        cause = f"{name}: {message}"
    else:
        code = workers[culprit][0].exitcode or 0
        cause = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return f"worker {culprit} of {len(workers)} failed ({cause}); the other workers were stopped"


def _was_killed(worker: Any, is_first: bool) -> bool:
    """Whether a worker ended by a signal that was not ours."""
    code = worker.exitcode or 0
    return code < 0 and (is_first or -code not in (signal.SIGTERM, signal.SIGKILL))
