"""Backslashes that start no escape sequence."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..model import Example, Patch, Rule

VALID = set("\n\r\\'\"abfnrtv01234567x")
VALID_TEXT = VALID | set("NuU")


class InvalidEscape(Rule):
    """A raw-string prefix, or a doubled backslash where the string has real escapes too."""

    patch = Patch(
        id="invalid-escape",
        title="Invalid escape sequences",
        symptom="SyntaxWarning: invalid escape sequence '\\d'",
        cause="Python 3.12 warns of a backslash that starts no escape sequence, and a later one will refuse it.",
        since={"python": "3.12"},
        fairseq="all, mostly examples",
        change="The string becomes raw, or its lone backslashes are doubled when it has real escapes too.",
        matches=[("invalid escape sequence",)],
        features=["bad-escape"],
        tokens=[b"\\"],
        before="import re\na = re.compile('\\d+')\nb = '\\d\\n'\n",
        after="import re\na = re.compile(r'\\d+')\nb = '\\\\d\\n'\n",
        more=[Example("a = f'{1}\\w'\nb = b'\\d'\n", "a = rf'{1}\\w'\nb = rb'\\d'\n")],
        untouched=["a = '\\n\\x41\\N{BULLET}\\u0041'\nb = r'\\d'\nc = b'\\x00'\n"],
    )

    def leave_SimpleString(self, original: Any, updated: Any) -> Any:
        prefix = original.prefix
        if "r" in prefix.lower():
            return updated
        body = original.raw_value
        good, bad = _escapes(body, VALID if "b" in prefix.lower() else VALID_TEXT)
        if not bad:
            return updated
        self.hit(original, "invalid escape sequence")
        quote = original.quote
        if not good and prefix.lower() != "u":
            return updated.with_changes(value=f"r{prefix}{quote}{body}{quote}")
        valid = VALID if "b" in prefix.lower() else VALID_TEXT
        return updated.with_changes(value=f"{prefix}{quote}{_doubled(body, valid)}{quote}")

    def leave_FormattedString(self, original: Any, updated: Any) -> Any:
        prefix = original.prefix
        if "r" in prefix.lower():
            return updated
        texts = [part for part in original.parts if isinstance(part, cst.FormattedStringText)]
        counts = [_escapes(part.value, VALID_TEXT) for part in texts]
        if not any(bad for _, bad in counts):
            return updated
        self.hit(original, "invalid escape sequence")
        if not any(good for good, _ in counts):
            return updated.with_changes(start=f"r{updated.start}")
        parts = [
            part.with_changes(value=_doubled(part.value, VALID_TEXT))
            if isinstance(part, cst.FormattedStringText)
            else part
            for part in updated.parts
        ]
        return updated.with_changes(parts=parts)


def _escapes(body: str, valid: set[str]) -> tuple[int, int]:
    """Number of real and of invalid escape sequences."""
    good = bad = index = 0
    while (index := body.find("\\", index)) >= 0:
        if body[index + 1 : index + 2] in valid:
            good += 1
        else:
            bad += 1
        index += 2
    return good, bad


def _doubled(body: str, valid: set[str]) -> str:
    parts, index = [], 0
    while index < len(body):
        if body[index] != "\\":
            parts.append(body[index])
            index += 1
            continue
        following = body[index + 1 : index + 2]
        parts.append("\\" + following if following in valid else "\\\\" + following)
        index += 2
    return "".join(parts)


RULE = InvalidEscape
