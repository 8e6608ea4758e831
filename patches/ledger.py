"""Write changes so that they can be taken back: each original is kept in the tree before it is replaced."""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .model import Finding
from .tree import LEDGER, read_file

__all__ = ["Ledger", "LedgerError", "atomic_write", "digest", "mark_of", "seen_marks"]

MANIFEST = "manifest.json"
STORE = "originals"
SEEN = "seen.json"
VERSION = 1


class LedgerError(RuntimeError):
    """The record of what was patched is missing, damaged, or not to be trusted."""


def digest(data: bytes) -> str:
    """SHA-256 as text."""
    return hashlib.sha256(data).hexdigest()


def mark_of(finding: Finding) -> str:
    """What a place is known by when lines have been added above it: file, patch and the text of the line."""
    return digest(f"{finding.path}\0{finding.patch}\0{finding.code}".encode())


def seen_marks(root: Path) -> frozenset[str]:
    """Marks of the places below ``root`` that a person has looked at; see :func:`mark_of`."""
    try:
        if (root / LEDGER).is_symlink():
            return frozenset()
        content = json.loads(read_file(root / LEDGER / SEEN))
        return frozenset(item for item in content if isinstance(item, str))
    except (OSError, ValueError, TypeError):
        return frozenset()


def atomic_write(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace ``path`` by ``data`` in one step; on failure the old file is still there, whole."""
    descriptor, name = tempfile.mkstemp(prefix=".fairseq-patch-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@dataclass
class Entry:
    """One file: digest of the original (None when the tool created it), digest of what it wrote, permissions."""

    original: str | None
    written: str
    mode: int


@dataclass
class Reverted:
    """What :meth:`Ledger.revert` did."""

    restored: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)


class Ledger:
    """The record kept in ``ROOT/.fairseq-patch``.

    Raises:
        LedgerError: the folder or its manifest is not one this tool wrote.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / LEDGER
        self.entries: dict[str, Entry] = {}
        if self.folder.is_symlink():
            raise LedgerError(f"{self.folder} is a link; it is not followed. Remove it and try again.")
        manifest = self.folder / MANIFEST
        if self.folder.exists() and manifest.exists():
            self._load(manifest)

    def _load(self, manifest: Path) -> None:
        try:
            content: Any = json.loads(read_file(manifest))
            if content["version"] != VERSION:
                raise LedgerError(f"{manifest} has version {content['version']}; this tool knows {VERSION}")
            for path, item in content["files"].items():
                original, written, mode = item["original"], item["written"], item["mode"]
                if not _is_inside(path) or not isinstance(written, str) or not isinstance(mode, int):
                    raise LedgerError(f"{manifest}: the entry {path!r} does not lie inside the tree")
                if original is not None and (len(original) != 64 or not original.isalnum()):
                    raise LedgerError(f"{manifest}: the entry {path!r} names no original")
                self.entries[path] = Entry(original, written, mode & 0o777)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
            raise LedgerError(f"{manifest} cannot be read ({type(err).__name__}: {err})") from err

    def _save(self) -> None:
        files = {
            path: {"original": entry.original, "written": entry.written, "mode": entry.mode}
            for path, entry in sorted(self.entries.items())
        }
        text = json.dumps({"version": VERSION, "files": files}, indent=1) + "\n"
        atomic_write(self.folder / MANIFEST, text.encode())

    def mark_seen(self, marks: set[str]) -> None:
        """Add to them."""
        self._make_folder()
        atomic_write(self.folder / SEEN, json.dumps(sorted(marks | seen_marks(self.root))).encode())

    def _make_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        ignore = self.folder / ".gitignore"
        if not ignore.exists():
            atomic_write(ignore, b"*\n")

    def locate(self, path: str) -> Path:
        """Absolute path of a file of the tree.

        Raises:
            LedgerError: a folder on the way is a link, or the path leaves the tree.
        """
        if not _is_inside(path):
            raise LedgerError(f"{path!r} does not lie inside {self.root}")
        place = self.root / path
        folder = place.parent
        while folder != self.root:
            if folder.is_symlink():
                raise LedgerError(f"{folder} is a link; links are not followed")
            folder = folder.parent
        return place

    def write(self, path: str, old: bytes | None, new: bytes) -> None:
        """Replace a file, or create it when ``old`` is None; its original is safe on disk first.

        Raises:
            LedgerError: the file is not (any more) what was looked at.
            OSError: it cannot be written.
        """
        place = self.locate(path)
        if old is None:
            if place.exists() or place.is_symlink():
                raise LedgerError(f"{path} exists already")
            mode = 0o644
        else:
            if read_file(place) != old:
                raise LedgerError(f"{path} was changed by someone else in the meantime")
            mode = stat.S_IMODE(place.lstat().st_mode)
        known = self.entries.get(path)
        if known is not None and old is not None and known.written == digest(old):
            original = known.original
        else:
            original = None if old is None else digest(old)
        (self.folder / STORE).mkdir(parents=True, exist_ok=True)
        if original is not None and old is not None and original == digest(old):
            atomic_write(self.folder / STORE / original, old)
        self._make_folder()
        self.entries[path] = Entry(original, digest(new), mode)
        self._save()
        atomic_write(place, new, mode)

    def revert(self) -> Reverted:
        """Give every file its original content back; files edited since are refused and stay in the record.

        Raises:
            LedgerError: nothing is recorded here.
        """
        if not self.entries:
            raise LedgerError(f"nothing to revert: {self.root} has no record of `fairseq-patch apply`")
        result = Reverted()
        for path, entry in sorted(self.entries.items()):
            try:
                self._revert_one(path, entry, result)
            except (OSError, LedgerError) as err:
                result.refused.append((path, str(err)))
            else:
                del self.entries[path]
        if self.entries:
            self._save()
        else:
            self._forget()
        return result

    def _revert_one(self, path: str, entry: Entry, result: Reverted) -> None:
        place = self.locate(path)
        try:
            now = digest(read_file(place))
        except FileNotFoundError:
            if entry.original is None:
                return
            raise LedgerError("was deleted since; restore it by hand, or create it empty to have it restored") from None
        if entry.original is not None and now == entry.original:
            return
        if now != entry.written:
            raise LedgerError(
                f"was edited since it was patched, so it is left as it is (its original: "
                f"{LEDGER}/{STORE}/{entry.original})"
                if entry.original
                else "was added by apply and edited since, so it is left as it is"
            )
        if entry.original is None:
            place.unlink()
            result.removed.append(path)
            return
        data = read_file(self.folder / STORE / entry.original)
        if digest(data) != entry.original:
            raise LedgerError("its stored original is damaged")
        atomic_write(place, data, entry.mode)
        result.restored.append(path)

    def _forget(self) -> None:
        store = self.folder / STORE
        for folder in (store, self.folder):
            if folder.is_symlink() or not folder.is_dir():
                continue
            for item in folder.iterdir():
                if not item.is_dir() or item.is_symlink():
                    item.unlink()
            if not any(folder.iterdir()):
                folder.rmdir()


def _is_inside(path: str) -> bool:
    parts = path.split("/")
    return bool(path) and not posixpath.isabs(path) and "\\" not in path and not {"..", ".", "", LEDGER} & set(parts)
