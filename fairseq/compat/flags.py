"""Spellings of options that scripts use besides the real one."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["normalise_flags"]

SPELLINGS = {
    # torch.distributed.launch passes this since PyTorch 2.0; before, it was the underscore form.
    "--local-rank": "--local_rank",
    # The option of the step schedule was misspelt from the start; the right word works too.
    "--lr-decay-period": "--lr-deacy-period",
}


def normalise_flags(argv: Sequence[str]) -> list[str]:
    """Replace other spellings of options by the ones the parsers know; values are left alone."""
    result = []
    for word in argv:
        flag, equals, value = word.partition("=")
        result.append(SPELLINGS.get(flag, flag) + equals + value)
    return result
