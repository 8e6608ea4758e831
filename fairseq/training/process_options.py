"""Options that belong to this process and not to the run.

They change how fast or how strictly something is done, never what is computed, so they have no place in the config that
goes into checkpoints. Each is an environment variable; the command line sets it, and processes started from here
inherit it. With Hydra, set the variable.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import shutil
import sys
from typing import Any

import torch
from torch import nn

from fairseq.serialization.write import CHECKSUM_ENV

__all__ = ["add_process_options", "choose_float32", "compile_if_asked", "stop_on_save_error"]

logger = logging.getLogger("fairseq_cli.train")

COMPILE_ENV = "FAIRSEQ_COMPILE"
STOP_ENV = "FAIRSEQ_STOP_ON_SAVE_ERROR"
TF32_ENV = "FAIRSEQ_TF32"
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


def add_process_options(parser: argparse.ArgumentParser) -> None:
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
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    logger.info("float32 matrices are multiplied in TensorFloat-32")


def repeated_blocks(model: nn.Module) -> list[nn.Module]:
    """The layers that a model is a stack of, if they are most of it.

    Compiling one layer serves all of its kind, so that a deep model compiles as fast as a shallow one. Layers are the
    members of module lists that have parts of their own and at least one sibling of the same class.

    Returns:
        The layers; empty where they hold less than half of the parameters outside embeddings.
    """
    found: dict[int, nn.Module] = {}
    for stack in (module for module in model.modules() if isinstance(module, nn.ModuleList)):
        layers = [layer for layer in stack if next(layer.children(), None) is not None]
        kinds = [type(layer) for layer in layers]
        found.update((id(layer), layer) for layer in layers if kinds.count(type(layer)) > 1)
    inner = {id(part) for layer in found.values() for part in layer.modules() if part is not layer}
    blocks = [layer for layer in found.values() if id(layer) not in inner]
    looked_up = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters(recurse=False)}
    total = sum(p.numel() for p in model.parameters() if id(p) not in looked_up)
    return blocks if 2 * sum(p.numel() for layer in blocks for p in layer.parameters()) >= total > 0 else []


def compile_if_asked(model: nn.Module, uses_cuda: bool = False) -> None:
    """Have ``model``, or the layers it is a stack of, compiled at the first call: classes, parameters and names stay.

    Raises:
        ValueError: an unknown mode in ``FAIRSEQ_COMPILE``.
        RuntimeError: this machine lacks what torch compiles with.
    """
    mode = os.environ.get(COMPILE_ENV, "0")
    if mode in ("", "0"):
        return
    mode = "default" if mode == "1" else mode
    if mode not in COMPILE_MODES:
        raise ValueError(f"{COMPILE_ENV}={mode}: choose one of {', '.join(COMPILE_MODES)}")
    _require_compiler(uses_cuda)
    blocks = repeated_blocks(model)
    what = f"{len(blocks)} layers" if blocks else "the model"
    logger.info("compiling %s (torch.compile, mode %s); the first updates are slow", what, mode)
    for module in blocks or [model]:
        # Lengths differ from batch to batch: without dynamic shapes each pair of lengths would be compiled anew.
        module.compile(mode=mode, dynamic=True)


def _require_compiler(uses_cuda: bool) -> None:
    # torch would find out in the first update, and say so in a page.
    if uses_cuda:
        if importlib.util.find_spec("triton") is None:
            raise RuntimeError(
                "--compile on a GPU needs Triton, and it is not there: pip install triton, or train without --compile"
            )
        return
    default = "clang++" if sys.platform == "darwin" else "g++"
    compiler = (os.environ.get("CXX") or default).split()[0]
    if sys.platform != "win32" and shutil.which(compiler) is None:
        raise RuntimeError(
            f"--compile needs a C++ compiler, and {compiler!r} is not there: install one (for example g++), name it in "
            "the environment variable CXX, or train without --compile"
        )
