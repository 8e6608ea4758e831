"""How the C library deals with memory that was freed.

A training step on the CPU allocates and frees the same gigabyte in every update. glibc hands much of it back to the
system each time, which then has to clear every page again: several percent of the time of an update, more inside a
virtual machine. A process that trains does better to keep what it has.
"""

from __future__ import annotations

import ctypes
import os
import sys

__all__ = ["keep_freed_memory"]

# From malloc.h. Blocks above the second limit come from the system one by one, as ever; it is glibc's largest.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NEVER, _LARGEST = 2**31 - 1, 32 << 20


def keep_freed_memory() -> bool:
    """Have the C library keep freed memory for the next allocation; the largest size of the process stays the same.

    Returns:
        Whether that was possible: it is with glibc, unless the environment (``MALLOC_TRIM_THRESHOLD_`` and the like)
        says otherwise.
    """
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST)) and bool(mallopt(_TRIM_THRESHOLD, _NEVER))
