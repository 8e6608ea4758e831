"""What the command prints."""

from __future__ import annotations

import difflib
import sys
import textwrap
import time
from collections import Counter
from typing import Any, Sequence, TextIO

from .engine import SEEN
from .explain import Match
from .model import Finding, Patch
from .runner import Report
from .source import decode

__all__ = ["ProgressBar", "as_json", "card", "diffs", "explanation", "markdown", "summary", "table"]


SEEN_COMMAND = "fairseq-patch seen PATH FILE:LINE"


def versions(patch: Patch) -> str:
    """``python >= 3.11``; what breaks it."""
    return ", ".join(f"{name} >= {first}" for name, first in patch.since.items()) or "any"


def card(patch: Patch) -> dict[str, Any]:
    """A card as JSON."""
    return {
        "id": patch.id,
        "title": patch.title,
        "kind": "advice" if patch.advice else "rewrite",
        "symptom": patch.symptom,
        "cause": patch.cause,
        "since": dict(patch.since),
        "fairseq": patch.fairseq,
        "change": patch.change,
        "before": patch.before,
        "after": patch.after,
    }


def table(patches: Sequence[Patch]) -> str:
    """All patches: id, what breaks it, symptom."""
    rows = [(patch.id, versions(patch) + (" (advice)" if patch.advice else ""), patch.symptom) for patch in patches]
    wide = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(f"{name:<{wide[0]}}  {since:<{wide[1]}}  {symptom}" for name, since, symptom in rows)


def explanation(matches: Sequence[Match]) -> str:
    """The best match in full, the others by name."""
    patch = matches[0].patch
    lines = [
        f"{patch.id}: {patch.title}",
        "",
        *_wrapped("Why", patch.cause),
        *_wrapped("Breaks on", f"{versions(patch)}; fairseq {patch.fairseq}"),
        *_wrapped("What to do" if patch.advice else "What is changed", patch.change),
    ]
    if patch.before and not patch.advice:
        lines += ["", "before:", textwrap.indent(patch.before.strip("\n"), "    ")]
        lines += ["after:", textwrap.indent(patch.after.strip("\n"), "    ")]
    if not patch.advice:
        lines += ["", f"Run: fairseq-patch apply PATH    (only this one: --only {patch.id})"]
    if len(matches) > 1:
        lines += ["", "See also: " + ", ".join(match.patch.id for match in matches[1:])]
    return "\n".join(lines)


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(f"{head}: {text}", 100, subsequent_indent="  ")


def as_json(result: Report, diffs: bool = False) -> dict[str, Any]:
    """A report as JSON; paths are relative to ``root``."""
    content: dict[str, Any] = {
        "root": str(result.root),
        "packages": [package.folder or "." for package in result.packages],
        "files": result.looked_at,
        "changed": [outcome.path for outcome in result.changed],
        "helpers": sorted({name for outcome in result.changed for name in outcome.helpers}),
        "findings": [
            {
                "path": f.path,
                "line": f.line,
                "patch": f.patch,
                "message": f.message,
                "by_hand": f.by_hand,
                "seen": f.seen,
            }
            for f in result.findings
        ],
        "foreign": result.foreign,
        "notebooks": result.notebooks,
        "problems": [{"path": outcome.path, "problem": outcome.problem} for outcome in result.problems],
    }
    if diffs:
        content["diffs"] = {outcome.path: _diff(outcome) for outcome in result.changed}
    return content


def diffs(result: Report) -> str:
    """Unified diffs of all changed files."""
    return "".join(_diff(outcome) for outcome in result.changed)


def _diff(outcome: Any) -> str:
    old, new = (decode(data).text.splitlines(keepends=True) for data in (outcome.old, outcome.new))
    lines = difflib.unified_diff(old, new, f"a/{outcome.path}", f"b/{outcome.path}")
    return "".join(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in lines)


def summary(result: Report, verb: str) -> str:
    """Rewrites by file and patch, files left alone, the counts, and last what is left to a person."""
    lines = _grouped([finding for finding in result.findings if not finding.by_hand])
    lines += [f"{outcome.path}: left alone: {outcome.problem}" for outcome in result.problems]
    places = Counter(finding.by_hand for finding in result.findings)
    seen = sum(finding.seen for finding in result.findings)
    found = ", ".join(package.folder or "." for package in result.packages) or "none"
    marked = f" ({seen} marked as seen)" if seen else ""
    lines.append(
        f"{places[False]} places in {len(result.changed)} of {result.looked_at} files {verb} rewritten, "
        f"{places[True]} want a person{marked}, {len(result.problems)} files were left alone. "
        f"Fairseq packages: {found}."
    )
    if result.foreign:
        lines.append(f"Not looked at, packages of others and builds: {_some(result.foreign)}.")
    if result.notebooks:
        lines.append(f"Not looked at, code in notebooks: {_some(result.notebooks)}.")
    left = [finding for finding in result.findings if finding.by_hand and not finding.seen]
    if left:
        lines += ["", f"Left to you ({len(left)} places; a comment `{SEEN}` in the line, or `{SEEN_COMMAND}`,"]
        lines.append("takes one off this list):")
        lines += _grouped(left, "by hand: ")
    return "\n".join(lines)


