"""All cards, in the order in which they are shown; rules of a file run in this order too."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Type

from . import rules
from .advice import ADVICE
from .model import Patch, Rule

__all__ = ["PATCHES", "RULES", "rule_of"]


def _load() -> dict[str, Type[Rule]]:
    found = {}
    for info in sorted(pkgutil.iter_modules(rules.__path__), key=lambda item: item.name):
        module = importlib.import_module(f"{rules.__name__}.{info.name}")
        rule = getattr(module, "RULE", None)
        if rule is not None:
            found[rule.patch.id] = rule
    return found


RULES: dict[str, Type[Rule]] = _load()
PATCHES: tuple[Patch, ...] = (*(rule.patch for rule in RULES.values()), *ADVICE)


def rule_of(name: str) -> Type[Rule]:
    """Rule of a patch by id."""
    return RULES[name]
