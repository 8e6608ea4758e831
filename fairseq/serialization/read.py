"""``read_checkpoint``: a file's contents, without running anything the file says.

1. The file is opened once and surveyed: names it mentions, tensors against the data that is there.
2. Each name is looked up in ``fairseq.serialization.allowed``; one unknown name and nothing is loaded.
3. The bytes that were surveyed are given to torch's restricted unpickler (see ``rebuild``). What it may rebuild is
   allowed for this one call: torch's list belongs to the whole process, so it is put back as it was.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import threading
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from fairseq.serialization import allowed, placeholders
from fairseq.serialization.errors import CorruptCheckpointError, UnsafeCheckpointError, shown, without_advice
from fairseq.serialization.keys import Refused
from fairseq.serialization.notes import notes_in, read_notes
from fairseq.serialization.rebuild import rebuild
from fairseq.serialization.source import Source
from fairseq.serialization.survey import survey_source
from fairseq.serialization.write import verify_checksum

__all__ = ["names_torch_knows", "read_checkpoint", "read_with_notes"]

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
        found.append(placeholders.PendingArray)
    return found


def _without_advice(error: Exception) -> Exception | None:
    """The error, if it may be shown as a cause."""
    return error if without_advice(str(error)) == " ".join(str(error).split()) else None


def _cannot_load(path: str, reason: str) -> CorruptCheckpointError:
    return CorruptCheckpointError(f"{path} cannot be loaded as a checkpoint: {shown(reason, 300)}")


@contextlib.contextmanager
def _damage_named(path: str) -> Iterator[None]:
    """Whatever goes wrong with the contents of a checked file becomes one error that names the file.

    Torch's own errors advise to load without checks; that advice is dropped, from the traceback too.
    """
    try:
        yield
    except (CorruptCheckpointError, UnsafeCheckpointError):
        raise
    except MemoryError as error:
        raise _cannot_load(path, "not enough memory for it") from error
    except (Refused, placeholders.Malformed) as error:
        raise _cannot_load(path, str(error)) from None
    except Exception as error:
        reason = without_advice(str(error)) or f"its contents are damaged ({type(error).__name__})"
        raise _cannot_load(path, reason) from _without_advice(error)


def _unchecked(path: str) -> Any:
    """``torch.load`` as it is; code of the file runs, and its errors are its own."""
    try:
        return torch.load(path, map_location="cpu", weights_only=False, mmap=False)
    except FileNotFoundError:
        raise
    except MemoryError as error:
        raise _cannot_load(path, "not enough memory for it") from error
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError) as error:
        reason = without_advice(str(error)) or type(error).__name__
        raise _cannot_load(path, reason) from _without_advice(error)


def read_checkpoint(path: str | os.PathLike[str], *, mmap: bool = False, unsafe: bool | None = None) -> Any:
    """Load what ``torch.save`` wrote, to the CPU.

    Args:
        path: a local file, zip or pre-1.6 layout.
        mmap: leave tensors in the file until they are touched (zip layout only; others are read). Such tensors
            die with the file's bytes: never overwrite a file in place that is still in use.
        unsafe: unpickle without any check, which runs the file's code; ``None`` asks ``FAIRSEQ_UNSAFE_LOAD``.

    Returns:
        The saved object. Objects of classes that are not needed (OmegaConf nodes, enums, old configs, NumPy
        scalars) come back as plain dictionaries, lists, strings, namespaces and NumPy values.

    Raises:
        FileNotFoundError: no such file.
        CorruptCheckpointError: truncated, damaged or no checkpoint.
        UnsafeCheckpointError: it mentions names that are not known to be safe.
    """
    return read_with_notes(path, mmap=mmap, unsafe=unsafe)[0]


def read_with_notes(
    path: str | os.PathLike[str], *, mmap: bool = False, unsafe: bool | None = None, verify: bool = False
) -> tuple[Any, dict[str, Any]]:
    """``read_checkpoint``, and the notes in the same file (see ``notes``).

    Args:
        verify: first compare the file with ``PATH.sha256``, if there is such a file.
    """
    path = os.fspath(path)
    if unsafe is None:
        unsafe = allowed.unsafe_load_wanted()
    if unsafe:
        if verify:
            verify_checksum(path)
        logger.warning("loading %s unchecked (--unsafe-load): whatever code it carries is run", path)
        return _unchecked(path), read_notes(path)
    with Source(path) as source:
        if verify:
            verify_checksum(path, source.digest)
        survey = survey_source(source)
        objects = _stand_ins(path, survey.names)
        survey.tree = None
        with _allowing(objects), _damage_named(path), warnings.catch_warnings():
            # Of other pickle protocols torch says that they may not be supported; if so, the error says it too.
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            state = rebuild(source, survey, mmap)
            return (placeholders.finish(state) if objects else state), notes_in(survey.archive)
