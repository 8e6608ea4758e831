"""Bring the layout of an old checkpoint to today's, one named step after another.

A step looks at the state, changes it in place if it is of the layout the step knows, and leaves it alone otherwise, so
running all steps on a current state does nothing. The steps themselves are in ``fairseq.serialization.upgrade_steps``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["STEPS", "Step", "upgrade", "upgrade_state"]

State = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One change between layouts: what it says it does, and the function that does it."""

    name: str
    apply: Callable[[State], None]


STEPS: list[Step] = []


def upgrade(name: str) -> Callable[[Callable[[State], None]], Callable[[State], None]]:
    """Decorator: append a step to ``STEPS``; order in the file is order of application."""

    def register(function: Callable[[State], None]) -> Callable[[State], None]:
        STEPS.append(Step(name, function))
        return function

    return register


def upgrade_state(state: State) -> State:
    """Apply all steps in order, in place, and return ``state``."""
    import fairseq.serialization.upgrade_steps  # noqa: F401  (fills STEPS)

    for step in STEPS:
        step.apply(state)
    return state
