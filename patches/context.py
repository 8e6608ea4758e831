"""What the rules of one file share: name resolution, findings, imports to add."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence

from ._cst import cst
from .bindings import Scope, dotted
from .scan import Index

__all__ = ["FileContext", "Options", "Package"]

HELPER = "_modern"


@dataclass(frozen=True)
class Package:
    """A vendored fairseq package: its folder relative to the root, and the name it is imported by."""

    folder: str
    name: str


@dataclass(frozen=True)
class Options:
    """Settings of one run that rules may ask for."""

    allow_unsafe_load: bool = False
    packages: Sequence[Package] = ()
    index: Index = field(default_factory=Index)
    # Folder -> stem of the helper module there, where the usual one is taken by a file of the tree.
    helper_names: Mapping[str, str] = field(default_factory=dict)
    package_folders: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Record:
    """A finding before its line number is known."""

    patch: str
    node: Any
    message: str
    by_hand: bool


class FileContext:
    """State of one file while its rules run.

    Attributes:
        path: relative to the root, with forward slashes.
        scope: names visible where the walk is.
        wanted: ``(module, name, local)`` imports to add; ``name`` is None for ``import module``.
        helpers: helper modules to write, relative to the root.
    """

    def __init__(self, path: str, options: Options, scopes: Mapping[Any, Scope], module: Any = None) -> None:
        self.path = path
        self.options = options
        self.scopes = scopes
        self.module = module
        self.scope = scopes[module] if module is not None else Scope("module")
        self.top = self.scope
        self.records: list[Record] = []
        self.wanted: dict[tuple[str, str | None], str] = {}
        self.helper_import: str = ""
        self.helpers: list[str] = []
        self.ancestors: list[Any] = []
        self._taken = {name for scope in scopes.values() for name in (*scope.imports, *scope.others)}

    def record(self, patch: str, node: Any, message: str, by_hand: bool = False) -> None:
        """Keep a finding; ``node`` belongs to the tree as it was parsed, or is a line number."""
        self.records.append(Record(patch, node, message, by_hand))

    def origins(self, node: Any) -> set[str]:
        """Dotted names that a Name or Attribute may stand for, seen from the current scope."""
        text = dotted(node)
        if text is None:
            return set()
        head, _, rest = text.partition(".")
        return {f"{origin}.{rest}" if rest else origin for origin in self.scope.origins(head)}

    def origin(self, node: Any, *names: str) -> str | None:
        """The one of ``names`` that ``node`` surely is, else None."""
        found = self.origins(node)
        return next((name for name in names if found == {name}), None)

    def may_be_star(self, node: Any, module: str) -> bool:
        """Whether a bare name could come from ``from module import *``."""
        return isinstance(node, cst.Name) and module in self.top.stars and not self.scope.visible(node.value)

    def star_origins(self, node: Any) -> set[str]:
        """What a bare name stands for that only an ``import *`` can have given; one candidate for each of them."""
        if not isinstance(node, cst.Name) or self.scope.visible(node.value):
            return set()
        return {f"{module}.{node.value}" for module in self.top.stars}

    def free_name(self, name: str) -> str:
        """``name``, with underscores in front if the file uses it for something else."""
        while name in self._taken:
            name = "_" + name
        return name

    def use(self, module: str, name: str | None = None) -> str:
        """Make ``module.name`` (or ``module``) importable in this file; returns the text to write for it."""
        whole = module if name is None else f"{module}.{name}"
        for local, origins in self.top.imports.items():
            if origins == {whole} and self.scope.origins(local) == {whole} and local not in self.top.others:
                return local
        for local, origins in self.top.imports.items():
            if name is not None and origins == {module} == self.scope.origins(local):
                return f"{local}.{name}"
        key = (module, name)
        head = module.partition(".")[0]
        if name is None and (self.top.origins(head) == {head} == self.scope.origins(head) or head not in self._taken):
            self.wanted[key] = head
            self._taken.add(head)
            self.top.imports.setdefault(head, {head})
            return module
        if key not in self.wanted:
            local = self.free_name(name or module.partition(".")[0])
            self.wanted[key] = local
            self._taken.add(local)
        return self.wanted[key]

    def use_helper(self, name: str) -> str:
        """Import ``name`` from the helper module that is put into the tree; returns the local name."""
        folder, module = self.helper_place()
        stem = self.options.helper_names.get(folder, HELPER)
        target = posixpath.join(folder, stem + ".py")
        if target not in self.helpers:
            self.helpers.append(target)
        self.helper_import = f"{module}.{stem}" if module not in ("", ".") else module + stem
        return self.use(self.helper_import, name)

    def helper_place(self) -> tuple[str, str]:
        """Folder of the helper module for this file, and how that folder is imported ("." or "" for its own).

        Files of a fairseq package, and files that import it, share the one in the package. Others get their own.
        """
        for package in self.options.packages:
            if not package.folder or self.path.startswith(package.folder + "/"):
                return package.folder, package.name
        imported = {
            origin.partition(".")[0] for scope in self.scopes.values() for o in scope.imports.values() for origin in o
        }
        imported |= {star.partition(".")[0] for star in self.top.stars}
        for package in self.options.packages:
            if package.name in imported:
                return package.folder, package.name
        folder = posixpath.dirname(self.path)
        return folder, "." if folder in self.options.package_folders else ""
