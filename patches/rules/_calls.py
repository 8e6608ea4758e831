"""Rules that only rename: a table of dotted names and what to write instead."""

from __future__ import annotations

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
        gone = set()
        for alias in original.names:
            local = alias.asname.name if alias.asname else alias.name
            if not isinstance(local, cst.Name) or not isinstance(alias.name, cst.Name):
                continue
            name = self.meant(local)
            if name is None or name.rpartition(".")[2] != alias.name.value:
                continue
            gone.add(alias.name.value)
            if self._moves(local):
                module, _, attribute = self.names[name].partition(":")
                if module == "@helper":
                    self.ctx.use_helper(attribute)
                    module = self.ctx.helper_import
                self.ctx.wanted[(module, attribute)] = local.value
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
        if original in self.kept or not self.ctx.scope.origins(original.value):
            return updated
        parent = self.ctx.ancestors[-1] if self.ctx.ancestors else None
        if isinstance(parent, cst.Attribute) and parent.value is not original:
            return updated
        if isinstance(parent, (cst.ImportAlias, cst.AsName)) or (
            isinstance(parent, (cst.Arg,)) and parent.keyword is original
        ):
            return updated
        return updated if self._moves(original) else self._replace(original, updated)

    def _replace(self, original: Any, updated: Any) -> Any:
        name = self.meant(original)
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
