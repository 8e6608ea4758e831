"""One model whose parameters are the mean of several checkpoints' (Polyak averaging after the fact)."""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import Any

import torch

from fairseq.checkpoint_utils.names import numbered_checkpoints
from fairseq.file_io import PathManager
from fairseq.serialization.checks import check_weights
from fairseq.serialization.read import read_checkpoint

__all__ = ["average_checkpoints", "choose_checkpoints"]

PATTERNS = {
    "epoch": r"checkpoint(\d+)\.pt",
    "update": r"checkpoint_\d+_(\d+)\.pt",
    "best": r"checkpoint\.best_.+_(\d+\.?\d*)\.pt",
}


def choose_checkpoints(
    folder: str, kind: str, count: int, upper_bound: float | None = None, maximize: bool = False
) -> list[str]:
    """The files of a folder to average.

    Args:
        folder: where to look.
        kind: ``"epoch"`` or ``"update"`` for the latest ones, ``"best"`` for those of ``--keep-best-checkpoints``.
        count: how many.
        upper_bound: leave out what comes after this epoch or update.
        maximize: a larger value is a better one (``kind="best"``).

    Raises:
        FileNotFoundError: there are not so many.
    """
    found = numbered_checkpoints(folder, PATTERNS[kind])
    if kind == "best" and not maximize:
        found.reverse()
    if upper_bound is not None:
        found = [item for item in found if item[0] <= upper_bound]
    if len(found) < count:
        raise FileNotFoundError(
            f"Found {len(found)} checkpoint files in {folder} (saved by {kind}) but need at least {count}"
        )
    return [os.path.join(folder, name) for _, name in found[:count]]


def average_checkpoints(inputs: list[str]) -> dict[str, Any]:
    """The first file's state, with the mean of all files' parameters as its model.

    Half precision becomes float32; sums are made in float64; integers are divided without remainder.

    Raises:
        ValueError: no file, or files whose models have different parameters.
    """
    if not inputs:
        raise ValueError("nothing to average: no checkpoint was given")
    # Mapped, not read: a folder of large models takes the memory of one.
    states = [read_checkpoint(PathManager.get_local_path(path), mmap=True) for path in inputs]
    for path, state in zip(inputs, states):
        check_weights(path, state)
    names = list(states[0]["model"])
    for path, state in zip(inputs, states):
        different = set(names) ^ set(state["model"])
        if different:
            raise ValueError(
                f"{path} has other parameters than {inputs[0]}, for example {sorted(different)[0]}: only "
                "checkpoints of one model can be averaged"
            )
    averaged: OrderedDict[str, torch.Tensor] = OrderedDict()
    for name in names:
        tensors = [state["model"][name] for state in states]
        if len({tensor.shape for tensor in tensors}) > 1:
            raise ValueError(f"{name} has different shapes: {[list(tensor.shape) for tensor in tensors]}")
        averaged[name] = _mean(tensors)
    result: dict[str, Any] = states[0]
    result["model"] = averaged
    return result


def _mean(tensors: list[torch.Tensor]) -> torch.Tensor:
    first = tensors[0]
    if not first.is_floating_point():
        total_count = torch.stack([tensor.long() for tensor in tensors]).sum(0)
        return total_count.div(len(tensors), rounding_mode="floor").to(first.dtype)
    total = torch.zeros(first.shape, dtype=torch.float64)
    for tensor in tensors:
        total += tensor
    dtype = torch.float32 if first.dtype in (torch.float16, torch.bfloat16) else first.dtype
    return (total / len(tensors)).to(dtype)
