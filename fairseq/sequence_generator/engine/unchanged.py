"""Is this object exactly what its class in this package promises?

Plugins override methods, replace attributes of instances and classes, and hook into modules. Whoever wants to compute
what a module computes without calling it has to make sure that nobody did.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fairseq.utils.unhooked import is_unhooked

__all__ = ["is_unhooked", "keeps"]


def keeps(owner: Any, base: type, names: Iterable[str]) -> bool:
    """Whether methods of ``owner`` are those that the class ``base`` was written with.

    Args:
        owner: an instance of ``base``, or of a class that may have changed it.
        names: methods that ``base`` defines or inherits.
    """
    if not isinstance(owner, base):
        return False
    own = vars(owner)
    return all(name not in own and _is_original(type(owner), base, name) for name in names)


def _is_original(cls: type, base: type, name: str) -> bool:
    function = getattr(cls, name, None)
    if function is not getattr(base, name, None):
        return False
    # The class that ``base`` has the method from; somebody may have put another function there.
    home = next((c for c in base.__mro__ if name in vars(c)), None)
    return (
        home is not None
        and getattr(function, "__module__", None) == home.__module__
        and getattr(function, "__qualname__", None) == f"{home.__qualname__}.{name}"
        and not hasattr(function, "__wrapped__")
    )
