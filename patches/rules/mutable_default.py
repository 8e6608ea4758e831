"""Dataclass defaults that are instances."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..bindings import dotted
from ..edit import expression
from ..model import Example, Patch, Rule
from ..scan import HASHABLE_CALLS, MUTABLE_CALLS

FIELD = "dataclasses.field"


class MutableDefault(Rule):
    """``x: T = C()`` in a dataclass, and ``field(default=C())`` anywhere."""

    patch = Patch(
        id="dataclass-mutable-default",
        title="Dataclass defaults made by default_factory",
        symptom="ValueError: mutable default <class 'fairseq.dataclass.configs.CommonConfig'> for field common is not "
        "allowed: use default_factory",
        cause="Since Python 3.11 a dataclass refuses every default that cannot be hashed, and instances of other "
        "dataclasses cannot.",
        since={"python": "3.11"},
        fairseq="0.12 and main (FairseqConfig, TransformerConfig, many examples and plugins)",
        change="Defaults that are instances, lists, dicts or sets become field(default_factory=...).",
        matches=[("mutable default <class", "for field", "is not allowed")],
        features=["dataclass-value"],
        tokens=[b"dataclass"],
        before="""\
from dataclasses import dataclass


@dataclass
class Inner:
    size: int = 1


@dataclass
class Outer:
    inner: Inner = Inner()  # nested
    sized: Inner = Inner(size=2)
""",
        after="""\
from dataclasses import field, dataclass


@dataclass
class Inner:
    size: int = 1


@dataclass
class Outer:
    inner: Inner = field(default_factory=Inner)  # nested
    sized: Inner = field(default_factory=lambda: Inner(size=2))
""",
        more=[
            Example(
                """\
import dataclasses as dc
from configs import OtherConfig


@dc.dataclass
class Plugin:
    other: OtherConfig = dc.field(default=OtherConfig(), metadata={"help": "x"})
    names: list = dc.field(default=[])
""",
                """\
import dataclasses as dc
from configs import OtherConfig


@dc.dataclass
class Plugin:
    other: OtherConfig = dc.field(default_factory=OtherConfig, metadata={"help": "x"})
    names: list = dc.field(default_factory=list)
""",
            )
        ],
        untouched=[
            """\
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar
from omegaconf import II, MISSING


class Kind(Enum):
    A = "a"


@dataclass(frozen=True)
class Fixed:
    a: int = 1


class Plain:
    pass


@dataclass
class Good:
    rate: float = 0.1
    name: str = str.lower("X")
    shared: Fixed = Fixed()
    kind: Kind = Kind("a")
    member: Kind = Kind.A
    link: int = II("model.rate")
    needed: str = MISSING
    pair: tuple = (1, 2)
    plain: Plain = Plain()
    ready: list = field(default_factory=list)
    note: ClassVar[list] = []


class NotADataclass:
    items: list = []
