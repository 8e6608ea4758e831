"""Which files of a folder are looked at, and where its fairseq packages are."""

from __future__ import annotations

import fnmatch
import os
import posixpath
import stat
from pathlib import Path
from typing import Sequence

from .context import Package

__all__ = ["LEDGER", "find_packages", "list_files", "package_folders", "read_file"]

LEDGER = ".fairseq-patch"
SKIPPED = {LEDGER, ".git", ".hg", ".svn", ".tox", ".nox", "__pycache__", "node_modules", ".mypy_cache", ".ruff_cache"}
TEXT_FILES = ("requirements*.txt", "setup.cfg", "pyproject.toml", "*.pyx", "*.yaml", "*.yml")
# What any fairseq of the last years has at its top; forks rename the folder, hardly ever these.
LANDMARKS = ("tasks", "models", "criterions", "optim", "trainer.py", "checkpoint_utils.py", "options.py", "registry.py")


def list_files(root: Path, only: Sequence[str] = ()) -> list[str]:
    """Files that some patch may concern, relative to ``root``, sorted. Links are neither followed nor listed.

    Args:
        root: folder to walk.
        only: if given, the top-level entries to stay in.
    """
    found = []
    for folder, folders, files in os.walk(root, followlinks=False):
        folders[:] = sorted(name for name in folders if name not in SKIPPED and _is_plain_folder(folder, name))
        relative = os.path.relpath(folder, root)
        prefix = "" if relative == "." else relative.replace(os.sep, "/") + "/"
        if only and not prefix:
            folders[:] = [name for name in folders if name in only]
            files = [name for name in files if name in only]
        found += [prefix + name for name in files if _looks_relevant(folder, name)]
    return sorted(found)


def _is_plain_folder(folder: str, name: str) -> bool:
    path = os.path.join(folder, name)
    # A virtual environment inside the tree holds other people's packages.
    return not os.path.islink(path) and not os.path.exists(os.path.join(path, "pyvenv.cfg"))


def _looks_relevant(folder: str, name: str) -> bool:
    path = os.path.join(folder, name)
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return False
    if name.endswith((".py", ".pyi")) or any(fnmatch.fnmatch(name, pattern) for pattern in TEXT_FILES):
        return True
    if "." in name:
        return False
    try:
        return read_file(Path(path), 80).startswith(b"#!")
    except OSError:
        return False


def read_file(path: Path, limit: int = -1) -> bytes:
    """Content of a regular file.

    Raises:
        OSError: it is a link, no regular file, or cannot be read.
    """
    # Not to be led elsewhere by a link that appears between listing and reading, nor to wait on a pipe.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(f"{path}: not a regular file")
        return stream.read(limit)


def package_folders(files: Sequence[str]) -> frozenset[str]:
    """Folders that have an ``__init__.py``."""
    return frozenset(posixpath.dirname(path) for path in files if posixpath.basename(path) == "__init__.py")


def find_packages(root: Path, files: Sequence[str]) -> list[Package]:
    """Fairseq packages in the tree, by name or by what they contain; outermost only."""
    children: dict[str, set[str]] = {}
    for path in files:
        folder = posixpath.dirname(path)
        children.setdefault(folder, set()).add(posixpath.basename(path))
        while folder:
            parent = posixpath.dirname(folder)
            children.setdefault(parent, set()).add(posixpath.basename(folder))
            folder = parent
    found: list[Package] = []
    for folder in sorted(children, key=lambda item: (item.count("/"), item)):
        inside = children[folder]
        named = posixpath.basename(folder) == "fairseq" and "__init__.py" in inside
        shaped = "__init__.py" in inside and sum(mark in inside for mark in LANDMARKS) >= 5
        if not (named or shaped) or any(folder.startswith(other.folder + "/") for other in found if other.folder):
            continue
        if not folder:
            # PATH is the package itself: everything below is inside, and it is imported by the folder's name.
            return [Package("", root.name)]
        found.append(Package(folder, posixpath.basename(folder)))
    return found
