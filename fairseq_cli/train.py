#!/usr/bin/env python3
"""``fairseq-train``: train a new model, or go on training one, on one or several devices."""

from __future__ import annotations

import importlib
import logging
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fairseq_cli._console import run_command, setup_logging

if TYPE_CHECKING:
    from fairseq.training_loop import (
        get_training_stats,
        get_valid_stats,
        main,
        should_stop_early,
        train,
        validate,
        validate_and_save,
    )

__all__ = [
    "cli_main",
    "console_main",
    "get_parser",
    "get_training_stats",
    "get_valid_stats",
    "main",
    "should_stop_early",
    "train",
    "validate",
    "validate_and_save",
]

# The work is done by fairseq.training_loop; code written for upstream imports it from here.
_TRAINING = {
    "_flatten_config": "fairseq.training_loop.loop",
    "get_training_stats": "fairseq.training_loop.loop",
    "get_valid_stats": "fairseq.training_loop.validation",
    "main": "fairseq.training_loop.run",
    "should_stop_early": "fairseq.training_loop.early_stop",
    "train": "fairseq.training_loop.loop",
    "validate": "fairseq.training_loop.validation",
    "validate_and_save": "fairseq.training_loop.loop",
}


def __getattr__(name: str) -> Any:
    if name not in _TRAINING:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_TRAINING[name]), name)


def get_parser() -> ArgumentParser:
    """The options of ``fairseq-train``, apart from those of the chosen model, task, ..."""
    from fairseq import options
    from fairseq.runtime_flags import add_runtime_flags

    parser = options.get_training_parser()
    add_runtime_flags(parser)
    return parser


def cli_main(modify_parser: Callable[[ArgumentParser], None] | None = None) -> None:
    """Read the command line and train.

    Args:
        modify_parser: adds options to the parser or changes their defaults.
    """
    from fairseq import options

    setup_logging(stream=sys.stdout, goes_on=True)
    args = options.parse_args_and_arch(get_parser(), modify_parser=modify_parser)
    # PyTorch is imported from here on: --help and a wrong command line are answered before.
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from fairseq.distributed import utils as distributed_utils
    from fairseq.training_loop.run import main

    cfg = convert_namespace_to_omegaconf(args)
    try:
        distributed_utils.call_main(cfg, main)
    except Exception as error:
        if not cfg.common.suppress_crashes:
            raise
        logging.getLogger("fairseq_cli.train").error("Crashed! %s", error)


def console_main() -> None:
    """The ``fairseq-train`` command: ``cli_main`` with errors as one line, which saves and leaves on signals."""
    from fairseq.training_loop import preemption

    with preemption.command():
        run_command(cli_main, needs="DATA --arch NAME")


if __name__ == "__main__":
    console_main()
