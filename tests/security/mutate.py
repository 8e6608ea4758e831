"""Damage to files, and many damaged files tried in children that may not hang, crash or grow."""

from __future__ import annotations

import os
import random
import resource
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from forked import address_space

SECONDS = 30
ROOM = 1 << 30
_NUMBERS = [0, 1, 127, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
_WORDS = ["", "0", "-1", "1e999", "nan", "9" * 30, "null", "[]", "{}", "\0", "\ufeff", "\n\n", "a" * 500, "\t", "é"]
_WORDS += ["'", '"', "&a", "*a", "!!python/object:os.system", "${oc.env:HOME}", "../..", "/dev/null", "<unk> 3", ": :"]


def damaged(good: bytes, draw: random.Random, is_text: bool) -> bytes:
    """A copy with a few changes to bytes, to numbers, to the order of pieces, or to words and lines of a text."""
    bad = bytearray(good)
    for _ in range(draw.choice([1, 1, 1, 2, 3, 8])):
        if not bad:
            break
        at, size = draw.randrange(len(bad)), draw.choice([1, 2, 4, 8, 16, 64])
        if is_text and draw.random() < 0.6:
            _change_text(bad, draw)
            continue
        how = draw.randrange(8)
        if how == 0:
            bad[at] = draw.randrange(256)
        elif how == 1:
            bad[at] ^= 1 << draw.randrange(8)
        elif how == 2:
            width = draw.choice([2, 4, 8])
            number = (draw.choice(_NUMBERS) + draw.choice([0, 0, 1, -1])) % (1 << 8 * width)
            bad[at : at + width] = number.to_bytes(width, draw.choice(["little", "big"]))
        elif how == 3:
            del bad[at : at + size]
        elif how == 4:
            bad[at:at] = draw.randbytes(size)
        elif how == 5:
            other = draw.randrange(len(bad))
            bad[at:at] = bad[other : other + size]
        elif how == 6:
            other = draw.randrange(len(bad))
            piece, there = bad[at : at + size], bad[other : other + size]
            bad[at : at + size] = there
            bad[other : other + size] = piece
        else:
            del bad[at:]
    return bytes(bad)


def _change_text(bad: bytearray, draw: random.Random) -> None:
    """Replace, repeat, swap or drop a word or a line."""
    by_line = draw.random() < 0.4
    parts = bytes(bad).split(b"\n" if by_line else b" ")
    at, how = draw.randrange(len(parts)), draw.randrange(4)
    if how == 0:
        parts[at] = draw.choice(_WORDS).encode()
    elif how == 1:
        parts.insert(at, parts[draw.randrange(len(parts))])
    elif how == 2:
        del parts[at]
    else:
        other = draw.randrange(len(parts))
        parts[at], parts[other] = parts[other], parts[at]
    bad[:] = (b"\n" if by_line else b" ").join(parts)


def failure(read: Callable[[], object]) -> str | None:
    """``None`` if a tool would end well or with one line; else what went wrong."""
    from fairseq_cli._console import OURS

    try:
        read()
    except SystemExit as stop:
        return None if stop.code in (0, 1, 2, None) else f"exit code {stop.code}"
    except MemoryError:
        return "out of memory"
    except Exception as error:
        if type(error) in OURS:
            return f"traceback: {type(error).__name__}: {error}"
        text = error.args[0] if type(error) is KeyError and len(error.args) == 1 else str(error)
        return None if str(text).strip() else f"{type(error).__name__} without a word"
    return None


def try_many(path: Path, read: Callable[[], object], count: int, seed: int, is_text: bool = False) -> list[str]:
    """Damage one file ``count`` times, read it each time; what went wrong, with the number of the damage.

    File ``n`` depends on ``seed`` and ``n`` only. A child that crashes or hangs is followed by another one, which goes
    on with the next file. The file is whole again afterwards.
    """
    good, found, number = path.read_bytes(), [], 0
    with tempfile.TemporaryFile() as progress:
        try:
            while number < count:
                pid = os.fork()
                if pid == 0:
                    _child(path, good, read, range(number, count), seed, is_text, progress.fileno())
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                progress.seek(0)
                lines = progress.read().decode(errors="replace").splitlines()
                progress.seek(0)
                progress.truncate()
                number = max((int(line[1:]) for line in lines if line.startswith("#")), default=number) + 1
                found += [line for line in lines if not line.startswith("#")]
                if status != 0:
                    what = f"no end in {SECONDS} s" if status == -signal.SIGALRM else f"ended with {status}"
                    found.append(f"{number - 1}: {what}")
        finally:
            path.write_bytes(good)
    return found


def _child(
    path: Path, good: bytes, read: Callable[[], object], numbers: range, seed: int, is_text: bool, out: int
) -> None:
    """Never returns."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        limit = address_space() + ROOM
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number in numbers:
            os.write(out, f"#{number}\n".encode())
            path.write_bytes(damaged(good, random.Random(f"{seed}/{number}"), is_text))
            signal.alarm(SECONDS)
            what = failure(read)
            signal.alarm(0)
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            if what is None and grown > 500 << 10:
                before += grown
                what = f"took {grown >> 10} MB"
            if what is not None:
                os.write(out, (" ".join(f"{number}: {what}".split())[:500] + "\n").encode(errors="replace"))
        os._exit(0)
    except BaseException as error:
        os.write(out, f"escaped: {type(error).__name__}: {error}\n".encode(errors="replace"))
    finally:
        os._exit(99)
