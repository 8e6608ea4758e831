"""``read_checkpoint``: a file's contents, without running anything the file says.

1. The file is surveyed: names it mentions, tensors against the data that is there.
2. Each name is looked up in ``fairseq.compat.allowed``; one unknown name and nothing is loaded.
3. ``torch.load(weights_only=True)`` reads it. What it may rebuild is allowed for this one call: torch's list belongs to
   the whole process, so it is put back as it was.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from fairseq.compat import allowed
from fairseq.serialization import standins
from fairseq.serialization.errors import CorruptCheckpointError, UnsafeCheckpointError, shown
from fairseq.serialization.survey import survey_file

__all__ = ["names_torch_knows", "read_checkpoint"]

logger = logging.getLogger(__name__)
_list_of_the_process = threading.RLock()


def names_torch_knows() -> set[str]:
    """What ``weights_only=True`` rebuilds by itself, plus what the user's process allowed."""
    from torch import _weights_only_unpickler as unpickler

    names = set(unpickler._get_allowed_globals())
    user: dict[str, Any] = getattr(unpickler, "_get_user_allowed_globals", dict)()
    return names | set(user)


@contextlib.contextmanager
def _allowing(objects: Iterable[Any]) -> Iterator[None]:
    """Extend torch's process-wide allow-list, and restore it exactly.

    ``torch.serialization.safe_globals`` exists from 2.5 on and would also remove entries that were there before.
    """
    serialization = torch.serialization
    with _list_of_the_process:
        before = list(serialization.get_safe_globals())  # torch 2.4 hands out its list itself, which grows
        serialization.add_safe_globals(list(objects))
        try:
            yield
        finally:
            serialization.clear_safe_globals()
            serialization.add_safe_globals(before)


def _stand_ins(path: str | os.PathLike[str], names: set[str]) -> list[Any]:
    known = names_torch_knows()
    found: list[Any] = []
    unknown: list[str] = []
    for name in sorted(names - known):
        stand_in = allowed.resolve(name)
        if stand_in is None:
            unknown.append(name)
        else:
            found.append(stand_in)
    if unknown:
        raise UnsafeCheckpointError(path, unknown)
    if any(name.endswith("multiarray._reconstruct") for name in names):
        found.append(standins.PendingArray)
    return found


def _torch_load(path: str, mmap: bool, map_location: Any, weights_only: bool) -> Any:
    try:
        return torch.load(path, map_location=map_location, weights_only=weights_only, mmap=mmap)
    except FileNotFoundError:
        raise
    except MemoryError as error:
        raise CorruptCheckpointError(f"{path} cannot be loaded as a checkpoint: not enough memory for it") from error
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CorruptCheckpointError(f"{path} cannot be loaded as a checkpoint: {shown(reason, 300)}") from error
    except Exception as error:
        # Damaged bytes lead to errors of any kind; unchecked loading runs code of the file, whose errors are its own.
        if not weights_only:
            raise
        raise CorruptCheckpointError(
            f"{path} cannot be loaded as a checkpoint: its contents are damaged ({type(error).__name__})"
        ) from error


def read_checkpoint(
    path: str | os.PathLike[str], *, mmap: bool = False, unsafe: bool | None = None, map_location: Any = "cpu"
) -> Any:
    """Load what ``torch.save`` wrote.

    Args:
        path: a local file, zip or pre-1.6 layout.
        mmap: leave tensors in the file until they are touched (zip layout only; others are read). Such tensors
            die with the file's bytes: never overwrite a file in place that is still in use.
        unsafe: unpickle without any check, which runs the file's code; ``None`` asks ``FAIRSEQ_UNSAFE_LOAD``.
        map_location: as for ``torch.load``.

    Returns:
        The saved object. Objects of classes that are not needed (OmegaConf nodes, enums, old configs, NumPy
        scalars) come back as plain dictionaries, lists, strings, namespaces and NumPy values.

    Raises:
        FileNotFoundError: no such file.
        CorruptCheckpointError: truncated, damaged or no checkpoint.
        UnsafeCheckpointError: it mentions names that are not known to be safe.
    """
    path = os.fspath(path)
    if unsafe is None:
        unsafe = allowed.unsafe_load_wanted()
    if unsafe:
        logger.warning("loading %s unchecked (--unsafe-load): whatever code it carries is run", path)
        return _torch_load(path, False, map_location, weights_only=False)
    survey = survey_file(path)
    objects = _stand_ins(path, survey.names)
    # Swapping bytes is a change that a mapped tensor does not know of.
    mmap = mmap and survey.is_zip and survey.is_native
    del survey
    with _allowing(objects):
        state = _torch_load(path, mmap, map_location, weights_only=True)
    try:
        return standins.finish(state) if objects else state
    except (pickle.UnpicklingError, TypeError, ValueError, AttributeError, LookupError) as error:
        reason = shown(" ".join(str(error).split()) or type(error).__name__, 300)
        raise CorruptCheckpointError(f"{path} cannot be loaded as a checkpoint: {reason}") from error
