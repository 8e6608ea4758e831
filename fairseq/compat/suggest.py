"""What to say when a name is not registered, or an option not known."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn

__all__ = ["Parser", "near", "near_options", "unknown_name"]

LISTED = 12  # more names than this are not put into a message
REQUIRED = "the following arguments are required"


def near(name: str, known: Iterable[str], count: int = 4) -> list[str]:
    """The ``count`` registered names that look most like ``name``."""
    return difflib.get_close_matches(name, list(known), n=count, cutoff=0.5)


def unknown_name(option: str, name: str, known: Iterable[str]) -> str:
    """One message for an unknown choice: what was given, what comes close, where the name would come from."""
    from fairseq.compat.upstream_names import UPSTREAM

    names = sorted(known)
    close = near(name, names)
    if close:
        hint = f"Did you mean: {', '.join(close)}?"
    elif len(names) <= LISTED:
        hint = f"Known: {', '.join(names) or 'none'}."
    else:
        hint = f"None of the {len(names)} known names comes close; --help lists them."
    if name in UPSTREAM.get(option.lstrip("-").replace("-", "_"), ()):
        close_ones = f" {hint.replace('Did you mean', 'Names like it')[:-1]}." if close else ""
        return f"{option} {name}: upstream's fairseq has it, this version does not have it yet.{close_ones}"
    return f"{option} {name}: no such name. {hint} Names that a plugin registers need --user-dir."


def near_options(word: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The known options that a mistyped one may stand for.

    Args:
        word: what was given, e.g. ``--max_token``; ``=VALUE`` may follow.
        known: options with their dashes.
        count: how many at most.
    """
    given = "--" + word.partition("=")[0].lstrip("-").replace("_", "-").lower()
    spelt = {option.replace("_", "-").lower(): option for option in known if option.startswith("--")}
    if given in spelt:
        return [spelt[given]]
    # A name that was cut short, or one with wrong, missing or further letters.
    begins = sorted(option for option in spelt if len(given) > 4 and option.startswith(given))
    close = difflib.get_close_matches(given, list(spelt), n=count, cutoff=0.75)
    found = dict.fromkeys([*(begins if len(begins) <= count else []), *close])
    return [spelt[option] for option in found][:count]


class Parser(argparse.ArgumentParser):
    """An argument parser that knows ``--version`` and says which options a mistyped one may stand for."""

    _words: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self._words = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(args, namespace)

    def known_options(self) -> Iterator[str]:
        """The options of this parser and of its subcommands."""
        for action in self._actions:
            yield from action.option_strings
            if isinstance(action, argparse._SubParsersAction):
                for parser in action.choices.values():
                    yield from (flag for inner in parser._actions for flag in inner.option_strings)

    def mistyped(self) -> list[str]:
        """For each unknown option of the command line that looks like a known one, a sentence."""
        known = set(self.known_options())
        said = []
        for word in self._words:
            flag = word.partition("=")[0]
            is_option = flag.startswith("--") and len(flag) > 2
            if is_option and flag not in known and (close := near_options(flag, known)):
                said.append(f"Did you mean {' or '.join(close)} by {flag}?")
        return said

    def error(self, message: str) -> NoReturn:
        super().error(self.with_suggestions(message))

    def with_suggestions(self, message: str) -> str:
        """An error message of argparse, followed by what was perhaps meant."""
        if not message.startswith(("unrecognized arguments", REQUIRED)):
            return message
        said = self.mistyped()
        return ". ".join([message, " ".join(said)]) if said else message
