"""How many processes the preparation of a corpus uses."""

from __future__ import annotations

import argparse

from fairseq.utils.processes import available_cores

__all__ = ["add_workers"]


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add ``--workers``; the default is the number of cores that this process may use."""
    parser.add_argument(
        "--workers", type=int, default=available_cores(), metavar="N", help="number of processes (default: %(default)s)"
    )
