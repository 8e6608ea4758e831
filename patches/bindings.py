"""Which import a name in a file stands for, scope by scope.

One quick walk notes where names are bound; LibCST's own scope analysis does much more and takes four times as long.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ._cst import cst, each_node

__all__ = ["Scope", "collect", "dotted"]


@dataclass
class Scope:
    """Names bound in one module, class, function, lambda or comprehension.

    Attributes:
        imports: local name -> dotted names it may stand for.
        others: names bound by anything but an import.
        values: local name -> expressions assigned to it (``name = expression``, ``a, b = call()``).
        stars: modules star-imported here.
    """

    kind: str
    parent: Scope | None = None
    imports: dict[str, set[str]] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)
    values: dict[str, list[Any]] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)

    def holder(self, name: str) -> Scope | None:
        """The scope in which ``name``, read here, is bound; None for builtins and star imports."""
        scope: Scope | None = self
        while scope is not None:
            if (scope is self or scope.kind != "class") and (name in scope.imports or name in scope.others):
                return scope
            scope = scope.parent
        return None

    def origins(self, name: str) -> set[str]:
        """Dotted names ``name`` stands for; empty when it is not (only) an import."""
        scope = self.holder(name)
        if scope is None or name in scope.others:
            return set()
        return scope.imports[name]

    def assigned(self, name: str) -> list[Any]:
        """Expressions assigned to ``name`` where it is bound; empty when it is also bound in other ways."""
        scope = self.holder(name)
        return [] if scope is None or name in scope.imports else scope.values.get(name, [])

    def visible(self, name: str) -> bool:
        """Whether ``name`` has a binding in this file, seen from here."""
        return self.holder(name) is not None


def dotted(node: Any) -> str | None:
    """``a.b.c`` as text; None for any other expression."""
    parts = []
    while isinstance(node, cst.Attribute):
        parts.append(node.attr.value)
        node = node.value
    if not isinstance(node, cst.Name):
        return None
    parts.append(node.value)
    return ".".join(reversed(parts))


def collect(module: Any) -> dict[Any, Scope]:
    """Scope of every scope-making node of ``module`` (the module among them)."""
    scopes: dict[Any, Scope] = {module: Scope("module")}
    stack = [scopes[module]]

    def bind_target(target: Any) -> None:
        if isinstance(target, cst.Name):
            stack[-1].others.add(target.value)
        elif isinstance(target, (cst.Tuple, cst.List)):
            for element in target.elements:
                bind_target(element.value)
        elif isinstance(target, cst.StarredElement):
            bind_target(target.value)

    def bind_value(name: str, value: Any) -> None:
        # "np = None" is what files do when an optional import failed; it says nothing about the name's meaning.
        if isinstance(value, cst.Name) and value.value == "None":
            return
        stack[-1].others.add(name)
        stack[-1].values.setdefault(name, []).append(value)

    def bind_parts(target: Any, value: Any) -> None:
        """``a, b = x, y`` binds each to its own value, ``a, b = call()`` to ``call()[0]`` and ``call()[1]``."""
        starred = any(isinstance(element, cst.StarredElement) for element in target.elements)
        parts = value.elements if isinstance(value, (cst.Tuple, cst.List)) else ()
        for index, element in enumerate(target.elements):
            bind_target(element.value)
            if starred or not isinstance(element.value, cst.Name):
                continue
            if len(parts) == len(target.elements) and not isinstance(parts[index], cst.StarredElement):
                bind_value(element.value.value, parts[index].value)
            elif isinstance(value, cst.Call):
                item = cst.SubscriptElement(cst.Index(cst.Integer(str(index))))
                bind_value(element.value.value, cst.Subscript(value, [item]))

    def on_import(node: Any) -> None:
        for alias in node.names:
            name = dotted(alias.name) or ""
            if alias.asname is not None and isinstance(alias.asname.name, cst.Name):
                stack[-1].imports.setdefault(alias.asname.name.value, set()).add(name)
            else:
                top = name.partition(".")[0]
                stack[-1].imports.setdefault(top, set()).add(top)

    def on_import_from(node: Any) -> None:
        module_name = "." * len(node.relative) + ((dotted(node.module) or "") if node.module is not None else "")
        if isinstance(node.names, cst.ImportStar):
            stack[-1].stars.append(module_name)
            return
        for alias in node.names:
            name = dotted(alias.name) or ""
            local = alias.asname.name.value if alias.asname and isinstance(alias.asname.name, cst.Name) else name
            joint = "" if module_name.endswith(".") else "."
            stack[-1].imports.setdefault(local, set()).add(f"{module_name}{joint}{name}")

    def on_assign(node: Any) -> None:
        for target in node.targets:
            if isinstance(target.target, cst.Name):
                bind_value(target.target.value, node.value)
            elif isinstance(target.target, (cst.Tuple, cst.List)):
                bind_parts(target.target, node.value)
            else:
                bind_target(target.target)

    def on_annotated(node: Any) -> None:
        if isinstance(node.target, cst.Name):
            if node.value is None:
                stack[-1].others.add(node.target.value)
            else:
                bind_value(node.target.value, node.value)

    def on_global(node: Any) -> None:
        # The name belongs to the module: a later assignment here rebinds it there.
        for item in node.names:
            scopes[module].others.add(item.name.value)

    def on_definition(node: Any) -> None:
        stack[-1].others.add(node.name.value)
        scopes[node] = Scope("class" if isinstance(node, cst.ClassDef) else "function", stack[-1])

    def on_anonymous(node: Any) -> None:
        scopes[node] = Scope("function", stack[-1])

    actions: dict[Any, Any] = {
        cst.Import: on_import,
        cst.ImportFrom: on_import_from,
        cst.Assign: on_assign,
        cst.AnnAssign: on_annotated,
        cst.AugAssign: lambda node: bind_target(node.target),
        cst.For: lambda node: bind_target(node.target),
        cst.CompFor: lambda node: bind_target(node.target),
        cst.NamedExpr: lambda node: bind_target(node.target),
        cst.AsName: lambda node: bind_target(node.name),
        cst.Param: lambda node: bind_target(node.name),
        cst.Global: on_global,
        cst.FunctionDef: on_definition,
        cst.ClassDef: on_definition,
        cst.Lambda: on_anonymous,
        cst.GeneratorExp: on_anonymous,
        cst.ListComp: on_anonymous,
        cst.SetComp: on_anonymous,
        cst.DictComp: on_anonymous,
    }

    def enter(node: Any) -> bool:
        kind = type(node)
        action = actions.get(kind)
        if action is None:
            return True
        action(node)
        if kind in making and node is not module:
            stack.append(scopes[node])
        # An import's "as" names are bound by the import itself.
        return kind is not cst.Import and kind is not cst.ImportFrom

    def leave(node: Any) -> None:
        if type(node) in making:
            stack.pop()

    making = {kind for kind, action in actions.items() if action in (on_definition, on_anonymous)}
    each_node(module, enter, leave)
    return scopes