"""
        ],
    )

    def __init__(self, ctx: Any) -> None:
        super().__init__(ctx)
        self.inside: list[bool] = []

    def visit_ClassDef(self, original: Any) -> None:
        # Decorators are read outside the class, where the walk no longer is.
        scope, self.ctx.scope = self.ctx.scope, self.ctx.scope.parent or self.ctx.scope
        self.inside.append(any(self._is_dataclass(item.decorator) for item in original.decorators))
        self.ctx.scope = scope

    def leave_ClassDef(self, original: Any, updated: Any) -> Any:
        self.inside.pop()
        return updated

    def _is_dataclass(self, node: Any) -> bool:
        if isinstance(node, cst.Call):
            node = node.func
        return "dataclasses.dataclass" in self.ctx.origins(node)

    def leave_AnnAssign(self, original: Any, updated: Any) -> Any:
        in_body = len(self.ctx.ancestors) >= 3 and isinstance(self.ctx.ancestors[-3], cst.ClassDef)
        if not (in_body and self.inside and self.inside[-1]) or original.value is None:
            return updated
        if not self._unhashable(original.value):
            return updated
        annotation = dotted(self._bare(original.annotation.annotation)) or ""
        short = annotation.rpartition(".")[2]
        if short == "ClassVar":
            return updated
        if short == "InitVar":
            self.by_hand(original, "an InitVar cannot have a default_factory: pass the value, or make the class frozen")
            return updated
        self.hit(original, "default becomes field(default_factory=...)")
        call = expression(f"{self.ctx.use('dataclasses', 'field')}()")
        return updated.with_changes(value=call.with_changes(args=[self._factory(original.value, updated.value)]))

    def leave_Call(self, original: Any, updated: Any) -> Any:
        if self.ctx.origin(original.func, FIELD) is None:
            return updated
        for index, arg in enumerate(original.args):
            if arg.keyword is not None and arg.keyword.value == "default" and self._unhashable(arg.value):
                self.hit(original, "default= becomes default_factory=")
                args = list(updated.args)
                new = self._factory(arg.value, args[index].value)
                args[index] = args[index].with_changes(keyword=new.keyword, value=new.value)
                return updated.with_changes(args=args)
        return updated

    @staticmethod
    def _bare(annotation: Any) -> Any:
        return annotation.value if isinstance(annotation, cst.Subscript) else annotation

    def _unhashable(self, node: Any) -> bool:
        if isinstance(node, (cst.List, cst.Dict, cst.Set, cst.ListComp, cst.DictComp, cst.SetComp)):
            return True
        if isinstance(node, (cst.Name, cst.Attribute)):
            return self._constant(node)
        if not isinstance(node, cst.Call):
            return False
        name = dotted(node.func)
        if name is None:
            return False
        short = name.rpartition(".")[2]
        known = self.ctx.options.index.classes.get(short)
        if known is not None:
            return known
        if short in MUTABLE_CALLS:
            return True
        # A class of some other package: by its spelling. II("...") and LAYERS("x") are no dataclasses.
        return short[:1].isupper() and not short.isupper() and short not in HASHABLE_CALLS

    def _constant(self, node: Any) -> bool:
        """A name for an instance made elsewhere, ``x: T = DEFAULT_T``."""
        name = dotted(node)
        if name is None:
            return False
        short = name.rpartition(".")[2]
        if isinstance(node, cst.Name) and self.ctx.scope.holder(short) is not self.ctx.top:
            return False
        if isinstance(node, cst.Attribute) and not self.ctx.origins(node):
            return False
        return self.ctx.options.index.constants.get(short, False)

    def _factory(self, original: Any, updated: Any) -> Any:
        equal = cst.AssignEqual(whitespace_before=cst.SimpleWhitespace(""), whitespace_after=cst.SimpleWhitespace(""))
        if isinstance(original, (cst.List, cst.Dict)) and not original.elements:
            value = cst.Name("list" if isinstance(original, cst.List) else "dict")
        elif isinstance(original, cst.Call) and not original.args:
            value = updated.func
        else:
            value = self._lambda(original, updated)
        return cst.Arg(value=value, keyword=cst.Name("default_factory"), equal=equal)

    def _lambda(self, original: Any, updated: Any) -> Any:
        # A function does not see the names of the class body it stands in, so they travel as its defaults.
        names = sorted(_names(original) & (self.ctx.scope.others if self.ctx.scope.kind == "class" else set()))
        text = f"lambda {', '.join(f'{name}={name}' for name in names)}: 0" if names else "lambda: 0"
        return expression(text).with_changes(body=updated)


def _names(node: Any) -> set[str]:
    found: set[str] = set()

    class Names(cst.CSTVisitor):
        def visit_Name(self, node: Any) -> None:
            found.add(node.value)

        def visit_Attribute(self, node: Any) -> bool:
            node.value.visit(self)
            return False

        def visit_Arg(self, node: Any) -> bool:
            node.value.visit(self)
            return False

    node.visit(Names())
    return found


RULE = MutableDefault
