"""The form of log lines, for tools and for programs that call the tools' ``main`` themselves."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from typing import TextIO

__all__ = ["forget_standard_output", "setup_logging", "use_utf8"]


class _LogHandler(logging.StreamHandler):  # type: ignore[type-arg]  # no brackets in Python 3.10
    """Writes to a stream that may go away (``| head``, a full disk), which ends the tool as a failing print does.

    ``goes_on``: a run that is worth more than its log loses the log instead.
    """

    goes_on = False

    def handleError(self, record: logging.LogRecord) -> None:
        """Called by ``emit`` inside its ``except``."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        if not self.goes_on:
            raise error
        self.setStream(open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - until the process ends
        forget_standard_output()
        sys.stderr.write(f"the log cannot be written any more ({error}); the run goes on without it\n")


def setup_logging(stream: TextIO | None = None, goes_on: bool = False) -> None:
    """Send log lines to a stream (standard output), in the form that scripts parse.

    The level comes from ``$LOGLEVEL``. A program that has configured logging already keeps its configuration.

    Args:
        stream: where to; it may stop taking lines.
        goes_on: go on without a log then, instead of ending with ``BrokenPipeError`` or another ``OSError``.
    """
    handler = _LogHandler(sys.stdout if stream is None else stream)
    handler.goes_on = goes_on
    logging.basicConfig(
        format="%(asctime)s | %(levelname)s | %(name)s | %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
        level=os.environ.get("LOGLEVEL", "INFO").upper(),
        handlers=[handler],
    )


def use_utf8() -> None:
    """Make the standard streams UTF-8, whatever the locale and ``PYTHONIOENCODING`` say.

    Text is UTF-8 everywhere else, so another encoding would make known words unknown or end in a
    ``UnicodeEncodeError``. Bytes of file names that are no UTF-8 are written as they were given.
    """
    for stream, errors in ((sys.stdin, "strict"), (sys.stdout, "surrogateescape"), (sys.stderr, "backslashreplace")):
        # What a program or a test has put in place of a stream may be no text file.
        # One that was read from already keeps its encoding.
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(io.UnsupportedOperation):
                stream.reconfigure(encoding="utf-8", errors=errors)


def forget_standard_output() -> None:
    """Let the rest of what was printed go nowhere: the interpreter flushes it once more when it ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
