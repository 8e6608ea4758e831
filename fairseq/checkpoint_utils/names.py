"""File names of checkpoints."""

from __future__ import annotations

import os
import re

from fairseq.file_io import PathManager

__all__ = ["checkpoint_paths", "get_maybe_sharded_checkpoint_filename", "numbered_checkpoints"]


def numbered_checkpoints(path: str, pattern: str) -> list[tuple[float, str]]:
    """``(number, file name)`` of the files in a folder whose whole name matches, largest number first.

    Args:
        path: the folder.
        pattern: regular expression; its first group is the number (without a group: the order of listing).
    """
    expression = re.compile(pattern)
    found = []
    for index, name in enumerate(PathManager.ls(path)):
        match = expression.fullmatch(name)
        if match is not None:
            found.append((float(match.group(1)) if match.groups() else float(index), name))
    return sorted(found, reverse=True)


def checkpoint_paths(
    path: str | os.PathLike[str], pattern: str = r"checkpoint(\d+)\.pt", keep_match: bool = False
) -> list:
    """Checkpoints in a folder, the one with the largest number first.

    Args:
        path: the folder.
        pattern: the whole file name as a regular expression; the first group is the number to sort by.
        keep_match: return ``(path, number as it stands in the name)`` instead of paths.
    """
    path = os.fspath(path)
    found = [os.path.join(path, name) for _, name in numbered_checkpoints(path, pattern)]
    if not keep_match:
        return found
    expression = re.compile(pattern)
    return [(name, match.group(1)) for name in found if (match := expression.fullmatch(os.path.basename(name)))]


def get_maybe_sharded_checkpoint_filename(
    filename: str | os.PathLike[str], suffix: str, shard_idx: int, num_shards: int
) -> str:
    """The file that holds shard ``shard_idx`` (0-based) of a checkpoint.

    Args:
        filename: as the user gave it; ``suffix`` goes before its ``.pt``.
        num_shards: how many shards the model is made of; with one, the file itself.
    """
    filename = os.fspath(filename)
    filename = filename.replace(".pt", suffix + ".pt")
    sharded = f"{filename[:-3]}-shard{shard_idx}.pt"
    if PathManager.exists(sharded):
        return sharded
    if num_shards > 1:
        return f"{filename[:-3]}_part{shard_idx}.pt"
    return filename
