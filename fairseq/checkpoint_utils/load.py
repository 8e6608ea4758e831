"""A checkpoint file -> the state dictionary in today's layout."""

from __future__ import annotations

import contextlib
import os
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from fairseq.file_io import PathManager
from fairseq.serialization.allowed import unsafe_load_wanted
from fairseq.serialization.checks import check_history, check_options, check_paths
from fairseq.serialization.errors import CorruptCheckpointError, shown
from fairseq.serialization.notes import NOTES
from fairseq.serialization.read import read_with_notes
from fairseq.serialization.upgrade import upgrade_state
from fairseq.serialization.write import checksums_wanted

__all__ = ["load_checkpoint_to_cpu"]


def _local_copy(path: str, load_on_all_ranks: bool) -> str:
    """A local file with the bytes of ``path``; remote files are fetched anew, once for all ranks if asked."""
    local = PathManager.get_local_path(path)
    if local == path or not os.path.exists(local):
        return local
    # A remote checkpoint may have been written since it was cached.
    if load_on_all_ranks:
        import torch.distributed as dist

        if dist.is_available() and dist.is_initialized():
            if dist.get_rank() == 0:
                os.remove(local)
            dist.barrier()
            return PathManager.get_local_path(path)
    os.remove(local)
    return PathManager.get_local_path(path)


def load_checkpoint_to_cpu(
    path: str | os.PathLike[str],
    arg_overrides: dict[str, Any] | None = None,
    load_on_all_ranks: bool = False,
    *,
    mmap: bool = False,
) -> dict[str, Any]:
    """Load a checkpoint, safely, with all tensors on the CPU.

    Args:
        path: the file; remote where iopath handles it.
        arg_overrides: option name -> value, set in ``args`` or wherever ``cfg`` has a field of that name.
        load_on_all_ranks: all ranks call this; they share one copy of a remote file.
        mmap: leave tensors in the file until they are used; see ``fairseq.serialization.read_checkpoint``.

    Returns:
        The state in today's layout, whatever release wrote it; ``cfg`` is a locked OmegaConf config or ``None``.

    Raises:
        FileNotFoundError: no such file.
        CorruptCheckpointError: it is no checkpoint, or damaged.
        UnsafeCheckpointError: it holds objects that are not known to be safe; the message says how to allow them.
    """
    from omegaconf import OmegaConf

    path = os.fspath(path)
    local = _local_copy(path, load_on_all_ranks)
    state, notes = read_with_notes(local, mmap=mmap, verify=checksums_wanted())
    if not isinstance(state, dict):
        raise CorruptCheckpointError(
            f"{path} holds a {type(state).__name__}, not a fairseq checkpoint (a dictionary with model, args or cfg)"
        )
    check_options(path, state, trusted=unsafe_load_wanted())
    state.pop(NOTES, None)
    if notes:
        state[NOTES] = notes
    args, cfg = state.get("args"), state.get("cfg")
    if isinstance(args, Namespace) and arg_overrides:
        for name, value in arg_overrides.items():
            setattr(args, name, value)
    with _naming(path):
        if cfg is not None:
            state["cfg"] = _as_config(cfg, arg_overrides)
        upgrade_state(state)
        if state.get("cfg") is not None and not unsafe_load_wanted():
            check_paths(path, OmegaConf.to_container(state["cfg"]), arg_overrides or {})
    check_history(path, state)
    return state


@contextlib.contextmanager
def _naming(path: str) -> Iterator[None]:
    """Errors that follow from options of the wrong kind name the file they come from."""
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except (AttributeError, LookupError, TypeError, RecursionError, OmegaConfBaseException) as error:
        reason = shown(" ".join(str(error).split()), 300)
        raise CorruptCheckpointError(
            f"{path}: its options are damaged, or of a kind that is not understood ({type(error).__name__}: {reason})"
        ) from error


def _as_config(cfg: Any, overrides: dict[str, Any] | None) -> Any:
    from omegaconf import OmegaConf

    from fairseq.dataclass.utils import overwrite_args_by_name

    if isinstance(cfg, Namespace):
        cfg = vars(cfg)
    # Sections of components without a dataclass are namespaces, which OmegaConf only takes as objects.
    cfg = OmegaConf.create(cfg, flags={"allow_objects": True})
    OmegaConf.set_struct(cfg, True)
    if overrides:
        overwrite_args_by_name(cfg, overrides)
    return cfg
