"""Checkpoints in one file per worker (``--use-sharded-state``): finding the files, and joining them to a whole.

``NAME-shard0.pt``, ``NAME-shard1.pt``, ... each hold the rows of every parameter that one worker kept, in the order of
the workers; what is not split (buffers, counters, the config) is the same in all of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from fairseq.file_io import PathManager
from fairseq.serialization.errors import CheckpointError
from fairseq.serialization.notes import NOTES, read_notes

__all__ = ["WORKERS", "files_for", "files_of", "join"]

# How many workers wrote a checkpoint; kept in its notes.
WORKERS = "workers"
_SHARD = re.compile(r"-shard\d+(?=\.pt$)")


def files_of(path: str) -> list[str]:
    """The files of a checkpoint: one, or all its shards; empty if there is none.

    Args:
        path: ``NAME.pt`` or the shard of one worker. Whichever form exists is found; of both, the newer one, as a run
            may have gone on in the other form.

    Raises:
        CheckpointError: not all the shards are there.
    """
    whole = _SHARD.sub("", path)
    first = _shard(whole, 0)
    is_shard = path != whole
    if not PathManager.isfile(first):
        return [whole] if PathManager.isfile(whole) else []
    if PathManager.isfile(whole) and (_newer(whole, first) or (not is_shard and not _newer(first, whole))):
        return [whole]
    count = read_notes(first).get(WORKERS) if os.path.exists(first) else None
    if not isinstance(count, int):
        # Written by upstream, or remote: all there are.
        count = 1
        while PathManager.isfile(_shard(whole, count)):
            count += 1
    names = [_shard(whole, index) for index in range(count)]
    missing = [name for name in names if not PathManager.isfile(name)]
    if missing:
        raise CheckpointError(f"{whole} was saved by {count} workers in {count} shards; missing: {', '.join(missing)}")
    return names


def files_for(path: str, workers: int) -> list[str]:
    """What one of ``workers`` workers has to read: its own shard if as many wrote the checkpoint, else ``files_of``.

    Its own shard is enough where the folder is on no shared file system.
    """
    whole = _SHARD.sub("", path)
    is_own = path != whole and os.path.exists(path) and not _newer(whole, path)
    if is_own and read_notes(path).get(WORKERS) == workers:
        return [path]
    files = files_of(path)
    return [path] if path in files and len(files) == workers else files


def _newer(path: str, other: str) -> bool:
    try:
        return os.path.getmtime(path) > os.path.getmtime(other)
    except OSError:
        return False  # remote: the form that was asked for


def _shard(whole: str, index: int) -> str:
    return f"{whole[: -len('.pt')]}-shard{index}.pt"


def join(
    states: list[dict[str, Any]],
    names: list[str],
    model_shapes: Mapping[str, torch.Size],
    optimizer_shapes: Iterable[torch.Size] = (),
) -> dict[str, Any]:
    """One state from those of all workers.

    Args:
        states: in the order of the workers; the first one is changed.
        names: their files, for messages.
        model_shapes: of the whole parameters and buffers, by name.
        optimizer_shapes: of the parameters that are trained, in the optimizer's order.

    Raises:
        CheckpointError: files of different saves, or rows that make no parameter of this model.
    """
    updates = [(state.get("optimizer_history") or [{}])[-1].get("num_updates") for state in states]
    if len(set(updates)) > 1:
        table = ", ".join(f"{name}: {count}" for name, count in zip(names, updates))
        raise CheckpointError(f"these shards are of different saves (updates so far: {table}); restore a complete set")
    whole = states[0]
    for key, value in whole["model"].items():
        parts = [state["model"][key] for state in states]
        whole["model"][key] = _joined(parts, model_shapes.get(key), key) if isinstance(value, Tensor) else value
    last = whole.get("last_optimizer_state")
    if last is not None:
        saved = [state["last_optimizer_state"]["state"] for state in states]
        order = [index for group in last["param_groups"] for index in group["params"]]
        for index, shape in zip(order, optimizer_shapes):
            for key, value in saved[0].get(index, {}).items():
                if isinstance(value, Tensor) and value.dim() > 0:
                    parts = [state[index][key] for state in saved]
                    saved[0][index][key] = _joined(parts, shape, f"{key} of parameter {index}")
    whole.pop(NOTES, None)
    return whole


def _joined(parts: list[Tensor], shape: torch.Size | None, name: str) -> Tensor:
    first = parts[0]
    if shape is None or first.dim() == 0:
        return first  # not this model's: loading says so
    rows = sum(part.shape[0] for part in parts)
    if rows == shape[0] and all(part.shape[1:] == shape[1:] for part in parts):
        return torch.cat(parts)
    if first.shape == shape:
        return first
    raise CheckpointError(
        f"the shards of {name}, {', '.join(str(tuple(part.shape)) for part in parts)}, make no {tuple(shape)}: they "
        "belong to another model"
    )
