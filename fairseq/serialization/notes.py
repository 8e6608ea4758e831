"""Small facts kept beside a checkpoint's pickle, in a record of its own of the zip file.

The layout inside the pickle is shared with upstream and stays as it is. What only this implementation uses goes into
``ARCHIVE/fairseq.json``: ``torch.load``, ours or anybody's, does not look at it, and a file without it (from upstream,
or saved anew by a script) is as good as ever. In memory the notes are the state's ``NOTES`` entry.
"""

from __future__ import annotations

import json
import os
import zipfile
from typing import IO, Any

from fairseq.serialization.archive import Archive, read_archive
from fairseq.serialization.errors import CorruptCheckpointError
from fairseq.serialization.keys import Refused
from fairseq.serialization.source import Source

__all__ = ["NOTES", "add_notes", "notes_in", "read_notes"]

NOTES = "_notes"
RECORD = "fairseq.json"
# The notes are a few numbers; anything larger was not written by us.
LARGEST = 65536


def add_notes(file: IO[bytes], notes: dict[str, Any]) -> None:
    """Append the notes to a zip file that ``torch.save`` has just written; ``file`` is open for reading and writing."""
    with zipfile.ZipFile(file, "a", zipfile.ZIP_STORED) as archive:
        root = archive.namelist()[0].partition("/")[0]
        # A fixed date: equal states make equal files.
        record = zipfile.ZipInfo(f"{root}/{RECORD}", date_time=(1980, 1, 1, 0, 0, 0))
        archive.writestr(record, json.dumps(notes, sort_keys=True))


def notes_in(archive: Archive | None) -> dict[str, Any]:
    """The notes among the records of a checkpoint; empty if it has none, or none that can be read."""
    if archive is None or RECORD not in archive.entries or archive.entries[RECORD].size > LARGEST:
        return {}
    try:
        notes = json.loads(archive.read(RECORD))
    except (Refused, ValueError, RecursionError):
        return {}
    return notes if isinstance(notes, dict) else {}


def read_notes(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The notes of a file of which nothing else is read; empty if it is none of ours, or damaged."""
    try:
        with Source(path) as source:
            return notes_in(read_archive(source))
    except (OSError, Refused, CorruptCheckpointError):
        return {}
