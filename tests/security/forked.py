"""Run a piece of the program in a child process with little memory and little time, and see how it ended.

The child is a fork of the test process, which has imported everything already: a hundred runs take seconds.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass

SECONDS = 120


@dataclass
class Ending:
    """How a child ended.

    Attributes:
        code: exit code; minus the number of the signal that killed it.
        output: what it wrote.
        peak: most memory it held, in bytes, more than it began with.
    """

    code: int
    output: str
    peak: int


def address_space() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def forked(work: Callable[[], object], room: int | None = 1 << 30) -> Ending:
    """Call ``work`` in a child that may take ``room`` bytes more than this process has (``None``: any)."""
    read_end, write_end = os.pipe()
    with tempfile.TemporaryFile() as out:
        pid = os.fork()
        if pid == 0:
            code = 99
            try:
                os.dup2(out.fileno(), 1)
                os.dup2(out.fileno(), 2)
                sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
                if room is not None:
                    limit = address_space() + room
                    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(SECONDS)
                before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                try:
                    work()
                    code = 0
                except SystemExit as stop:
                    code = stop.code if isinstance(stop.code, int) else (0 if stop.code is None else 1)
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
                os.write(write_end, str(peak * 1024).encode())
                sys.stdout.flush()
                sys.stderr.flush()
            except BaseException as error:
                os.write(2, f"\nescaped: {type(error).__name__}: {error}\n".encode(errors="replace"))
            finally:
                os._exit(code)
        os.close(write_end)
        with os.fdopen(read_end, "rb") as pipe:
            peak_text = pipe.read()
        _, status = os.waitpid(pid, 0)
        out.seek(0)
        output = out.read().decode(errors="replace")
    code = os.waitstatus_to_exitcode(status)
    return Ending(code, output, int(peak_text or 0))


def tool(name: str, words: Sequence[object], room: int = 1 << 30) -> Ending:
    """Run a console tool (``generate``, ``train``, ...) in a child."""
    from fairseq_cli._console import run_command

    module = __import__(f"fairseq_cli.{name}", fromlist=["cli_main"])

    def work() -> None:
        import logging

        logging.root.handlers = [logging.NullHandler()]
        sys.argv = [f"fairseq-{name}", *map(str, words)]
        os.environ.pop("FAIRSEQ_TRACEBACK", None)
        run_command(module._exit_with_code if hasattr(module, "_exit_with_code") else module.cli_main)

    return forked(work, room)
