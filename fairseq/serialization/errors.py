"""What can be wrong with a checkpoint file."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Iterable

__all__ = [
    "CheckpointError",
    "CheckpointWriteError",
    "CorruptCheckpointError",
    "UnsafeCheckpointError",
    "UnsafeOptionError",
    "shown",
    "without_advice",
]

_MAX_LISTED = 20


def shown(text: str, limit: int = 200) -> str:
    """Text from a file, fit for a terminal: control characters escaped, and not endless."""
    clean = "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text[:limit]
    )
    return clean if len(text) <= limit else f"{clean}..."


# Words of torch's errors and warnings about loading, of all its releases.
_ADVICE = re.compile(
    r"weights[_ -]only|torch\.load|safe_globals|allowlist|pickle_module|pytorch\.org|WeightsUnpickler|"
    r"trust(?:ed)? (?:the|this) (?:source|class)|file an issue",
    re.IGNORECASE,
)


_INSTRUCTION = re.compile(r"Unsupported operand (\d+)")
_GLOBAL = re.compile(r"GLOBAL (\S+)")


def without_advice(text: str) -> str:
    """An error's text in one line. If torch advises in it to load the file without checks, what torch found instead.

    Returns:
        Nothing, if there is nothing to tell besides the advice.
    """
    found = _INSTRUCTION.search(text)
    if found:
        return f"byte {int(found[1]):#x} in it is no instruction that torch.save writes (is it of pickle protocol 2?)"
    if not _ADVICE.search(text):
        return " ".join(text.split())
    found = _GLOBAL.search(text)
    if found:
        return f"it mentions {shown(found[1])}, which is not known to be safe"
    return ""


class CheckpointError(RuntimeError):
    """A checkpoint file cannot be used; the message names the file and the remedy."""


class CorruptCheckpointError(CheckpointError):
    """The file is truncated, damaged, or no checkpoint at all."""


class UnsafeCheckpointError(CheckpointError, pickle.UnpicklingError):
    """The file wants classes or functions rebuilt that are not known to be harmless.

    Attributes:
        names: the refused names, as ``package.module.Name``, sorted.
    """

    def __init__(self, path: str | os.PathLike[str], names: Iterable[str]) -> None:
        self.names = sorted(names)
        some = [shown(name) for name in self.names[:_MAX_LISTED]]
        more = len(self.names) - len(some)
        listed = ", ".join(some) + (f" and {more} more" if more else "")
        super().__init__(
            f"{path} mentions {listed}, which this version does not know to be safe. Rebuilding such objects can run "
            "code of whoever wrote the file, so nothing was loaded. If you trust these names: --safe-globals "
            f"{','.join(some)} (in Python: fairseq.checkpoint_utils.add_safe_globals). If you trust the whole "
            "file: --unsafe-load or FAIRSEQ_UNSAFE_LOAD=1, which loads it unchecked."
        )


class UnsafeOptionError(UnsafeCheckpointError):
    """An option in the file is no value that may be used as it is.

    Args:
        path: the file.
        option: the option in it.
        text: its value.
        what: why it is refused, after "which"; by default OmegaConf would call a resolver for it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        option: str,
        text: str,
        what: str = "asks OmegaConf to call a resolver",
    ) -> None:
        self.names = [option]
        RuntimeError.__init__(
            self,
            f"{path}: the option {shown(option)} is {shown(text)!r}, which {what}. Files "
            "are read as data, so nothing was loaded. If you trust the file: --unsafe-load or FAIRSEQ_UNSAFE_LOAD=1.",
        )


class CheckpointWriteError(CheckpointError, OSError):
    """A checkpoint could not be written; the file that was there before is untouched."""
