"""OmegaConf's private is_primitive_type, which fairseq replaced for a moment."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..bindings import dotted
from ..edit import argument, expression, with_keyword
from ..model import Patch, Rule

PRIVATE = "omegaconf._utils.is_primitive_type"


class OmegaConfFlags(Rule):
    """Swapping ``_utils.is_primitive_type`` -> the flag ``allow_objects``."""

    patch = Patch(
        id="omegaconf-primitive-type",
        title="OmegaConf's private is_primitive_type",
        symptom="AttributeError: module 'omegaconf._utils' has no attribute 'is_primitive_type'",
        cause="omegaconf 2.2 renamed a private function that fairseq swaps out while it stores an "
        "argparse.Namespace in a "
        "configuration.",
        since={"omegaconf": "2.2"},
        fairseq="0.10.2 to 0.12.3 (checkpoint_utils, dataclass/utils)",
        change='The swapping is dropped, and OmegaConf.create in such functions gets flags={"allow_objects": True}.',
        matches=[
            ("module 'omegaconf._utils' has no attribute 'is_primitive_type'",),
            ("is_primitive_type",),
            ("value 'Namespace' is not a supported primitive type",),
        ],
        tokens=[b"is_primitive_type"],
        before="""\
from omegaconf import OmegaConf, _utils


def wrap(state):
    old_primitive = _utils.is_primitive_type
    _utils.is_primitive_type = lambda _: True
    cfg = OmegaConf.create(state)
    _utils.is_primitive_type = old_primitive
    return cfg
""",
        after="""\
from omegaconf import OmegaConf, _utils


def wrap(state):
    cfg = OmegaConf.create(state, flags={"allow_objects": True})
    return cfg
""",
        untouched=[
            """\
from omegaconf import OmegaConf, _utils


class guard:
    def __enter__(self):
        if hasattr(_utils, "is_primitive_type"):
            self.old = _utils.is_primitive_type
            _utils.is_primitive_type = lambda _: True


def wrap(state):
    return OmegaConf.create(state)
"""
        ],
    )

    def __init__(self, ctx: Any) -> None:
        super().__init__(ctx)
        self.swapping: list[bool] = []
        self.guarded = 0

    def visit_FunctionDef(self, original: Any) -> None:
        scope, found = self.ctx.scope, []
        rule = self

        class Swaps(cst.CSTVisitor):
            def visit_AssignTarget(self, node: Any) -> None:
                found.append(rule._is_private(node.target))

        original.body.visit(Swaps())
        self.ctx.scope = scope
        self.swapping.append(any(found) and not self._asks(original))

    def leave_FunctionDef(self, original: Any, updated: Any) -> Any:
        self.swapping.pop()
        return updated

    def _asks(self, node: Any) -> bool:
        """A function that asks ``hasattr(_utils, "is_primitive_type")`` copes with both versions."""
        found = []

        class Strings(cst.CSTVisitor):
            def visit_SimpleString(self, inner: Any) -> None:
                found.append("is_primitive_type" in inner.value)

        node.visit(Strings())
        return any(found)

    def _is_private(self, node: Any) -> bool:
        return (
            isinstance(node, cst.Attribute)
            and node.attr.value == "is_primitive_type"
            and PRIVATE in self.ctx.origins(node)
        )

    def leave_Assign(self, original: Any, updated: Any) -> Any:
        if not (self.swapping and self.swapping[-1]):
            return updated
        if self._is_private(original.value) or any(self._is_private(item.target) for item in original.targets):
            self.hit(original, "is_primitive_type is no longer swapped")
            return cst.RemoveFromParent()
        return updated

    def leave_Call(self, original: Any, updated: Any) -> Any:
        if not (self.swapping and self.swapping[-1]) or not (dotted(original.func) or "").endswith("OmegaConf.create"):
            return updated
        if argument(original, "flags") is not None:
            return updated
        self.hit(original, "allow_objects is set")
        return with_keyword(updated, "flags", expression('{"allow_objects": True}'))


RULE = OmegaConfFlags
