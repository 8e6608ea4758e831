"""What all tools share at the edge: the form of log lines, and what a person sees when something is wrong."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, TextIO

__all__ = ["run_command", "setup_logging"]

# Mistakes of this kind are the program's, not the user's: their place in the code is worth showing.
OURS = (AttributeError, IndexError, NameError, TypeError, UnboundLocalError, ZeroDivisionError)


def setup_logging(stream: TextIO | None = None) -> None:
    """Send log lines to a stream (standard output), in the form that scripts parse.

    The level comes from ``$LOGLEVEL``. A program that has configured logging already keeps its configuration.
    """
    logging.basicConfig(
        format="%(asctime)s | %(levelname)s | %(name)s | %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
        level=os.environ.get("LOGLEVEL", "INFO").upper(),
        stream=sys.stdout if stream is None else stream,
    )


def run_command(command: Callable[[], Any]) -> None:
    """Run a tool and exit: 0 after success, 1 after an error, 2 after a wrong command line, 130 after Ctrl-C.

    An error is one line on standard error, ``ClassName: message``. ``FAIRSEQ_TRACEBACK=1`` shows where it came from,
    as do errors that must be the program's own fault.
    """
    try:
        command()
        # A reader that went away (| head) shows here at the latest, not as noise at interpreter exit.
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        report(error)
        sys.exit(1)


def report(error: BaseException, stream: TextIO | None = None) -> None:
    """Write an exception the way ``run_command`` does."""
    stream = sys.stderr if stream is None else stream
    sys.stdout.flush()
    if os.environ.get("FAIRSEQ_TRACEBACK", "0") not in ("", "0") or isinstance(error, OURS):
        stream.write("".join(traceback.format_exception(type(error), error, error.__traceback__)))
        return
    message = " ".join(str(error).split()) or "no further explanation; set FAIRSEQ_TRACEBACK=1 to see where"
    stream.write(f"{type(error).__name__}: {message}\n")
    stream.flush()
