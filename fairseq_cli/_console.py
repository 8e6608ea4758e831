"""What all tools share at the edge: the form of log lines, and what a person sees when something is wrong."""

from __future__ import annotations

import linecache
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, TextIO

from fairseq.logging.lines import forget_standard_output, setup_logging, use_utf8
from fairseq.serialization.errors import without_advice
from fairseq.utils.source_names import naming_source

__all__ = ["naming_source", "run_command", "setup_logging"]

# Mistakes of exactly these kinds are the program's, not the user's: their place in the code is worth showing.
OURS = (AttributeError, IndexError, NameError, TypeError, UnboundLocalError, ZeroDivisionError)


def run_command(command: Callable[[], Any], needs: str = "") -> None:
    """Run a tool and exit: 0 after success, 1 after an error, 2 after a wrong command line, 130 after Ctrl-C.

    An error is one line on standard error, ``ClassName: message``. ``FAIRSEQ_TRACEBACK=1`` shows where it came from,
    as do errors that must be the program's own fault. ``--version`` is answered here, for every tool.

    Args:
        command: parses the command line and does the work.
        needs: what a command line has at least, for a tool that can do nothing without; such a call ends with this
            as its usage.
    """
    # A stream that the caller closed is None; the output is dropped then.
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    use_utf8()
    try:
        _answer_without_running(needs)
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


def _answer_without_running(needs: str) -> None:
    """``--version``, and a tool that was called without the arguments that it needs."""
    words = sys.argv[1:]
    program = os.path.basename(sys.argv[0])
    if "--version" in words:
        from fairseq.version import __version__

        print(f"fairseq {__version__}", flush=True)
        sys.exit(0)
    if needs and not words:
        sys.stderr.write(f"usage: {program} {needs} [options]  (all of them: {program} --help)\n")
        sys.stderr.write(f"{program}: error: no arguments were given\n")
        sys.exit(2)


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
    message = " ".join(str(text).split())
    if "weights_only" in message:
        # A plug-in or library called torch.load itself. Torch advises to load the file unchecked; we do not.
        reason = without_advice(message) or "its contents are no plain data"
        message = f"a file was refused by torch.load: {reason}. fairseq-patch mends such calls in plug-ins"
    message = message or _explain_silent(error)
    stream.write(f"{type(error).__name__}: {message}\n")
    stream.flush()


def _explain_silent(error: BaseException) -> str:
    """A sentence for an exception without a message: which function raised it, and for which class."""
    at = error.__traceback__
    if at is None:
        return "raised without a message; set FAIRSEQ_TRACEBACK=1 to see where"
    while at.tb_next is not None:
        at = at.tb_next
    code, owner = at.tb_frame.f_code, at.tb_frame.f_locals.get("self")
    place = f"{code.co_filename}, line {at.tb_lineno}"
    if isinstance(error, NotImplementedError):
        if owner is not None:
            return f"the class {type(owner).__name__} does not define {code.co_name}, which is needed here ({place})"
        return f"{code.co_name} cannot do what is asked of it here ({place})"
    source = linecache.getline(code.co_filename, at.tb_lineno).strip()
    return f"raised without a message by {code.co_name} ({place}{': ' + source if source else ''})"
