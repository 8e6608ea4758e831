"""From options to a progress bar."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from fairseq.logging.lines import setup_logging
from fairseq.logging.progress_bar import console
from fairseq.logging.progress_bar.base import BaseProgressBar, logger

__all__ = ["build_progress_bar", "progress_bar"]


def progress_bar(
    iterator: Any,
    log_format: str | None = None,
    log_interval: int = 100,
    log_file: str | None = None,
    epoch: int | None = None,
    prefix: str | None = None,
    aim_repo: str | None = None,
    aim_run_hash: str | None = None,
    aim_param_checkpoint_dir: str | None = None,
    tensorboard_logdir: str | None = None,
    default_log_format: str = "tqdm",
    wandb_project: str | None = None,
    wandb_run_name: str | None = None,
    azureml_logging: bool | None = False,
) -> BaseProgressBar:
    """A bar over ``iterator`` in the wanted format, wrapped by whatever else shall receive the metrics.

    Args:
        log_format: ``tqdm`` (``simple`` when stderr is no terminal), ``simple``, ``json`` or ``none``;
            ``default_log_format`` if not given.
        log_interval: updates between lines.
        log_file: metric lines are also written there.

    Raises:
        ValueError: unknown format.
    """
    log_format = log_format or default_log_format
    if log_format == "tqdm" and not sys.stderr.isatty():
        log_format = "simple"
    if log_format != "none":
        setup_logging()  # a training loop that configured no logging is to see its lines
    if log_file is not None:
        _write_also_to(log_file)
    bar: BaseProgressBar
    if log_format == "json":
        bar = console.JsonProgressBar(iterator, epoch, prefix, log_interval)
    elif log_format == "none":
        bar = console.NoopProgressBar(iterator, epoch, prefix)
    elif log_format == "simple":
        bar = console.SimpleProgressBar(iterator, epoch, prefix, log_interval)
    elif log_format == "tqdm":
        bar = console.TqdmProgressBar(iterator, epoch, prefix)
    else:
        raise ValueError(f"Unknown log format: {log_format}")
    if aim_repo:
        from fairseq.logging.progress_bar.aim_wrapper import AimProgressBarWrapper

        bar = AimProgressBarWrapper(bar, aim_repo, aim_run_hash, aim_param_checkpoint_dir)
    if tensorboard_logdir:
        from fairseq.logging.progress_bar.tensorboard import TensorboardProgressBarWrapper

        bar = TensorboardProgressBarWrapper(bar, tensorboard_logdir)
    if wandb_project:
        from fairseq.logging.progress_bar.wandb_wrapper import WandBProgressBarWrapper

        bar = WandBProgressBarWrapper(bar, wandb_project, run_name=wandb_run_name)
    if azureml_logging:
        from fairseq.logging.progress_bar.azureml import AzureMLProgressBarWrapper

        bar = AzureMLProgressBarWrapper(bar)
    return bar


def _write_also_to(log_file: str) -> None:
    """Give the metric logger a handler for the file, once."""
    path = os.path.abspath(log_file)
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler) and handler.baseFilename == path:
            return
    logger.addHandler(logging.FileHandler(path, encoding="utf-8", errors="surrogateescape"))


def build_progress_bar(
    args: Any,
    iterator: Any,
    epoch: int | None = None,
    prefix: str | None = None,
    default: str = "tqdm",
    no_progress_bar: str = "none",
) -> BaseProgressBar:
    """Old way to get a bar: ``args`` may have ``log_format``, ``no_progress_bar``, ``log_interval`` and
    ``tensorboard_logdir``; a missing ``args.log_format`` is filled in."""
    if getattr(args, "log_format", None) is None:
        args.log_format = no_progress_bar if getattr(args, "no_progress_bar", False) else default
    folder = getattr(args, "tensorboard_logdir", None)
    is_master = getattr(args, "distributed_rank", 0) == 0
    return progress_bar(
        iterator,
        log_format=args.log_format,
        log_interval=getattr(args, "log_interval", None) or 100,
        epoch=epoch,
        prefix=prefix,
        tensorboard_logdir=folder if is_master else None,
    )
