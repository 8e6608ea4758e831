"""Put the imports that rules asked for into a module."""

from __future__ import annotations

from typing import Any, Mapping

from ._cst import cst, each_node
from .bindings import dotted

__all__ = ["add_imports"]


def add_imports(module: Any, wanted: Mapping[tuple[str, str | None], str], helper: str) -> Any:
    """``module`` with ``wanted`` imported: names join an existing ``from`` line where there is one.

    Args:
        module: LibCST module.
        wanted: ``(module, name)`` -> local name; name None means ``import module``.
        helper: dotted name of the helper module; its import must follow what makes its package findable.
    """
    body = list(module.body)
    for (source, name), local in wanted.items():
        package = source.partition(".")[0] if source == helper else ""
        _split_before_use(body, local, package)
        limit = _first_use(body, local)
        if name is not None and _extend(body[:limit], body, source, name, local):
            continue
        place = _helper_place(body, source) if source == helper else _first_place(body)
        for statement in reversed(_statements(source, name, local)):
            _insert(body, min(place, limit), statement)
    return module.with_changes(body=body)


def _runs(node: Any, name: str) -> bool:
    """Whether ``name`` is read as soon as ``node`` runs; what stands inside a function runs later."""
    found = False
    later: set[int] = set()

    def enter(node: Any) -> bool:
        nonlocal found
        if isinstance(node, (cst.FunctionDef, cst.Lambda)):
            later.add(id(node.body))
        elif isinstance(node, cst.Name):
            found = found or node.value == name
        return not found and id(node) not in later and not isinstance(node, cst.ImportAlias)

    each_node(node, enter, lambda _: None)
    return found


def _first_use(body: list[Any], name: str) -> int:
    """Index of the first statement that reads ``name`` when the module is imported; the end when none does."""
    return next((index for index, statement in enumerate(body) if _runs(statement, name)), len(body))


def _split_before_use(body: list[Any], name: str, package: str) -> None:
    """Make two lines of ``import package; x = name()`` (or of a docstring and a use) that an import must go between."""
    index = _first_use(body, name)
    if index == len(body) or not isinstance(body[index], cst.SimpleStatementLine):
        return
    line = body[index]
    parts = list(line.body)
    use = next(number for number, part in enumerate(parts) if _runs(part, name))
    cut = max((number + 1 for number in range(use) if _goes_first(parts[number], index + number, package)), default=0)
    if not cut:
        return
    parts[cut - 1] = parts[cut - 1].with_changes(semicolon=cst.MaybeSentinel.DEFAULT)
    head = line.with_changes(body=parts[:cut], trailing_whitespace=cst.TrailingWhitespace())
    body[index : index + 1] = [head, line.with_changes(body=parts[cut:], leading_lines=())]


def _goes_first(part: Any, place: int, package: str) -> bool:
    if isinstance(part, cst.Expr):
        return place == 0 and isinstance(part.value, (cst.SimpleString, cst.ConcatenatedString))
    if isinstance(part, cst.ImportFrom):
        module = (dotted(part.module) if part.module is not None else "") or ""
        return not part.relative and module.partition(".")[0] in ({"__future__", package} - {""})
    return isinstance(part, cst.Import) and any(
        (dotted(alias.name) or "").partition(".")[0] == package for alias in part.names
    )


def _alias(name: str, local: str) -> Any:
    asname = None if local == name else cst.AsName(name=cst.Name(local))
    return cst.ImportAlias(name=cst.Name(name), asname=asname)


def _statements(source: str, name: str | None, local: str) -> list[Any]:
    as_text = "" if local in (name, source, source.partition(".")[0]) else f" as {local}"
    if name is None:
        return [cst.parse_statement(f"import {source}{as_text}\n")]
    if not source.startswith("."):
        return [cst.parse_statement(f"from {source} import {name}{as_text}\n")]
    # A file of a package may also be run as a script, where the package is not known.
    text = (
        f"try:\n    from {source} import {name}{as_text}\n"
        f"except ImportError:\n    from {source.lstrip('.')} import {name}{as_text}\n"
    )
    return [cst.parse_statement(text)]


def _imports(statement: Any) -> list[Any]:
    if not isinstance(statement, cst.SimpleStatementLine):
        return []
    return [item for item in statement.body if isinstance(item, (cst.Import, cst.ImportFrom))]


def _extend(early: list[Any], body: list[Any], source: str, name: str, local: str) -> bool:
    """Add ``name`` to a ``from`` line of ``body``, one of those that run before its first use (``early``)."""
    for index, statement in enumerate(early):
        if isinstance(statement, (cst.ClassDef, cst.FunctionDef)):
            return False
        for item in _imports(statement):
            if not isinstance(item, cst.ImportFrom) or item.relative or isinstance(item.names, cst.ImportStar):
                continue
            if item.module is None or dotted(item.module) != source or len(statement.body) != 1:
                continue
            names = list(item.names)
            # In front, with the comma of its neighbour: keeps one-per-line lists one per line.
            comma = names[0].comma if len(names) > 1 else cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
            grown = [_alias(name, local).with_changes(comma=comma), *names]
            body[index] = statement.with_changes(body=[item.with_changes(names=grown)])
            return True
    return False


def _first_place(body: list[Any]) -> int:
    """Index behind the docstring and the ``__future__`` imports."""
    place = 0
    for index, statement in enumerate(body):
        if not isinstance(statement, cst.SimpleStatementLine) or not statement.body:
            break
        first = statement.body[0]
        is_text = isinstance(first, cst.Expr) and isinstance(first.value, (cst.SimpleString, cst.ConcatenatedString))
        is_future = (
            isinstance(first, cst.ImportFrom) and first.module is not None and dotted(first.module) == "__future__"
        )
        if not (is_future or (is_text and index == 0)):
            break
        place = index + 1
    return place


def _helper_place(body: list[Any], source: str) -> int:
    """Scripts may edit ``sys.path`` before they import the package: go behind their first import of it.

    Without one: behind the imports that open the file, so that no use can come earlier.
    """
    package = source.partition(".")[0]
    for index, statement in enumerate(body):
        if isinstance(statement, (cst.ClassDef, cst.FunctionDef)):
            break
        for item in _imports(statement):
            modules = [item.module] if isinstance(item, cst.ImportFrom) else [alias.name for alias in item.names]
            if package and any((dotted(node) or "").partition(".")[0] == package for node in modules if node):
                return index + 1
    place = _first_place(body)
    while place < len(body) and _imports(body[place]):
        place += 1
    return place


def _insert(body: list[Any], place: int, statement: Any) -> None:
    if 0 < place < len(body) and _first_place(body) == place:
        following = body[place]
        if all(line.comment is None for line in following.leading_lines):
            statement = statement.with_changes(leading_lines=following.leading_lines)
            body[place] = following.with_changes(leading_lines=[])
    body.insert(place, statement)
