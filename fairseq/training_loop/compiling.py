"""``--compile``: what of a model torch.compile is given, and whether this machine has what that needs."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import sys

from torch import nn

from fairseq.runtime_flags import COMPILE_ENV, COMPILE_MODES

__all__ = ["compile_if_asked", "repeated_blocks"]

logger = logging.getLogger("fairseq_cli.train")


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
