"""``python -m fairseq_patches``; also the target of the console script ``fairseq-patch``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from . import cli

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """The command; ``--version`` is that of the package it ships with, as for the other tools."""
    if "--version" in (sys.argv[1:] if argv is None else argv):
        from fairseq.version import __version__

        print(f"fairseq {__version__}")
        return 0
    return cli.main(argv)


if __name__ == "__main__":
    raise SystemExit(main())
