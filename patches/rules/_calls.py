"""Rules that only rename: a table of dotted names and what to write instead."""

from __future__ import annotations

import builtins
from typing import Any, ClassVar, Mapping

from .._cst import cst
from ..edit import expression
from ..model import Rule

__all__ = ["Rename", "without_names"]


def without_names(statement: Any, gone: set[str]) -> Any:
    """``from x import a, b`` without the names in ``gone``; removed when none is left."""
    names = [alias for alias in statement.names if getattr(alias.name, "value", "") not in gone]
    if not names:
        return cst.RemoveFromParent()
    names[-1] = names[-1].with_changes(comma=statement.names[-1].comma)
    return statement.with_changes(names=names)


def _renamed(alias: Any, names: Mapping[str, str]) -> Any:
    """``old`` -> ``new as old`` in a list of imported names, where ``old`` is in the table."""
    new = names.get(getattr(alias.name, "value", ""))
    if new is None:
        return alias
    return alias.with_changes(name=cst.Name(new), asname=alias.asname or cst.AsName(name=alias.name))


class Rename(Rule):
    """Replace every use of a dotted name by an expression.

    ``names`` maps the dotted name to ``"module:attribute"`` (imported as needed), to ``"=expression"`` (builtins and
    literals) or to ``".attribute"`` (same object, other attribute).
    """

    names: ClassVar[Mapping[str, str]] = {}

    def __init__(self, ctx: Any) -> None:
        super().__init__(ctx)
        self.last = {name.rpartition(".")[2] for name in self.names}
        self.kept: set[Any] = set()

    def visit_AssignTarget(self, original: Any) -> None:
        self.kept.add(original.target)

    def visit_ImportFrom(self, original: Any) -> None:
        # The names inside an import statement are no uses.
        for node in original.names if not isinstance(original.names, cst.ImportStar) else ():
            self.kept.update((node.name, node.asname.name if node.asname else None))

    def visit_Import(self, original: Any) -> None:
        for alias in original.names:
            node = alias.name
            while isinstance(node, cst.Attribute):
                self.kept.update((node, node.attr))
                node = node.value
            self.kept.add(node)

    def leave_ImportFrom(self, original: Any, updated: Any) -> Any:
        """Drop names that no longer exist; their uses are rewritten."""
        if isinstance(original.names, cst.ImportStar) or isinstance(updated.names, cst.ImportStar):
            return updated
        gone, renamed = set(), {}
        for alias in original.names:
            local = alias.asname.name if alias.asname else alias.name
            if not isinstance(local, cst.Name) or not isinstance(alias.name, cst.Name):
                continue
            name = self.meant(local)
            if name is None or name.rpartition(".")[2] != alias.name.value:
                continue
            if self.names[name].startswith("."):
                # Same module, another name: the file goes on using the local one.
                renamed[alias.name.value] = self.names[name][1:]
                continue
            gone.add(alias.name.value)
            if self._moves(local):
                module, _, attribute = self.names[name].partition(":")
                if module == "@helper":
                    self.ctx.use_helper(attribute)
                    module = self.ctx.helper_import
                self.ctx.wanted[(module, attribute)] = local.value
        for old, new in renamed.items():
            self.hit(original, f"{old} becomes {new}")
        if renamed:
            updated = updated.with_changes(names=[_renamed(alias, renamed) for alias in updated.names])
        if not gone:
            return updated
        self.hit(original, f"{', '.join(sorted(gone))} is no longer imported from here")
        return without_names(updated, gone)

    def _moves(self, local: Any) -> bool:
        """Whether the import of a name is put elsewhere, so that its uses can stay as they are."""
        name = self.meant(local)
        if name is None or self.ctx.scope.holder(local.value) is not self.ctx.top:
            return False
        _, colon, attribute = self.names[name].partition(":")
        return bool(colon and attribute)

    def meant(self, original: Any) -> str | None:
        """The table's name for ``original``, or None; candidates of try/except imports must all be in the table."""
        origins = self.ctx.origins(original)
        known = [name for name in origins if name in self.names]
        return sorted(known)[0] if known and len(known) == len(origins) else None

    def leave_Attribute(self, original: Any, updated: Any) -> Any:
        if original.attr.value not in self.last or original in self.kept:
            return updated
        return self._replace(original, updated)

    def leave_Name(self, original: Any, updated: Any) -> Any:
        if original in self.kept:
            return updated
        if not self.ctx.scope.origins(original.value):
            return self._from_star(original, updated)
        parent = self.ctx.ancestors[-1] if self.ctx.ancestors else None
        if isinstance(parent, cst.Attribute) and parent.value is not original:
            return updated
        if isinstance(parent, (cst.ImportAlias, cst.AsName)) or (
            isinstance(parent, (cst.Arg,)) and parent.keyword is original
        ):
            return updated
        return updated if self._moves(original) else self._replace(original, updated)

    def _from_star(self, original: Any, updated: Any) -> Any:
        """A bare name that ``from module import *`` gave: replaced when no other star import can have given it."""
        stars = self.ctx.top.stars
        known = [star for star in stars if f"{star}.{original.value}" in self.names] if stars else []
        if not known or self.ctx.scope.visible(original.value) or self._is_no_use(original):
            return updated
        if hasattr(builtins, original.value):
            # import * never gave numpy's float or bool: the bare word is Python's own.
            return updated
        name = f"{known[0]}.{original.value}"
        target = self.names[name]
        if len(stars) > 1:
            self.by_hand(original, f"may be {name} (several import *), which becomes {target.lstrip('.=')}")
            return updated
        if target.startswith("."):
            self.hit(original, f"{name} becomes {target[1:]}")
            return cst.Name(target[1:], lpar=updated.lpar, rpar=updated.rpar)
        return self._replace(original, updated, name)

    def _is_no_use(self, node: Any) -> bool:
        """A Name that names a keyword, an attribute or a parameter."""
        parent = self.ctx.ancestors[-1] if self.ctx.ancestors else None
        if isinstance(parent, cst.Attribute):
            return parent.value is not node
        if isinstance(parent, cst.Arg):
            return parent.keyword is node
        return isinstance(parent, (cst.ImportAlias, cst.AsName, cst.Param, cst.FunctionDef, cst.ClassDef, cst.Global))

    def _replace(self, original: Any, updated: Any, name: str | None = None) -> Any:
        name = name or self.meant(original)
        if name is None:
            return updated
        target = self.names[name]
        shown = target.lstrip("=").replace(":", ".")
        if target.startswith("."):
            if not isinstance(updated, cst.Attribute):
                return updated
            self.hit(original, f"{name} becomes {shown}")
            return updated.with_changes(attr=cst.Name(target[1:]))
        self.hit(original, f"{name} becomes {shown}")
        if target.startswith("="):
            return expression(target[1:], like=updated)
        module, _, attribute = target.partition(":")
        if module == "@helper":
            return expression(self.ctx.use_helper(attribute), like=updated)
        return expression(self.ctx.use(module, attribute or None), like=updated)
