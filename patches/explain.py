"""From the text of an error to the patch that mends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

from .model import Fragments, Patch

__all__ = ["Match", "explain"]

QUOTES = (
    '`"\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}'
    "\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}"
)
# Fragments of one message lie close together, whatever paths and numbers stand between them.
REACH = 400


@dataclass(frozen=True)
class Match:
    """A patch, and how much of the text it recognised (characters)."""

    patch: Patch
    score: int
    position: int


def normalise(text: str) -> str:
    """One case, one kind of quote, one kind of space."""
    for quote in QUOTES:
        text = text.replace(quote, "'")
    return " ".join(text.lower().split())


def explain(text: str, patches: Sequence[Patch]) -> list[Match]:
    """Patches whose symptom occurs in ``text`` (a message or a whole traceback), the surest first.

    A patch's own id counts as its symptom.
    """
    wanted = normalise(text)
    matches = []
    for patch in patches:
        if wanted == patch.id:
            return [Match(patch, len(wanted), 0)]
        if any(normalise(other) in wanted for other in patch.unless):
            continue
        found = [hit for fragments in patch.matches if (hit := _find(wanted, fragments)) is not None]
        if found:
            score, position = max(found)
            matches.append(Match(patch, score, position))
    # The last line of a traceback is the error itself; what stands earlier only led to it.
    return sorted(matches, key=lambda match: (-match.score, -match.position))


def _find(text: str, fragments: Fragments) -> tuple[int, int] | None:
    parts = [normalise(fragment) for fragment in fragments]
    start = text.find(parts[0])
    best = None
    while start >= 0:
        end = start + len(parts[0])
        for part in parts[1:]:
            place = text.find(part, end, end + REACH + len(part))
            if place < 0:
                break
            end = place + len(part)
        else:
            best = (sum(map(len, parts)), start)
        start = text.find(parts[0], start + 1)
    return best
