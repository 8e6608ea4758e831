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

__all__ = ["NOTES", "add_notes", "read_notes"]

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


def read_notes(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The notes of a file; empty if it has none, or none that can be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            name = f"{names[0].partition('/')[0]}/{RECORD}" if names else RECORD
            if name not in names or archive.getinfo(name).file_size > LARGEST:
                return {}
            notes = json.loads(archive.read(name))
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError, EOFError):
        return {}
    return notes if isinstance(notes, dict) else {}
