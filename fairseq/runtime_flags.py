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

__all__ = ["COMPILE_ENV", "COMPILE_MODES", "add_runtime_flags", "choose_float32", "stop_on_save_error"]

logger = logging.getLogger("fairseq_cli.train")

COMPILE_ENV = "FAIRSEQ_COMPILE"
STOP_ENV = "FAIRSEQ_STOP_ON_SAVE_ERROR"
TF32_ENV = "FAIRSEQ_TF32"
# The name that fairseq.serialization.write reads; importing that module would import PyTorch for --help.
CHECKSUM_ENV = "FAIRSEQ_CHECKSUM_CHECKPOINTS"
VARIABLES = {
    "compile": COMPILE_ENV,
    "stop_on_save_error": STOP_ENV,
    "checksum_checkpoints": CHECKSUM_ENV,
    "tf32": TF32_ENV,
}
COMPILE_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")


class _SetVariable(argparse.Action):
    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        os.environ[VARIABLES[self.dest]] = values if isinstance(values, str) else "1"


def add_runtime_flags(parser: argparse.ArgumentParser) -> None:
    """``--compile [MODE]``, ``--stop-on-save-error``, ``--checksum-checkpoints`` and ``--tf32``."""
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
    group.add_argument(
        "--tf32",
        action=_SetVariable,
        nargs=0,
        default=argparse.SUPPRESS,
        help="let NVIDIA GPUs multiply float32 matrices in TensorFloat-32: several times faster, ten bits of mantissa",
    )
    group.add_argument(
        "--checksum-checkpoints",
        action=_SetVariable,
        nargs=0,
        default=argparse.SUPPRESS,
        help="write NAME.sha256 beside every checkpoint, and compare it before training goes on from one",
    )


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "0") not in ("", "0")


def stop_on_save_error() -> bool:
    """Whether a failed save ends the run."""
    return _is_set(STOP_ENV)


def choose_float32(uses_cuda: bool) -> None:
    """Set how float32 matrices are multiplied, if it was asked for; the CPU multiplies them exactly in any case."""
    if not _is_set(TF32_ENV):
        return
    if not uses_cuda:
        logger.warning("--tf32 has no effect: it is for NVIDIA GPUs")
        return
    import torch

    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    logger.info("float32 matrices are multiplied in TensorFloat-32")
