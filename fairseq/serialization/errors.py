"""What can be wrong with a checkpoint file."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable

__all__ = ["CheckpointError", "CheckpointWriteError", "CorruptCheckpointError", "UnsafeCheckpointError"]


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
        listed = ", ".join(self.names)
        super().__init__(
            f"{path} mentions {listed}, which this version does not know to be safe. Rebuilding such objects can run "
            "code of whoever wrote the file, so nothing was loaded. If you trust these names: --safe-globals "
            f"{','.join(self.names)} (in Python: fairseq.checkpoint_utils.add_safe_globals). If you trust the whole "
            "file: --unsafe-load or FAIRSEQ_UNSAFE_LOAD=1, which loads it unchecked."
        )


class CheckpointWriteError(CheckpointError, OSError):
    """A checkpoint could not be written; the file that was there before is untouched."""
