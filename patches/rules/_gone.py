"""Rules for modules of the standard library that are no more."""

from __future__ import annotations

from typing import Any, ClassVar

from .._cst import cst
from ._calls import Rename

__all__ = ["GoneModule"]


class GoneModule(Rename):
    """Rename what has a successor, report the rest, and drop the import when nothing is left."""

    module: ClassVar[str] = ""
    advice: ClassVar[str] = ""

    def __init__(self, ctx: Any) -> None:
        super().__init__(ctx)
        self.left = 0

    def visit_Attribute(self, original: Any) -> None:
        origins = self.ctx.origins(original)
        prefix = self.module + "."
        if not any(origin.startswith(prefix) for origin in origins) or original in self.kept:
            return
        if self._known(origins):
            return
        if isinstance(self.ctx.ancestors[-2], cst.Attribute):
            return
        self.left += 1
        self.by_hand(original, f"{sorted(origins)[0]} is gone: {self.advice}")

    def leave_ImportFrom(self, original: Any, updated: Any) -> Any:
        new = super().leave_ImportFrom(original, updated)
        if new is updated and not isinstance(original.names, cst.ImportStar):
            for alias in original.names:
                local = alias.asname.name if alias.asname else alias.name
                origins = self.ctx.origins(local)
                if any(origin.startswith(self.module + ".") for origin in origins) and not self._known(origins):
                    self.left += 1
                    self.by_hand(original, f"{sorted(origins)[0]} is gone: {self.advice}")
        return new

    def _known(self, origins: set[str]) -> bool:
        return any(name == origin or name.startswith(origin + ".") for origin in origins for name in self.names)

    def finish(self, module: Any) -> Any:
        if self.left or not any(record.patch == self.patch.id for record in self.ctx.records):
            return module
        gone = self.module

        class Drop(cst.CSTTransformer):
            def leave_Import(self, original: Any, updated: Any) -> Any:
                kept = [
                    alias
                    for alias in updated.names
                    if (cst.Module(()).code_for_node(alias.name) + ".").startswith(gone + ".") is False
                ]
                if len(kept) == len(updated.names):
                    return updated
                if not kept:
                    return cst.RemoveFromParent()
                kept[-1] = kept[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
                return updated.with_changes(names=kept)

        return module.visit(Drop())
