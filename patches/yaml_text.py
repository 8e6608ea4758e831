"""The defaults list of a Hydra configuration, found by its lines: comments, order and line ends can be kept.

No YAML library: the tool installs LibCST only, and a parsed file could not be written back as it was.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Defaults", "read_defaults", "with_self"]

KEY = re.compile(r"""(['"]?)(?P<key>[A-Za-z_][\w.-]*)\1[ \t]*:(?=\s|$)(?P<rest>.*)""", re.S)
HEAD = re.compile(r"""(['"]?)defaults\1[ \t]*:(?=\s|$)""")
# "override hydra/launcher", "optional model@decoder", "/task": Hydra's ways to write a group.
GROUP = re.compile(r"(?P<words>(?:(?:override|optional)\s+)*)/?(?P<name>[\w./-]+?)/?(?:@[\w.:]+)?")
NAME = re.compile(r"""(?!-)[^\s\[\]{},:#&*!|>%@`'"][^\[\]{},#&*!|>`'"]*""")
SELF = "_self_"


@dataclass(frozen=True)
class Defaults:
    """What is needed of a configuration.

    Attributes:
        line: index of the line ``defaults:``.
        flow: column of ``[`` behind it, -1 for a list with one entry per line.
        indent: what stands before the dash of the first entry.
        groups: names of configuration groups, in order (``model`` of ``- model: wav2vec``).
        included: entries that are a plain name.
        has_self: whether ``_self_`` is among them.
        modern: an entry says ``override`` or begins with ``/``, which Hydra 1.0 did not know.
        package: the file has a line ``# @package ...``.
        hydra: the file has a key ``hydra`` of its own.
    """

    line: int
    flow: int
    indent: str
    groups: tuple[str, ...]
    included: tuple[str, ...]
    has_self: bool
    modern: bool
    package: bool
    hydra: bool


def read_defaults(text: str) -> Defaults | None:
    """The list under the top-level key ``defaults`` of a one-document file; None unless every entry is Hydra's."""
    lines = text.splitlines(keepends=True)
    heads = [index for index, line in enumerate(lines) if HEAD.match(line)]
    documents = [index for index, line in enumerate(lines) if line.startswith(("---", "..."))]
    if len(heads) != 1 or any(_has_content(lines[:index]) for index in documents):
        return None
    start = heads[0]
    rest = _uncommented(lines[start][HEAD.match(lines[start]).end() :])  # type: ignore[union-attr]
    found = _flow(lines, start) if rest.startswith("[") else _block(lines, start) if not rest else None
    if found is None:
        return None
    indent, entries = found
    groups: list[str] = []
    included: list[str] = []
    modern = False
    for entry in entries:
        parsed = _entry(entry)
        if parsed is None:
            return None
        words, name, is_group = parsed
        modern = modern or "override" in words or entry.lstrip("'\"{ ").startswith("/")
        (groups if is_group else included).append(name)
    return Defaults(
        line=start,
        flow=lines[start].index("[") if rest.startswith("[") else -1,
        indent=indent,
        groups=tuple(groups),
        included=tuple(name for name in included if name != SELF),
        has_self=SELF in included,
        modern=modern,
        package=any(re.match(r"#\s*@package\b", line) for line in lines),
        hydra=any((key := KEY.match(line)) and key["key"] == "hydra" for line in lines),
    )


def with_self(text: str, found: Defaults) -> str:
    """``text`` with ``_self_`` as the first entry; every other character stays."""
    lines = text.splitlines(keepends=True)
    line = lines[found.line]
    if found.flow >= 0:
        place = found.flow + 1
        rest = line[place:]
        gap = rest[: len(rest) - len(rest.lstrip(" "))]
        separator = ", " if rest.strip() else ","
        lines[found.line] = f"{line[:place]}{gap}{SELF}{separator}{rest[len(gap) :]}"
        return "".join(lines)
    end = line[len(line.rstrip("\r\n")) :] or "\n"
    lines.insert(found.line + 1, f"{found.indent}- {SELF}{end}")
    return "".join(lines)


def _has_content(lines: list[str]) -> bool:
    return any(line.strip() and not line.startswith(("#", "%", "---")) for line in lines)


def _uncommented(text: str) -> str:
    """A line's value without a comment behind it."""
    return re.sub(r"(^|\s)#.*", "", text.rstrip("\r\n")).strip()


def _block(lines: list[str], start: int) -> tuple[str, list[str]] | None:
    """Indent and entries (each joined to one line) of a list whose entries begin with a dash."""
    indent: str | None = None
    entries: list[str] = []
    for line in lines[start + 1 :]:
        bare = _uncommented(line)
        if not bare:
            continue
        lead = line[: len(line) - len(line.lstrip(" "))]
        body = line[len(lead) :]
        is_entry = body.startswith("-") and body[1:2] in (" ", "\t", "\n", "\r", "")
        if indent is None:
            if not is_entry:
                return None
            indent = lead
        if is_entry and lead == indent:
            entries.append(bare[1:].strip())
        elif len(lead) > len(indent) and entries:
            entries[-1] += "\n" + bare
        elif lead == "":
            break
        else:
            return None
    return (indent, entries) if indent is not None else None


def _flow(lines: list[str], start: int) -> tuple[str, list[str]] | None:
    """Entries of ``[a, {b: c}]``, which may go over several lines."""
    text = "".join(_uncommented(line) + " " for line in lines[start:])
    depth, entries, current = 0, [], ""
    for letter in text[text.index("[") :]:
        if letter in "[{":
            depth += 1
            if depth == 1:
                continue
        elif letter in "]}":
            depth -= 1
            if depth == 0:
                entries.append(current.strip())
                return "", [entry for entry in entries if entry]
        if letter == "," and depth == 1:
            entries.append(current.strip())
            current = ""
        else:
            current += letter
    return None


def _entry(text: str) -> tuple[str, str, bool] | None:
    """``(words in front, name, whether it is a group)`` of one entry; None when Hydra would not take it."""
    first, *more = text.split("\n")
    if first.startswith("{") and first.endswith("}"):
        first = first[1:-1].strip()
    key, colon, value = first.partition(":")
    key = key.strip().strip("'\"")
    match = GROUP.fullmatch(key)
    if match is None:
        return None
    if not colon:
        return None if more else (match["words"], match["name"], False)
    if value and not value.startswith((" ", "\t")):
        return None
    if not _is_choice(value.strip(), more):
        return None
    return match["words"], match["name"], True


def _is_choice(value: str, more: list[str]) -> bool:
    """Whether the value of a group is an option's name, a list of names, or nothing."""
    options = [line for line in more if not re.fullmatch(r"optional\s*:\s*(true|false)", line, re.I)]
    if options and (value or not all(line.startswith("- ") for line in options)):
        return False
    if value.startswith("[") and value.endswith("]"):
        return all(_is_name(part.strip()) for part in value[1:-1].split(","))
    return not value or _is_name(value)


def _is_name(value: str) -> bool:
    if value.startswith("${") and value.endswith("}"):
        return True
    if value[:1] in ("'", '"') and value[-1:] == value[:1]:
        value = value[1:-1]
    return bool(NAME.fullmatch(value)) or value == "???"
