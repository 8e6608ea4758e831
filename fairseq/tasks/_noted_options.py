"""Options given as a dictionary (JSON): which of them does anything read?"""

from argparse import Namespace
from collections.abc import Iterable
from typing import Any

__all__ = ["NotedOptions", "refuse_unknown"]


class NotedOptions(Namespace):
    """A namespace that notes which of its attributes were read, by name or all at once."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # Kept beside the options: vars() must show options only.
        _notes[id(self)] = set()

    def __getattribute__(self, name: str) -> Any:
        notes = _notes.get(id(self))
        if notes is not None:
            notes.add(name)
        return super().__getattribute__(name)

    def unread(self) -> list[str]:
        """Names that were given and that nothing has asked for; ends the noting."""
        notes = _notes.pop(id(self), set())
        return [] if "__dict__" in notes else [name for name in vars(self) if name not in notes]


_notes: dict[int, set[str]] = {}


def refuse_unknown(
    where: str, unknown: Iterable[str], known: Iterable[str], error: type[Exception] = ValueError
) -> None:
    """Raise ``error`` for the first unknown name, with the known ones that look like it."""
    from fairseq.compat.suggest import near

    for name in unknown:
        close = near(name, sorted(known))
        hint = f"Did you mean {', '.join(close)}?" if close else f"There are: {', '.join(sorted(known))}"
        raise error(f"{where}: no such option {name!r}. {hint}")
