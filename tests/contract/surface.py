"""Facts about the public surface of the running library, in the form of the golden files.

``scripts/freeze_contract.py`` asks what exists; ``test_frozen.py`` compares.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import dataclasses
import enum
import functools
import importlib
import inspect
import io
import sys
from collections.abc import Mapping
from typing import Any
from unittest import mock

# What a converter of options makes of these strings says which converter it is.
PROBES = ("1", "0.5", "True", "[1, 2]", "1,2", "abc", "{'a': 1}", "")
REFUSED = "!"
TOOLS = {
    "eval-lm": "fairseq_cli.eval_lm",
    "generate": "fairseq_cli.generate",
    "interactive": "fairseq_cli.interactive",
    "preprocess": "fairseq_cli.preprocess",
    "score": "fairseq_cli.score",
    "train": "fairseq_cli.train",
    "validate": "fairseq_cli.validate",
}
ACTIONS = {
    "_StoreAction": "store",
    "_StoreTrueAction": "store_true",
    "_StoreFalseAction": "store_false",
    "_StoreConstAction": "store_const",
    "_AppendAction": "append",
    "_AppendConstAction": "append_const",
    "_CountAction": "count",
}


@functools.cache
def module(name: str) -> Any:
    """An imported module, or ``None`` if it cannot be imported."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def has_name(module_name: str, name: str) -> bool:
    """Whether a module has an attribute, lazily imported ones included."""
    try:
        return hasattr(module(module_name), name)
    except ImportError:  # a lazy name whose module cannot be imported
        return False


def member(dotted: str) -> Any:
    """The object of a dotted name; a member of a class as the class body has it, unbound.

    Raises:
        AttributeError: a part of the name does not exist.
    """
    parts = dotted.split(".")
    for cut in range(len(parts), 0, -1):
        found = module(".".join(parts[:cut]))
        if found is None:
            continue
        for part in parts[cut:]:
            found = inspect.getattr_static(found, part) if inspect.isclass(found) else getattr(found, part)
        return found
    raise AttributeError(dotted)


def plain(value: Any, depth: int = 0) -> Any:
    """A JSON value for a default; what JSON cannot hold becomes ``"<...>"``."""
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if abs(value) < float("inf") else f"<float {value}>"
    if isinstance(value, Mapping) or hasattr(value, "keys"):
        return {str(key): plain(value[key], depth + 1) for key in value}
    if isinstance(value, (list, tuple)) or type(value).__name__ == "ListConfig":
        return [plain(part, depth + 1) for part in value]
    return "<...>"


def is_opaque(value: Any) -> bool:
    """Whether a recorded value stands for one that JSON cannot hold."""
    return isinstance(value, str) and value.startswith("<") and value.endswith(">")


def same(a: Any, b: Any) -> bool:
    """Equal as values: 1 and 1.0 are equal, 1 and ``True`` are not, opaque values are not compared."""
    if is_opaque(a) or is_opaque(b):
        return is_opaque(a) and is_opaque(b)
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return a == b


# Signatures ---------------------------------------------------------------------------------------------------------


