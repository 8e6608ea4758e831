"""Second look at a file: parse once with LibCST, run every rule that asked for it in one walk."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, List, Mapping, Sequence, Tuple, Type

from ._cst import MissingLibCST, cst, each_node
from .bindings import Scope, collect
from .context import FileContext, Options
from .imports import add_imports
from .lines import code_and_lines
from .model import Finding, Outcome, Rule
from .scan import is_python
from .source import Source, UnreadableSource, decode

__all__ = ["rewrite"]

Handler = Callable[..., Any]
Handlers = Tuple[Dict[type, List[Handler]], Dict[type, List[Handler]]]


def rewrite(path: str, data: bytes, rules: Sequence[Type[Rule]], options: Options) -> Outcome:
    """Run ``rules`` over one file, in their order.

    Args:
        path: relative to the root.
        data: content of the file.
        rules: those that the scan found worth trying.
        options: settings and what is known of the whole tree.
    """
    try:
        source = decode(data)
    except UnreadableSource as err:
        return Outcome(path, problem=str(err))
    outcome = Outcome(path)
    try:
        text = (
            _python(path, source, rules, options, outcome)
            if is_python(path, data)
            else _text(path, source, rules, options, outcome)
        )
        new = source.encode(text)
    except MissingLibCST:
        raise
    except _Unparsable as err:
        return Outcome(path, problem=str(err))
    except Exception as err:
        # Whatever a rule stumbles over: one file is left as it is, all others are still patched.
        names = ", ".join(rule.patch.id for rule in rules)
        problem = f"could not be rewritten ({type(err).__name__}: {err}; patches tried: {names})"
        return Outcome(path, problem=problem, failed=True)
    if source.undeclared and outcome.findings:
        outcome.findings.append(
            Finding(
                path, 1, "source-encoding",
                "is not UTF-8 and does not say what it is, so Python refuses to import it: save it as UTF-8, or put "
                "'# -*- coding: latin-1 -*-' into its first line", by_hand=True,
            )
        )  # fmt: skip
    if new != data:
        outcome.new, outcome.old = new, data
    else:
        outcome.helpers = []
    return outcome


class _Unparsable(ValueError):
    """LibCST refuses the file."""


def _text(path: str, source: Source, rules: Sequence[Type[Rule]], options: Options, outcome: Outcome) -> str:
    text, outcome.findings = _rewrite_text(path, source.text, rules, options)
    if text != source.text:
        again, left = _rewrite_text(path, text, rules, options)
        outcome.settled = left if again == text else None
    return text


def _rewrite_text(path: str, text: str, rules: Iterable[Type[Rule]], options: Options) -> tuple[str, list[Finding]]:
    ctx = FileContext(path, options, {})
    before = text
    for rule in rules:
        text = rule(ctx).rewrite_text(text)
    return text, _located(path, {record.node: int(record.node) for record in ctx.records}, ctx, before)


def _python(path: str, source: Source, rules: Sequence[Type[Rule]], options: Options, outcome: Outcome) -> str:
    try:
        module = cst.parse_module(source.text)
    except (cst.ParserSyntaxError, ValueError) as err:
        line = getattr(err, "raw_line", 0)
        raise _Unparsable(f"is understood by Python, but not by LibCST (line {line}): pip install -U libcst") from err
    scopes = collect(module)
    touched: set[int] = set()
    if not _looked_at(path, options, scopes, module, rules, touched).records:
        return source.text
    ctx = FileContext(path, options, scopes, module)
    active = [rule(ctx) for rule in rules]
    updated = module.visit(_walker(ctx, active, touched))
    if not ctx.records:
        return source.text
    code, lines = code_and_lines(module, {record.node for record in ctx.records})
    if code != source.text:
        raise _Unparsable("LibCST does not give this file back unchanged")
    for rule in active:
        updated = rule.finish(updated)
    if ctx.wanted:
        updated = add_imports(updated, ctx.wanted, ctx.helper_import)
    outcome.helpers = list(ctx.helpers)
    outcome.findings = _located(path, lines, ctx, source.text)
    if not any(record.by_hand is False for record in ctx.records):
        return source.text
    again = _looked_at(path, options, collect(updated), updated, rules)
    text, lines = code_and_lines(updated, {record.node for record in again.records})
    if all(record.by_hand for record in again.records):
        outcome.settled = _located(path, lines, again, text)
    return text


# At the end of a line: a person has looked at it, and it is as it should be.
SEEN = "fairseq-patch: seen"


def _located(path: str, lines: Mapping[Any, int], ctx: FileContext, text: str) -> list[Finding]:
    """Findings with their lines; those for a person with the source of the line, too."""
    sources = text.split("\n") if any(record.by_hand for record in ctx.records) else []
    findings = []
    for record in ctx.records:
        line = lines.get(record.node, 1)
        code = sources[line - 1].strip() if record.by_hand and 0 < line <= len(sources) else ""
        findings.append(Finding(path, line, record.patch, record.message, record.by_hand, code[:300], SEEN in code))
    return sorted(findings, key=lambda finding: (finding.line, finding.patch))


def _looked_at(
    path: str,
    options: Options,
    scopes: Mapping[Any, Scope],
    module: Any,
    rules: Iterable[Type[Rule]],
    touched: set[int] | None = None,
) -> FileContext:
    """The records of a walk that changes nothing; it takes a fraction of the time of one that may.

    Args:
        touched: gets the identities of all nodes at which a rule has something to say, and of the nodes around them.
    """
    ctx = FileContext(path, options, scopes, module)
    enter, leave = _reading(ctx, _handlers([rule(ctx) for rule in rules]), touched)
    each_node(module, enter, leave)
    return ctx


def _reading(
    ctx: FileContext, handlers: Handlers, touched: set[int] | None = None
) -> tuple[Callable[[Any], bool], Callable[[Any], None]]:
    """Callbacks for :func:`each_node` that run all rules and drop what they return."""
    visitors, leavers = handlers
    making = {type(node) for node in ctx.scopes}
    known = len(ctx.records)

    def note(node: Any) -> None:
        nonlocal known
        known = len(ctx.records)
        if touched is not None:
            touched.update(map(id, (*ctx.ancestors, node)))

    def enter(node: Any) -> bool:
        kind = type(node)
        ctx.ancestors.append(node)
        if kind in making:
            ctx.scope = ctx.scopes[node]
        for handler in visitors.get(kind, ()):
            handler(node)
        if len(ctx.records) > known:
            note(node)
        return True

    def leave(node: Any) -> None:
        kind = type(node)
        ctx.ancestors.pop()
        if kind in making:
            ctx.scope = ctx.scopes[node].parent or ctx.scope
        for handler in leavers.get(kind, ()):
            handler(node, node)
        if len(ctx.records) > known:
            note(node)

    return enter, leave


def _handlers(rules: list[Rule]) -> Handlers:
    """``visit_<Node>`` and ``leave_<Node>`` methods of all rules, by node."""
    visitors: dict[type, list[Handler]] = {}
    leavers: dict[type, list[Handler]] = {}
    for rule in rules:
        for name in dir(rule):
            kind, _, node_name = name.partition("_")
            if kind == "visit":
                visitors.setdefault(getattr(cst, node_name), []).append(getattr(rule, name))
            elif kind == "leave":
                leavers.setdefault(getattr(cst, node_name), []).append(getattr(rule, name))
    return visitors, leavers


def _walker(ctx: FileContext, rules: list[Rule], touched: set[int]) -> Any:
    """The transformer that lets ``rules`` rewrite; what ``touched`` does not name is only read."""
    handlers = _handlers(rules)
    visitors, leavers = handlers
    making = {type(node) for node in ctx.scopes}
    enter, leave = _reading(ctx, handlers)

    class Walker(cst.CSTTransformer):
        def on_visit(self, node: Any) -> bool:
            if id(node) not in touched:
                each_node(node, enter, leave)
                return False
            ctx.ancestors.append(node)
            if type(node) in making:
                ctx.scope = ctx.scopes[node]
            for handler in visitors.get(type(node), ()):
                handler(node)
            return True

        def on_leave(self, original_node: Any, updated_node: Any) -> Any:
            if id(original_node) not in touched:
                return original_node
            ctx.ancestors.pop()
            if type(original_node) in making:
                ctx.scope = ctx.scopes[original_node].parent or ctx.scope
            result = updated_node
            for handler in leavers.get(type(original_node), ()):
                result = handler(original_node, result)
                if type(result) is not type(original_node):
                    # Another kind of node: the remaining rules would not know it.
                    break
            return result

    return Walker()