def _grouped(findings: Sequence[Finding], kind: str = "") -> list[str]:
    """One line for all places of a file where a patch says the same thing; the lines of a patch stand together."""
    groups: dict[tuple[str, str, str], list[int]] = {}
    for finding in sorted(findings, key=lambda item: (item.path, item.patch, item.line)):
        groups.setdefault((finding.path, finding.patch, finding.message), []).append(finding.line)
    lines = []
    for (path, patch, message), places in groups.items():
        others = sorted(set(places[1:]) - {places[0]})
        more = f" (also line{'s' if len(others) > 1 else ''} {', '.join(map(str, others))})" if others else ""
        lines.append(f"{path}:{places[0]}: [{patch}] {kind}{message}{more}")
    return lines


def _some(names: Sequence[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def markdown(patches: Sequence[Patch]) -> str:
    """The page for people who arrive with an error message."""
    rewrites = [patch for patch in patches if not patch.advice]
    advice = [patch for patch in patches if patch.advice]
    parts = [MARKDOWN_HEAD, "| what you see | patch | breaks on |\n| --- | --- | --- |\n"]
    for patch in (*rewrites, *advice):
        shown = patch.symptom.replace("|", "\\|").replace("\n", " ")
        parts.append(f"| `{shown}` | [{patch.id}](#{patch.id}) | {versions(patch)} |\n")
    parts.append("\n## What is rewritten\n")
    parts += [_section(patch) for patch in rewrites]
    parts.append("\n## What no rewrite can mend\n")
    parts += [_section(patch) for patch in advice]
    return "".join(parts)


MARKDOWN_HEAD = """\
# Your copy of fairseq does not run any more?

One command mends a copied (vendored) fairseq, and the code of the paper around it:

```
pip install "fairseq[patches]"
fairseq-patch apply PATH/TO/THE/REPOSITORY
```

`fairseq-patch check PATH` only shows what would change, `fairseq-patch revert PATH` takes everything back, and
`fairseq-patch explain "the error"` names the patch for an error. To mend one thing only, add `--only` and the name from
the table. A copy installed with pip is reached by `fairseq-patch apply --installed --python PATH/TO/python`.

After `apply` the command says what to do next: which versions to install, whether something has to be built, and how to
check. What needs a decision stands in the last block of the report. A comment `fairseq-patch: seen` in the line, or
`fairseq-patch seen PATH FILE:LINE` (`fairseq-patch seen PATH` for all of them), takes it off that list.

Folders with packages of others (`.eggs`, `*.egg`, `site-packages`, `node_modules`, virtual environments) and builds
(`build`, `dist`) are left alone. Results are kept by file content in the user's cache folder
(`~/.cache/fairseq-patch`, or `FAIRSEQ_PATCH_CACHE`), so that a second run takes a tenth of the first; `--no-cache` does
without.

Exit codes: 0 done, or nothing to do; 1 `check` would rewrite something, `explain` knows no patch for the error, or a
file could not be rewritten, written or restored; 2 wrong usage. Places that are left to a person, and files that are no
Python, do not change the exit code.

Checkpoints are read with a list of allowed classes: a file cannot run code while it is loaded. A file that needs
more, and that you trust, is read when its classes are named in the environment variable `FAIRSEQ_ALLOW_GLOBALS`, or
when the tree is patched with `--allow-unsafe-load`.

<!-- Written by `fairseq-patch list --markdown` from the cards in patches/; edit those. -->

"""


def _section(patch: Patch) -> str:
    lines = [f"\n### {patch.id}\n", f"{patch.title}.\n", "```text", patch.symptom, "```\n"]
    lines.append(f"{patch.cause} Breaks on {versions(patch)}; fairseq {patch.fairseq}.\n")
    lines.append(patch.change + "\n")
    if not patch.advice:
        lines.append(f"```\nfairseq-patch apply PATH --only {patch.id}\n```\n")
        if patch.before:
            kind = "python" if not patch.files or "setup.py" in patch.files else "text"
            lines.append(
                f"```{kind}\n{patch.before.strip()}\n```\n\nbecomes\n\n```{kind}\n{patch.after.strip()}\n```\n"
            )
    return "\n".join(lines)


class ProgressBar:
    """A line on a terminal: stage, bar, files done, seconds."""

    WIDTH = 30

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self.stream = stream
        self.start = time.monotonic()
        self.drawn = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and now - self.drawn < 0.1:
            return
        self.drawn = now
        filled = self.WIDTH * done // max(total, 1)
        bar = "#" * filled + "." * (self.WIDTH - filled)
        self.stream.write(f"\r{stage:<9} [{bar}] {done}/{total} files {now - self.start:.0f} s ")
        self.stream.flush()

    def close(self) -> None:
        """Clear the line."""
        self.stream.write("\r" + " " * 78 + "\r")
        self.stream.flush()
