"""Code that reads the default of a dataclass field itself."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..bindings import dotted
from ..edit import expression
from ..model import Example, Patch, Rule


class FieldDefault(Rule):
    """``X.__dataclass_fields__[k].default`` and ``f.default`` of a field ``f``."""

    patch = Patch(
        id="dataclass-field-default",
        title="Reading a dataclass field's default that a factory makes",
        symptom="omegaconf.errors.ValidationError: Object of unsupported type: '_MISSING_TYPE'",
        cause="A field with a default_factory has no .default; code that registers or compares defaults gets the "
        "marker MISSING instead.",
        since={"python": "3.11"},
        fairseq="0.10 to main (hydra_init, FairseqDataclass, gen_parser_from_dataclass)",
        change="Such reads go through field_default(), which calls the factory where there is one.",
        matches=[
            ("object of unsupported type", "_MISSING_TYPE"),
            ("_MISSING_TYPE", "is not a supported primitive type"),
        ],
        tokens=[(b"__dataclass_fields__", b".default"), (b"dataclasses", b"fields", b".default")],
        before="""\
def defaults(cls):
    return {k: cls.__dataclass_fields__[k].default for k in cls.__dataclass_fields__}
""",
        after="""\
from _modern import field_default
def defaults(cls):
    return {k: field_default(cls.__dataclass_fields__[k]) for k in cls.__dataclass_fields__}
""",
        more=[
            Example(
                """\
from dataclasses import fields


def defaults(cls):
    return [f.default for f in fields(cls)]
""",
                """\
from dataclasses import fields
from _modern import field_default


def defaults(cls):
    return [field_default(f) for f in fields(cls)]
""",
            )
        ],
        untouched=[
            """\
import dataclasses
import inspect


def careful(cls):
    for f in dataclasses.fields(cls):
        if f.default is not dataclasses.MISSING:
            yield f.default
        else:
            yield f.default_factory()


def other(function, parser, cls):
    cls.__dataclass_fields__["x"].default = 1
    return [p.default for p in inspect.signature(function).parameters.values()], parser.default
"""
        ],
    )

    def __init__(self, ctx: Any) -> None:
        super().__init__(ctx)
        # Per function (and module): does it know about factories, and which names are fields?
        self.frames: list[tuple[bool, set[str]]] = []
        self.targets: set[Any] = set()

    def visit_Module(self, original: Any) -> None:
        self.frames.append((False, self._field_names(original)))

    def visit_FunctionDef(self, original: Any) -> None:
        self.frames.append((_mentions(original, "default_factory"), self._field_names(original)))

    def leave_FunctionDef(self, original: Any, updated: Any) -> Any:
        self.frames.pop()
        return updated

    def visit_AssignTarget(self, original: Any) -> None:
        self.targets.add(original.target)

    def visit_Del(self, original: Any) -> None:
        self.targets.add(original.target)

    def leave_Attribute(self, original: Any, updated: Any) -> Any:
        if original.attr.value != "default" or original in self.targets:
            return updated
        careful, names = self.frames[-1]
        subject = original.value
        is_field = _is_fields_lookup(subject) or (isinstance(subject, cst.Name) and subject.value in names)
        if (careful and not _is_fields_lookup(subject)) or not is_field or self._guarded(original):
            return updated
        self.hit(original, ".default is read through field_default()")
        call = expression(f"{self.ctx.use_helper('field_default')}(x)", like=updated)
        return call.with_changes(args=[cst.Arg(updated.value)])

    def _guarded(self, node: Any) -> bool:
        """``f.default is MISSING``: a question about the field, not a use of its default."""
        parent = self.ctx.ancestors[-1] if self.ctx.ancestors else None
        if isinstance(parent, cst.ComparisonTarget):
            return False
        return isinstance(parent, cst.Comparison) and any(
            (dotted(item.comparator) or "").endswith("MISSING") for item in parent.comparisons
        )

    def _field_names(self, node: Any) -> set[str]:
        rule = self
        found: set[str] = set()

        class Names(cst.CSTVisitor):
            def visit_FunctionDef(self, inner: Any) -> bool:
                return inner is node

            def visit_Assign(self, inner: Any) -> None:
                if _is_fields_lookup(inner.value):
                    found.update(t.target.value for t in inner.targets if isinstance(t.target, cst.Name))

            def visit_For(self, inner: Any) -> None:
                found.update(rule._loop_names(inner.target, inner.iter))

            def visit_CompFor(self, inner: Any) -> None:
                found.update(rule._loop_names(inner.target, inner.iter))

        node.visit(Names())
        return found

    def _loop_names(self, target: Any, source: Any) -> set[str]:
        if not isinstance(source, cst.Call):
            return set()
        method = source.func.attr.value if isinstance(source.func, cst.Attribute) else ""
        holder = source.func.value if isinstance(source.func, cst.Attribute) else None
        of_fields = isinstance(holder, cst.Attribute) and holder.attr.value == "__dataclass_fields__"
        if of_fields and method == "items" and isinstance(target, cst.Tuple) and len(target.elements) == 2:
            target = target.elements[1].value
        elif not (of_fields and method == "values") and "dataclasses.fields" not in self.ctx.origins(source.func):
            return set()
        return {target.value} if isinstance(target, cst.Name) else set()


def _is_fields_lookup(node: Any) -> bool:
    """``X.__dataclass_fields__[...]``."""
    return (
        isinstance(node, cst.Subscript)
        and isinstance(node.value, cst.Attribute)
        and node.value.attr.value == "__dataclass_fields__"
    )


def _mentions(node: Any, attribute: str) -> bool:
    found = []

    class Search(cst.CSTVisitor):
        def visit_Attribute(self, inner: Any) -> None:
            if inner.attr.value == attribute:
                found.append(inner)

    node.visit(Search())
    return bool(found)


RULE = FieldDefault
