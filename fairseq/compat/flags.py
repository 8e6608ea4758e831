"""Spellings of options that scripts use besides the real one, and options of fairseq 0.7 to 0.9 by another name."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

__all__ = ["normalise_flags", "translate_old_options"]

SPELLINGS = {
    # torch.distributed.launch passes this since PyTorch 2.0; before, it was the underscore form.
    "--local-rank": "--local_rank",
    # The option of the step schedule was misspelt from the start; the right word works too.
    "--lr-decay-period": "--lr-deacy-period",
}

# Old option -> today's words. An option that the parser does have (of a plugin, or --min-lr of the cosine schedule) is
# left alone.
OLD_OPTIONS: dict[str, tuple[str, ...]] = {
    "--lazy-load": ("--dataset-impl", "lazy"),
    "--min-lr": ("--stop-min-lr",),
    "--raw-text": ("--dataset-impl", "raw"),
}

BOOLEANS = {"True": True, "False": False}


def normalise_flags(argv: Sequence[str]) -> list[str]:
    """Replace other spellings of options by the ones the parsers know; values are left alone."""
    result = []
    for word in argv:
        flag, equals, value = word.partition("=")
        result.append(SPELLINGS.get(flag, flag) + equals + value)
    return result


def translate_old_options(argv: Sequence[str], options: Mapping[str, argparse.Action]) -> list[str]:
    """Old options by their names of today, and ``--left-pad-source False`` as the flag that it became.

    Args:
        argv: the words of a command line.
        options: flag -> action, of the parser that is to read them.
    """
    result: list[str] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        flag, equals, value = word.partition("=")
        if not flag.startswith("--"):
            result.append(word)
            continue
        if flag not in options and flag in OLD_OPTIONS and OLD_OPTIONS[flag][0] in options:
            result += [*OLD_OPTIONS[flag], *([value] if equals else [])]
            continue
        action = options.get(flag)
        given = value if equals else (words[0] if words else "")
        if action is not None and action.nargs == 0 and isinstance(action.const, bool) and given in BOOLEANS:
            # Flags of today took a value up to 0.10; the bare flag says the opposite of its default.
            if not equals:
                words.pop(0)
            if action.const is BOOLEANS[given]:
                result.append(flag)
            continue
        result.append(word)
    return result
