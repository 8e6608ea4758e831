"""What all tools share at the edge: the form of log lines, and what a person sees when something is wrong."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, TextIO

from fairseq.logging.lines import forget_standard_output, setup_logging, use_utf8
from fairseq.utils.source_names import naming_source

__all__ = ["naming_source", "run_command", "setup_logging"]

# Mistakes of exactly these kinds are the program's, not the user's: their place in the code is worth showing.
OURS = (AttributeError, IndexError, NameError, TypeError, UnboundLocalError, ZeroDivisionError)


def run_command(command: Callable[[], Any]) -> None:
    """Run a tool and exit: 0 after success, 1 after an error, 2 after a wrong command line, 130 after Ctrl-C.

    An error is one line on standard error, ``ClassName: message``. ``FAIRSEQ_TRACEBACK=1`` shows where it came from,
    as do errors that must be the program's own fault.
    """
    # A stream that the caller closed is None; the output is dropped then.
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    use_utf8()
    try:
        command()
        # A reader that went away (| head) shows here at the latest, not as noise at interpreter exit.
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    except BrokenPipeError:
        forget_standard_output()
        sys.exit(141)
    except Exception as error:
        report(error)
        sys.exit(1)


def report(error: BaseException, stream: TextIO | None = None) -> None:
    """Write an exception the way ``run_command`` does."""
    stream = sys.stderr if stream is None else stream
    try:
        sys.stdout.flush()
    except OSError:
        forget_standard_output()
    if os.environ.get("FAIRSEQ_TRACEBACK", "0") not in ("", "0") or type(error) in OURS:
        stream.write("".join(traceback.format_exception(type(error), error, error.__traceback__)))
        return
    # str() of a KeyError is the message in quotes.
    text = error.args[0] if type(error) is KeyError and len(error.args) == 1 else error
    message = " ".join(str(text).split()) or "no further explanation; set FAIRSEQ_TRACEBACK=1 to see where"
    stream.write(f"{type(error).__name__}: {message}\n")
    stream.flush()
