"""What all tools share at the edge: the form of log lines, and what a person sees when something is wrong."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any, TextIO

__all__ = ["naming_source", "run_command", "setup_logging"]

# Mistakes of exactly these kinds are the program's, not the user's: their place in the code is worth showing.
OURS = (AttributeError, IndexError, NameError, TypeError, UnboundLocalError, ZeroDivisionError)


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
        self.setStream(open(os.devnull, "w"))  # noqa: SIM115 - until the process ends
        _forget_standard_output()
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


def run_command(command: Callable[[], Any]) -> None:
    """Run a tool and exit: 0 after success, 1 after an error, 2 after a wrong command line, 130 after Ctrl-C.

    An error is one line on standard error, ``ClassName: message``. ``FAIRSEQ_TRACEBACK=1`` shows where it came from,
    as do errors that must be the program's own fault.
    """
    # A closed stream is None; what a tool says is then said to nobody.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    try:
        command()
        # A reader that went away (| head) shows here at the latest, not as noise at interpreter exit.
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    except BrokenPipeError:
        _forget_standard_output()
        sys.exit(141)
    except Exception as error:
        report(error)
        sys.exit(1)


def _forget_standard_output() -> None:
    """Let the rest of what was printed go nowhere: the interpreter flushes it once more when it ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def naming_source(name: str) -> Iterator[None]:
    """Add to a decoding error which file it is about; ``-`` is standard input."""
    try:
        yield
    except UnicodeDecodeError as error:
        where = "standard input" if name == "-" else name
        error.reason += f" ({where} must be UTF-8; convert it, for example with iconv)"
        raise


def report(error: BaseException, stream: TextIO | None = None) -> None:
    """Write an exception the way ``run_command`` does."""
    stream = sys.stderr if stream is None else stream
    try:
        sys.stdout.flush()
    except OSError:
        _forget_standard_output()
    if os.environ.get("FAIRSEQ_TRACEBACK", "0") not in ("", "0") or type(error) in OURS:
        stream.write("".join(traceback.format_exception(type(error), error, error.__traceback__)))
        return
    # str() of a KeyError is the message in quotes.
    text = error.args[0] if type(error) is KeyError and len(error.args) == 1 else error
    message = " ".join(str(text).split()) or "no further explanation; set FAIRSEQ_TRACEBACK=1 to see where"
    stream.write(f"{type(error).__name__}: {message}\n")
    stream.flush()
