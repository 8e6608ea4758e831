"""Options that belong to this process and not to the run.

They change how fast or how strictly something is done, never what is computed, so they have no place in the config that
goes into checkpoints. Each is an environment variable; the command line sets it, and processes started from here
inherit it. With Hydra, set the variable.
"""

from __future__ import annotations

import argparse
import logging
import os
from typing import Any

from torch import nn

__all__ = ["add_process_options", "compile_if_asked", "stop_on_save_error"]

logger = logging.getLogger("fairseq_cli.train")

COMPILE_ENV = "FAIRSEQ_COMPILE"
STOP_ENV = "FAIRSEQ_STOP_ON_SAVE_ERROR"
COMPILE_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")


class _SetVariable(argparse.Action):
    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        variable = COMPILE_ENV if self.dest == "compile" else STOP_ENV
        os.environ[variable] = values if isinstance(values, str) else "1"


def add_process_options(parser: argparse.ArgumentParser) -> None:
    """``--compile [MODE]`` and ``--stop-on-save-error``."""
    group = parser.add_argument_group("this process")
    group.add_argument(
        "--compile",
        action=_SetVariable,
        nargs="?",
        const="default",
        choices=COMPILE_MODES,
        default=argparse.SUPPRESS,
        help="compile the model's forward and backward with torch.compile (%(const)s mode unless given); the first "
        "updates take minutes, results agree up to rounding",
    )
    group.add_argument(
        "--stop-on-save-error",
        action=_SetVariable,
        nargs=0,
        default=argparse.SUPPRESS,
        help="end training when a checkpoint cannot be written, instead of warning and trying at the next save",
    )


def stop_on_save_error() -> bool:
    """Whether a failed save ends the run."""
    return os.environ.get(STOP_ENV, "0") not in ("", "0")


def compile_if_asked(model: nn.Module) -> None:
    """Have ``model`` compiled at its first call, in place: its class, its parameters and their names stay.

    Raises:
        ValueError: an unknown mode in ``FAIRSEQ_COMPILE``.
    """
    mode = os.environ.get(COMPILE_ENV, "0")
    if mode in ("", "0"):
        return
    mode = "default" if mode == "1" else mode
    if mode not in COMPILE_MODES:
        raise ValueError(f"{COMPILE_ENV}={mode}: choose one of {', '.join(COMPILE_MODES)}")
    logger.info("compiling the model (torch.compile, mode %s); the first updates are slow", mode)
    # Lengths differ from batch to batch: without dynamic shapes each pair of lengths would be compiled anew.
    model.compile(mode=mode, dynamic=True)
