"""Which files of a folder are looked at, and where its fairseq packages are."""

from __future__ import annotations

import fnmatch
import os
import posixpath
import stat
from pathlib import Path
from typing import Sequence

from .context import Package
from .source import link_target

__all__ = ["LEDGER", "find_packages", "list_files", "package_folders", "read_file"]

LEDGER = ".fairseq-patch"
SKIPPED = {LEDGER, ".git", ".hg", ".svn", ".tox", ".nox", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache",
           ".ipynb_checkpoints"}  # fmt: skip
# Packages of others, and copies that a build made: they are mended where they come from, or made again.
FOREIGN = {".eggs", "site-packages", "dist-packages", "node_modules", "bower_components", ".direnv", "__pypackages__"}
FOREIGN_ENDS = (".egg", ".egg-info", ".dist-info")
BUILT = {"build", "dist"}
# One of these inside makes a folder a virtual environment (venv, virtualenv, conda).
ENVIRONMENT = ("pyvenv.cfg", "conda-meta", "bin/activate", "Scripts/activate.bat", "bin/activate_this.py")
TEXT_FILES = ("requirements*.txt", "setup.cfg", "pyproject.toml", "*.pyx", "*.yaml", "*.yml", "Pipfile", "*.ipynb",
              "*.sh", "*.md", "README*", "Dockerfile*")  # fmt: skip
# What any fairseq of the last years has at its top; forks rename the folder, hardly ever these.
LANDMARKS = ("tasks", "models", "criterions", "optim", "trainer.py", "checkpoint_utils.py", "options.py", "registry.py")


def list_files(root: Path, only: Sequence[str] = (), foreign: list[str] | None = None) -> list[str]:
    """Files that some patch may concern, relative to ``root``, sorted. Links are neither followed nor listed.

    Args:
        root: folder to walk.
        only: if given, the top-level entries to stay in.
        foreign: gets the folders that are left alone because they hold packages of others.
    """
    found = []
    for folder, folders, files in os.walk(root, followlinks=False):
        relative = os.path.relpath(folder, root)
        prefix = "" if relative == "." else relative.replace(os.sep, "/") + "/"
        if only and not prefix:
            folders[:] = [name for name in folders if name in only]
            files = [name for name in files if name in only]
        own = sorted(name for name in folders if name not in SKIPPED and not os.path.islink(os.path.join(folder, name)))
        folders[:] = [name for name in own if not _is_foreign(folder, name)]
        if foreign is not None:
            foreign += [prefix + name for name in own if name not in folders]
        found += [prefix + name for name in files if _looks_relevant(folder, name)]
    return sorted(found)


def _is_foreign(folder: str, name: str) -> bool:
    """Whether a folder holds packages of others, or what a build left."""
    path = os.path.join(folder, name)
    if name in FOREIGN or name.endswith(FOREIGN_ENDS):
        return True
    if name in BUILT and not os.path.exists(os.path.join(path, "__init__.py")):
        return True
    return any(os.path.exists(os.path.join(path, *mark.split("/"))) for mark in ENVIRONMENT)


def _looks_relevant(folder: str, name: str) -> bool:
    path = os.path.join(folder, name)
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return False
    if name.endswith((".py", ".pyi")) or any(fnmatch.fnmatch(name, pattern) for pattern in TEXT_FILES):
        return True
    if "." in name:
        return False
    try:
        head = read_file(Path(path), 300)
    except OSError:
        return False
    return head.startswith(b"#!") or (head.startswith(b"..") and link_target(head) is not None)


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
