"""``scripts/average_checkpoints.py``: the options of old, done by ``fairseq-checkpoint average``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from fairseq_cli import checkpoint

__all__ = ["main"]


def main(argv: Sequence[str]) -> None:
    """Run the script; the options are those of ``fairseq-checkpoint average``."""
    code = checkpoint.cli_main(["average", *argv])
    if code:
        sys.exit(code)
