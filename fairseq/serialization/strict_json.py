"""JSON from files of strangers: no name twice, no endless numbers or nesting."""

from __future__ import annotations

import json
from typing import Any

from fairseq.serialization.errors import shown
from fairseq.serialization.keys import Refused
from fairseq.serialization.trees import measure

__all__ = ["loads"]

_MAX_DIGITS = 1000  # converting decimal digits takes quadratic time
_MAX_DEPTH = 200


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise Refused(f"its JSON names {shown(twice)!r} twice")
    return found


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise Refused(f"its JSON holds a number of {len(digits)} digits")
    return int(digits)


def _constant(name: str) -> Any:
    raise Refused(f"its JSON holds {name}, which is no number of JSON")


def loads(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        Refused: it is none, or could be understood in two ways, or takes longer to read than its size lets expect.
    """
    try:
        value = json.loads(text, object_pairs_hook=_pairs, parse_int=_integer, parse_constant=_constant)
    except RecursionError:
        raise Refused("its JSON is nested too deeply") from None
    except (ValueError, TypeError) as error:
        raise Refused(f"its JSON is damaged: {error}") from None
    if measure(value).depth > _MAX_DEPTH:
        raise Refused("its JSON is nested too deeply")
    return value
