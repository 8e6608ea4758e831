"""Which files a save writes, and which old ones it removes."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
from typing import Any

from fairseq.checkpoint_utils.names import numbered_checkpoints
from fairseq.dataclass.configs import CheckpointConfig
from fairseq.dataclass.lenient import lenient
from fairseq.file_io import PathManager
from fairseq.serialization.write import copy_file, remove_stale, save_into, write_checkpoint

__all__ = ["save_checkpoint", "torch_persistent_save", "verify_checkpoint_directory"]

logger = logging.getLogger("fairseq.checkpoint_utils")

# A program may replace PathManager.opena to write in a way of its own; the original leaves it to the writer thread.
_OPENA = PathManager.opena


def save_checkpoint(cfg: Any, trainer: Any, epoch_itr: Any, val_loss: float | None) -> str | None:
    """Save the state of training under every name that is due now, then remove what has become too old.

    The first due name is written, the others are copies of its bytes. The best value so far is kept in
    ``save_checkpoint.best``, also while ``--no-save`` is on.

    Args:
        cfg: the ``checkpoint`` section.
        trainer: what to save.
        epoch_itr: gives the position in the data.
        val_loss: value of ``--best-checkpoint-metric``; ``None`` if nothing was validated.

    Returns:
        The file that was written, or ``None``.

    Raises:
        CheckpointWriteError: disk full or folder not writable; files that were there before are untouched.
    """
    cfg = lenient(cfg, CheckpointConfig)
    _remember_best(cfg, val_loss)
    if cfg.no_save:
        return None
    if trainer.data_parallel_rank == 0:
        os.makedirs(cfg.save_dir, exist_ok=True)
    trainer.consolidate_optimizer()
    if not trainer.should_save_checkpoint_on_current_rank:
        if trainer.always_call_state_dict_during_save_checkpoint:
            trainer.state_dict()
        return None
    started = time.monotonic()
    epoch, updates = epoch_itr.epoch, trainer.get_num_updates()
    end_of_epoch = epoch_itr.end_of_epoch()
    logger.info("Preparing to save checkpoint for epoch %s @ %s updates", epoch, updates)
    names = _due(cfg, epoch, updates, end_of_epoch, val_loss, trainer.checkpoint_suffix)
    if not names:
        return None
    extra_state = {"train_iterator": epoch_itr.state_dict(), "val_loss": val_loss}
    best = getattr(save_checkpoint, "best", None)
    if best is not None:
        extra_state["best"] = best
    files = [os.path.join(cfg.save_dir, name) for name in names]
    trainer.save_checkpoint(files[0], extra_state)

    def copies_and_removals() -> None:
        for copy in files[1:]:
            _copy(files[0], copy)
        try:
            _remove_old(cfg, end_of_epoch, trainer.checkpoint_suffix)
        except OSError as error:
            # Everything is saved; files that are left over are no reason to stop.
            logger.warning("old checkpoints were not removed: %s", error)

    if cfg.write_checkpoints_asynchronously:
        from fairseq.checkpoint_utils.background import WRITER

        WRITER.submit(copies_and_removals, files[0])
    else:
        copies_and_removals()
    logger.info(
        "Saved checkpoint %s (epoch %s @ %s updates, score %s) (writing took %.2f seconds)",
        files[0],
        epoch,
        updates,
        val_loss,
        time.monotonic() - started,
    )
    return files[0]


def _copy(source: str, target: str) -> None:
    if PathManager.path_requires_pathmanager(target):
        PathManager.copy(source, target, overwrite=True)
    else:
        copy_file(source, target)


def _better(cfg: Any, a: float, b: float) -> bool:
    """Whether ``a`` is at least as good as ``b``."""
    return a >= b if cfg.maximize_best_checkpoint_metric else a <= b


def _remember_best(cfg: Any, val_loss: float | None) -> None:
    best = getattr(save_checkpoint, "best", None)
    if val_loss is not None and (best is None or _better(cfg, val_loss, best)):
        save_checkpoint.best = val_loss  # type: ignore[attr-defined]


def _due(cfg: Any, epoch: int, updates: int, end_of_epoch: bool, val_loss: float | None, suffix: str) -> list[str]:
    """File names of this save, most specific first."""
    names = []
    if end_of_epoch and not cfg.no_epoch_checkpoints and epoch % cfg.save_interval == 0:
        names.append(f"checkpoint{epoch}{suffix}.pt")
    if not end_of_epoch and cfg.save_interval_updates > 0 and updates % cfg.save_interval_updates == 0:
        names.append(f"checkpoint_{epoch}_{updates}{suffix}.pt")
    if val_loss is not None:
        # The best value has been updated already: as good as it means the best, or level with it.
        if _better(cfg, val_loss, getattr(save_checkpoint, "best", val_loss)):
            names.append(f"checkpoint_best{suffix}.pt")
        if cfg.keep_best_checkpoints > 0 and _better(cfg, val_loss, _worst_kept(cfg, val_loss, suffix)):
            digit = _digit(cfg, epoch, updates, val_loss)
            names.append(f"checkpoint.best_{cfg.best_checkpoint_metric}_{val_loss:.3f}{digit}{suffix}.pt")
    if not cfg.no_last_checkpoints:
        names.append(f"checkpoint_last{suffix}.pt")
    return names


def _digit(cfg: Any, epoch: int, updates: int, val_loss: float) -> int:
    """Tells checkpoints of equal value apart; drawn from its own stream, so training is not disturbed."""
    import numpy as np

    seed = int(hash((epoch, updates, val_loss)) % 1e6)
    return int(np.random.RandomState(seed).randint(0, cfg.keep_best_checkpoints))


def _best_pattern(cfg: Any, suffix: str) -> str:
    return rf"checkpoint\.best_{re.escape(cfg.best_checkpoint_metric)}_(-?\d+\.?\d*){re.escape(suffix)}\.pt"


def _worst_kept(cfg: Any, val_loss: float, suffix: str) -> float:
    kept = numbered_checkpoints(cfg.save_dir, _best_pattern(cfg, suffix))
    if not kept:
        return getattr(save_checkpoint, "best", val_loss)
    return kept[-1][0] if cfg.maximize_best_checkpoint_metric else kept[0][0]


def _remove_old(cfg: Any, end_of_epoch: bool, suffix: str) -> None:
    """Apply the three ``--keep-*`` limits."""
    end = re.escape(suffix) + r"\.pt"
    if not end_of_epoch and cfg.keep_interval_updates > 0:
        found = numbered_checkpoints(cfg.save_dir, r"checkpoint_\d+_(\d+)" + end)
        every = cfg.keep_interval_updates_pattern
        if every > 0:
            found = [item for item in found if item[0] % every != 0]
        _remove(cfg.save_dir, found[cfg.keep_interval_updates :])
    if cfg.keep_last_epochs > 0:
        _remove(cfg.save_dir, numbered_checkpoints(cfg.save_dir, r"checkpoint(\d+)" + end)[cfg.keep_last_epochs :])
    if cfg.keep_best_checkpoints > 0:
        found = numbered_checkpoints(cfg.save_dir, _best_pattern(cfg, suffix))
        if not cfg.maximize_best_checkpoint_metric:
            found.reverse()
        _remove(cfg.save_dir, found[cfg.keep_best_checkpoints :])


def _remove(folder: str, found: list[tuple[float, str]]) -> None:
    for _, name in found:
        path = os.path.join(folder, name)
        if os.path.lexists(path) or PathManager.exists(path):
            PathManager.rm(path)
        with contextlib.suppress(FileNotFoundError):
            os.remove(f"{path}.sha256")


def torch_persistent_save(obj: Any, filename: str | os.PathLike[str], async_write: bool = False) -> None:
    """Save an object; the name holds either the old file or the complete new one at every moment.

    Args:
        obj: what ``torch.save`` takes.
        filename: local, or remote where iopath handles it.
        async_write: return as soon as the object has been copied into memory; a thread writes it.

    Raises:
        CheckpointWriteError: disk full or folder not writable.
    """
    # Looked up in the package, where programs replace it.
    from fairseq import checkpoint_utils

    write = checkpoint_utils._torch_persistent_save
    filename = os.fspath(filename)
    if PathManager.path_requires_pathmanager(filename) or (async_write and PathManager.opena is not _OPENA):
        opener = PathManager.opena if async_write else PathManager.open
        with opener(filename, "wb") as out:
            write(obj, out)
    elif async_write:
        from fairseq.checkpoint_utils.background import WRITER

        WRITER.save(obj, filename, write)
    else:
        write(obj, filename)


def _torch_persistent_save(obj: Any, f: Any) -> None:
    """Write ``obj`` to ``f``, a local path (atomically, see ``write_checkpoint``) or an open binary file."""
    if isinstance(f, (str, os.PathLike)):
        write_checkpoint(obj, f)
    else:
        save_into(f, obj)


def verify_checkpoint_directory(save_dir: str) -> None:
    """Make the folder if needed, prove that a file can be written to it, and clear what a killed run left half-written.

    Raises:
        OSError: it cannot; nothing would ever be saved.
    """
    try:
        os.makedirs(save_dir, exist_ok=True)
        dummy = os.path.join(save_dir, "dummy")
        with open(dummy, "w"):
            pass
        os.remove(dummy)
        stale = remove_stale(save_dir)
        if stale:
            logger.info("removed from %s what a run that was killed left half-written: %s", save_dir, ", ".join(stale))
    except OSError:
        logger.warning("Unable to access checkpoint save directory: %s", save_dir)
        raise