STARS: dict[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


def signature(obj: Any) -> list[str] | None:
    """Parameters as they are written: ``name``, ``name=default``, ``*``, ``*args``, ``**kwargs``.

    ``@static``, ``@class`` or ``@property`` comes first where it applies. ``None``: not a function with a signature.
    """
    if isinstance(obj, (property, functools.cached_property)):
        return ["@property"]
    kind = {staticmethod: ["@static"], classmethod: ["@class"]}.get(type(obj), [])
    function = obj.__func__ if kind else obj
    if not callable(function):
        return None
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    rows, keyword_only = list(kind), False
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            rows.append("*")
        keyword_only = keyword_only or parameter.kind is parameter.VAR_POSITIONAL
        stars = STARS.get(parameter.kind, "")
        default = "" if parameter.default is parameter.empty else f"={_literal(parameter.default)}"
        rows.append(f"{stars}{parameter.name}{default}")
    return rows


def _literal(value: Any) -> str:
    text = repr(value)
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return "<...>"
    return text


@dataclasses.dataclass
class _Parameters:
    kind: str = ""
    positional: list[str] = dataclasses.field(default_factory=list)
    keyword: list[str] = dataclasses.field(default_factory=list)
    defaults: dict[str, str] = dataclasses.field(default_factory=dict)
    stars: set[str] = dataclasses.field(default_factory=set)

    @classmethod
    def read(cls, rows: list[str]) -> _Parameters:
        found, names = cls(), None
        for row in rows:
            if row.startswith("@"):
                found.kind = row
                continue
            name, has_default, default = row.partition("=")
            if name.startswith("*"):
                names = found.keyword
                if name != "*":
                    found.stars.add("**" if name.startswith("**") else "*")
                continue
            (found.positional if names is None else names).append(name)
            if has_default:
                found.defaults[name] = default
        return found


def signature_problems(recorded: list[str], now: list[str] | None) -> list[str]:
    """What a caller of the recorded signature would notice. New parameters need a default."""
    if now is None:
        return ["has no signature"]
    old, new = _Parameters.read(recorded), _Parameters.read(now)
    if old.kind != new.kind:
        return [f"is {new.kind or 'a plain function'}, not {old.kind or 'a plain function'}"]
    problems = []
    for index, name in enumerate(old.positional):
        if index == 0 and name in ("self", "cls"):
            continue
        if name not in new.positional:
            problems.append(f"parameter {name} is gone")
        elif new.positional.index(name) != index:
            problems.append(f"parameter {name} is at place {new.positional.index(name)}, not {index}")
    problems += [f"parameter {name} is gone" for name in old.keyword if name not in new.keyword + new.positional]
    for name, default in old.defaults.items():
        if name in new.positional + new.keyword:
            found = new.defaults.get(name)
            if found is None:
                problems.append(f"parameter {name} has no default")
            elif not _same_default(default, found):
                problems.append(f"parameter {name} defaults to {found}, not {default}")
    first = set(new.positional[:1]) & {"self", "cls"}
    known = {*old.positional, *old.keyword, *new.defaults, *first}
    problems += [f"parameter {name} is new and required" for name in new.positional + new.keyword if name not in known]
    problems += [f"takes no {star} arguments" for star in sorted(old.stars - new.stars)]
    return problems


def _same_default(a: str, b: str) -> bool:
    if a.startswith("<") or b.startswith("<"):
        return a.startswith("<") and b.startswith("<")
    return same(plain(ast.literal_eval(a)), plain(ast.literal_eval(b)))


# Options ------------------------------------------------------------------------------------------------------------


class _Parsing(BaseException):
    """Raised in place of parsing."""


def parser_of(tool: str) -> argparse.ArgumentParser:
    """The parser with which a tool reads its command line."""
    found: list[argparse.ArgumentParser] = []
    real = argparse.ArgumentParser.parse_known_args

    def keep(self: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> Any:
        if len(self._actions) <= 4:  # a first look at --user-dir and the like
            return real(self, *args, **kwargs)
        found.append(self)
        raise _Parsing

    with (
        mock.patch.object(argparse.ArgumentParser, "parse_known_args", keep),
        mock.patch.object(sys, "argv", [tool]),
        contextlib.suppress(_Parsing),
    ):
        module(TOOLS[tool]).cli_main()
    return found[0]


def library_parser(name: str) -> argparse.ArgumentParser:
    """The parser of ``fairseq.options.<name>()``."""
    function = getattr(module("fairseq.options"), name)
    with mock.patch.object(sys, "argv", ["tool"]):
        return function("tool") if name == "get_parser" else function()


def entry_parser(cls: Any) -> argparse.ArgumentParser:
    """The options that choosing a registered class adds."""
    from fairseq.dataclass.utils import gen_parser_from_dataclass

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    if hasattr(cls, "add_args"):
        cls.add_args(parser)
    elif getattr(cls, "__dataclass", None) is not None:
        gen_parser_from_dataclass(parser, getattr(cls, "__dataclass")())
    return parser


def registry(name: str) -> Mapping[str, Any]:
    """A registry by the name that golden files use."""
    if name in ("model", "task"):
        return getattr(module(f"fairseq.{name}s"), f"{name.upper()}_REGISTRY")
    return module("fairseq.registry").REGISTRIES[name]["registry"]


def options_of(parser: argparse.ArgumentParser) -> dict[str, list[argparse.Action]]:
    """Destination -> its options."""
    found: dict[str, list[argparse.Action]] = {}
    for action in parser._actions:
        if not isinstance(action, argparse._HelpAction):
            found.setdefault(action.dest, []).append(action)
    return found


def find_option(recorded: dict[str, Any], actions: list[argparse.Action]) -> argparse.Action | None:
    """The option of a destination that shares a flag with the recorded one."""
    flags = set(recorded["flags"])
    return next((a for a in actions if flags & set(a.option_strings) or (not flags and not a.option_strings)), None)


def option_problems(recorded: dict[str, Any], now: argparse.Action, types: dict[str, list[Any]]) -> list[str]:
    """What a command line, or a program that reads the result, would notice. New flags and choices are allowed."""
    problems = [f"flag {flag} is gone" for flag in recorded["flags"] if flag not in now.option_strings]
    action = ACTIONS.get(type(now).__name__, type(now).__name__)
    if action != recorded.get("action", "store"):
        problems.append(f"action is {action}, not {recorded.get('action', 'store')}")
    if not same(recorded["default"], plain(now.default)):
        problems.append(f"default is {plain(now.default)!r}, not {recorded['default']!r}")
    expected = types.get(recorded.get("type", "str"), list(PROBES))
    if not same(expected, probe(now.type)):
        problems.append(f"type {now.type} reads {PROBES} as {probe(now.type)}, not {expected}")
    problems += _choice_problems(recorded.get("choices"), now.choices)
    takes_nothing = action in ("store_true", "store_false", "store_const")
    if recorded.get("nargs") != (None if takes_nothing else now.nargs):
        problems.append(f"nargs is {now.nargs!r}, not {recorded.get('nargs')!r}")
    if "const" in recorded and not same(recorded["const"], plain(now.const)):
        problems.append(f"const is {now.const!r}, not {recorded['const']!r}")
    if bool(recorded.get("required")) != bool(now.required and now.option_strings):
        problems.append(f"required is {now.required}")
    return problems


def _choice_problems(recorded: Any, now: Any) -> list[str]:
    if recorded is None or now is None:
        return [] if recorded is now else [f"choices are {now}, not {recorded}"]
    if isinstance(recorded, str):  # the names of a registry, which grows
        return []
    found = [plain(choice) for choice in now]
    return [f"choice {choice!r} is gone" for choice in recorded if choice not in found]


def probe(converter: Any) -> list[Any]:
    """What an option's type makes of ``PROBES``; ``REFUSED`` where it raises."""
    found = []
    for text in PROBES:
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                found.append(text if converter is None else plain(converter(text)))
        except Exception:  # argparse reports any failure of a converter, whatever its class
            found.append(REFUSED)
    return found


# Config classes -----------------------------------------------------------------------------------------------------


def config_fields(cls: Any) -> dict[str, Any]:
    """Field -> default, in order; ``"<required>"`` where there is none."""
    fields = {}
    for field in dataclasses.fields(cls):
        if field.default is not dataclasses.MISSING:
            fields[field.name] = plain(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            value = field.default_factory()
            fields[field.name] = "<dataclass>" if dataclasses.is_dataclass(value) else plain(value)
        else:
            fields[field.name] = "<required>"
    return fields
