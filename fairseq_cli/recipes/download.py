"""Fetch an archive of a corpus: over https, continued where it stopped, and checked.

The check of an archive is its SHA-256, if one is known for sure or given. If not, the archive's own checksums (of
gzip or zip) are compared, and the SHA-256 of the first download is written beside it (``NAME.sha256``), so that a later
run notices a file that has changed since.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
import sys
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

__all__ = ["check_archive", "fetch", "find_archive"]

BLOCK = 1 << 20
TIMEOUT = 60.0  # seconds without a byte


def find_archive(name: str, folders: Iterable[Path]) -> Path | None:
    """The first of these folders that holds the archive, as a path of the archive."""
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def fetch(target: Path, url: str, sha256: str | None = None, hint: str = "") -> Path:
    """Download a file, unless it is there, and check it.

    A download that was interrupted leaves ``NAME.part`` and is continued by the next call, if the server has the same
    file still.

    Args:
        target: where to.
        url: where from. A server that leads from https to http is refused.
        sha256: of the file, in hexadecimal; ``None`` if it is not known.
        hint: how to do without the download; the end of the message of a failed one.

    Returns:
        ``target``.

    Raises:
        OSError: the download failed.
        ValueError: the file is not the expected one, or damaged.
    """
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")
        try:
            _download(url, part)
        except (OSError, http.client.HTTPException) as error:
            _remove_empty(part)
            raise OSError(f"{url} could not be downloaded ({error}){hint}") from None
        try:
            check_archive(part, sha256, target.name)
        except ValueError:
            # A damaged part would be continued for ever.
            _forget(part)
            raise
        _validator(part).unlink(missing_ok=True)
        os.replace(part, target)
        _record(target)
        return target
    if sha256 is not None or not _checked_before(target):
        check_archive(target, sha256 or _recorded(target))
        _record(target)
    return target


def _download(url: str, part: Path) -> None:
    known = part.stat().st_size if part.is_file() and _validator(part).is_file() else 0
    request = urllib.request.Request(url)
    if known:
        request.add_header("Range", f"bytes={known}-")
        # The server sends the rest only if the file is the one of the first attempt.
        request.add_header("If-Range", _validator(part).read_text(encoding="utf-8"))
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        # The part is as long as the file, or longer: begin again.
        _forget(part)
        known, response = 0, urllib.request.urlopen(url, timeout=TIMEOUT)
    with response:
        if url.startswith("https:") and not response.url.startswith("https:"):
            raise OSError(f"the server leads to {response.url}, which is not encrypted")
        _copy(response, part, known)


def _copy(response: Any, part: Path, known: int) -> None:
    """Write what a server sends behind what is there (206), or in place of it."""
    continues = known > 0 and getattr(response, "status", None) == 206
    validator = response.headers.get("ETag") or response.headers.get("Last-Modified")
    if not continues:
        known = 0
        _forget(part)
        # Weak validators do not promise the same bytes.
        if validator and not validator.startswith("W/"):
            _validator(part).write_text(validator, encoding="utf-8")
    length = response.headers.get("Content-Length")
    expected = None if length is None else known + int(length)
    shown = 0.0
    with part.open("ab") as out:
        while block := response.read(BLOCK):
            out.write(block)
            shown = _progress(part.name.removesuffix(".part"), out, expected, shown)
        size = out.tell()
    if expected is not None and size != expected:
        raise OSError(f"it ended after {size:,} of {expected:,} bytes; run the command again to continue")


def _progress(name: str, out: IO[bytes], expected: int | None, shown: float) -> float:
    """A line for each tenth of a large file; returns the part that was told."""
    done = out.tell() / expected if expected else 0.0
    if expected is None or expected < 16 * BLOCK or done < shown + 0.1:
        return shown
    sys.stderr.write(f"{name}: {100 * done:.0f} % of {expected / 1e6:,.0f} MB\n")
    return done


def _validator(part: Path) -> Path:
    return part.with_name(part.name + ".etag")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _validator(part).unlink(missing_ok=True)


def _remove_empty(part: Path) -> None:
    # A part that cannot be continued is of no use either.
    if not _validator(part).is_file() or not part.is_file() or part.stat().st_size == 0:
        _forget(part)


# -- checks


def check_archive(path: Path, sha256: str | None = None, name: str | None = None) -> None:
    """Compare a file with its SHA-256 or, without one, the contents of a gzip or zip archive with its own checksums.

    Args:
        path: the file.
        sha256: in hexadecimal, or ``None``.
        name: by which the message calls it, and which tells its format.

    Raises:
        ValueError: they differ, or the archive cannot be read.
    """
    name = name or path.name
    if sha256 is not None:
        found = _sha256(path)
        if found != sha256.lower():
            raise ValueError(
                f"{path}: SHA-256 is {found}, expected {sha256.lower()}: not the expected file; remove it to download "
                "it again"
            )
        return
    try:
        if name.endswith((".tgz", ".gz")):
            with gzip.open(path, "rb") as file:
                while file.read(BLOCK):
                    pass
        elif name.endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                if damaged := archive.testzip():
                    raise zipfile.BadZipFile(f"checksum of {damaged}")
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no readable tar archive or zip file, or damaged ({error}); get it again") from None


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _record_path(target: Path) -> Path:
    return target.with_name(target.name + ".sha256")


def _record(target: Path) -> None:
    """Write the checksum as ``sha256sum`` does, whose ``-c`` reads it."""
    _record_path(target).write_text(f"{_sha256(target)}  {target.name}\n", encoding="utf-8")


def _checked_before(target: Path) -> bool:
    record = _record_path(target)
    return record.is_file() and record.stat().st_mtime_ns >= target.stat().st_mtime_ns


def _recorded(target: Path) -> str | None:
    try:
        words = _record_path(target).read_text(encoding="utf-8").split()
    except (OSError, UnicodeError):
        return None
    return words[0] if words and len(words[0]) == 64 else None
