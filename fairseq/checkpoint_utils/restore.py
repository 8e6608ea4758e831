"""Where training starts: anew, from a finished model, or where it stopped."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Any

from fairseq import checkpoint_utils
from fairseq.checkpoint_utils.shards import files_of
from fairseq.dataclass.configs import CheckpointConfig
from fairseq.dataclass.lenient import lenient
from fairseq.file_io import PathManager
from fairseq.utils.literals import parse_literal

__all__ = ["load_checkpoint"]

logger = logging.getLogger("fairseq.checkpoint_utils")

DEFAULT_RESTORE_FILE = "checkpoint_last.pt"


@dataclass
class _Start:
    """The file to read, and which parts of it are not wanted."""

    path: str
    reset_optimizer: bool
    reset_lr_scheduler: bool
    reset_meters: bool
    reset_dataloader: bool


def _decide(cfg: Any, suffix: str) -> _Start:
    """Read ``--restore-file``, ``--finetune-from-model``, ``--continue-once`` and ``--reset-*`` together.

    Raises:
        ValueError: options that contradict each other, or a missing ``--finetune-from-model`` file.
    """
    resets = (cfg.reset_optimizer, cfg.reset_lr_scheduler, cfg.reset_meters, cfg.reset_dataloader)
    finetune = cfg.finetune_from_model
    if finetune is not None and any(resets):
        raise ValueError(
            "--finetune-from-model can not be set together with either --reset-optimizer or reset_lr_scheduler or "
            "reset_meters or reset_dataloader"
        )
    if cfg.restore_file != DEFAULT_RESTORE_FILE:
        if finetune is not None:
            raise ValueError(
                "--finetune-from-model and --restore-file (non-default value) can not be specified together: "
                f"{finetune}, {cfg.restore_file}"
            )
        if os.path.isdir(cfg.restore_file):
            raise IsADirectoryError(f"--restore-file {cfg.restore_file} is a folder; give the file in it")
        return _Start(cfg.restore_file.replace(".pt", f"{suffix}.pt") if suffix else cfg.restore_file, *resets)
    path = os.path.join(cfg.save_dir, f"checkpoint_last{suffix}.pt")
    if files_of(path):
        return _Start(path, *resets)
    continue_once = getattr(cfg, "continue_once", None)
    if continue_once is not None:
        return _Start(continue_once, *resets)
    if finetune is not None:
        if not PathManager.exists(finetune):
            raise ValueError(f"--finetune-from-model {finetune} does not exist")
        logger.info(
            "loading pretrained model from %s: optimizer, lr scheduler, meters, dataloader will be reset", finetune
        )
        return _Start(finetune, True, True, True, True)
    return _Start(path, *resets)


def load_checkpoint(cfg: Any, trainer: Any, **passthrough_args: Any) -> tuple[Any, Any]:
    """Restore the trainer and make the iterator of the epoch it is in.

    Args:
        cfg: the ``checkpoint`` section.
        trainer: restored in place.
        passthrough_args: for ``trainer.get_train_iterator``.

    Returns:
        ``(extra_state, epoch_itr)``; ``extra_state`` is ``None`` when nothing was restored.
    """
    cfg = lenient(cfg, CheckpointConfig)
    overrides = parse_literal(cfg.optimizer_overrides) if isinstance(cfg.optimizer_overrides, str) else None
    if overrides is None:
        overrides = dict(cfg.optimizer_overrides or {})
    if not isinstance(overrides, dict):
        raise ValueError(f"--optimizer-overrides {cfg.optimizer_overrides}: a Python dictionary is expected")
    start = _decide(cfg, trainer.checkpoint_suffix)
    extra_state = trainer.load_checkpoint(
        start.path, start.reset_optimizer, start.reset_lr_scheduler, overrides, reset_meters=start.reset_meters
    )
    if extra_state is not None and "best" in extra_state and not start.reset_optimizer and not start.reset_meters:
        checkpoint_utils.save_checkpoint.best = extra_state["best"]
    position = None
    if extra_state is not None and not start.reset_dataloader:
        position = extra_state["train_iterator"]
    elif hasattr(trainer, "batches"):
        trainer.batches.resume({})
    epoch = position["epoch"] if position is not None else 1
    epoch_itr = trainer.get_train_iterator(epoch=epoch, load_dataset=True, **passthrough_args)
    if position is not None:
        epoch_itr.load_state_dict(position)
    trainer.lr_step(epoch_itr.epoch)
    return extra_state, epoch_itr
