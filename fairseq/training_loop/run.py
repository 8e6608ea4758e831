"""What ``fairseq-train`` and ``fairseq-hydra-train`` do once they have a config."""

from __future__ import annotations

import logging
import math
import time
from argparse import Namespace
from typing import Any

import torch
from torch import nn

from fairseq import checkpoint_utils, runtime_flags, tasks, unused_options, utils
from fairseq.compat.signatures import fitting
from fairseq.dataclass.lenient import complete
from fairseq.dataclass.limits import TRAINING, check_limits
from fairseq.logging import metrics
from fairseq.logging.lines import setup_logging
from fairseq.trainer import Trainer
from fairseq.training_loop import compiling, early_checks, early_stop, preemption, profiling
from fairseq.training_loop.loop import train
from fairseq.training_loop.schedule import stop_reason
from fairseq.utils.heap import keep_freed_memory

__all__ = ["main"]

logger = logging.getLogger("fairseq_cli.train")


def main(cfg: Any) -> None:
    """Train as the config says, from the checkpoint that is there or from the start.

    Args:
        cfg: the whole config; a flat namespace is converted.

    Raises:
        AssertionError: no batch size, or no criterion.
    """
    setup_logging(goes_on=True)
    cfg = _prepare(cfg)
    uses_cuda = torch.cuda.is_available() and not cfg.common.cpu
    if not uses_cuda:
        keep_freed_memory()
    _shared_arrays = _folder_of_shared_arrays(cfg)  # kept while training; its files go with it
    task = tasks.setup_task(cfg.task)
    if not cfg.criterion:
        raise AssertionError("Please specify criterion to train a model")
    model = task.build_model(cfg.model)
    criterion = task.build_criterion(cfg.criterion)
    _describe(task, model, criterion)
    compiling.compile_if_asked(model, uses_cuda)
    runtime_flags.choose_float32(uses_cuda)
    early_checks.check_folders(cfg)
    _load_validation_data(cfg, task)
    trainer = Trainer(cfg, task, model, criterion, _quantizer(cfg))
    logger.info("training on %s devices (GPUs/TPUs)", cfg.distributed_training.distributed_world_size)
    logger.info(
        "max tokens per device = %s and max sentences per device = %s", cfg.dataset.max_tokens, cfg.dataset.batch_size
    )
    _, epoch_itr = checkpoint_utils.load_checkpoint(
        cfg.checkpoint, trainer, disable_iterator_cache=task.has_sharded_data("train")
    )
    _require_targets(cfg, task)
    early_checks.check_alignments(cfg, task)
    _try_validation_data(cfg, trainer)
    early_checks.check_metric(cfg, trainer, task, epoch_itr)
    started = time.time()
    try:
        with preemption.leave_if_command(), profiling.recorded(cfg, trainer):
            _epochs(cfg, trainer, task, epoch_itr)
    finally:
        # What comes after training is no forward pass: --heartbeat-timeout must not take it for a stall.
        getattr(trainer.model, "stop_timeout", lambda: None)()
        _finish_writing()
    logger.info("done training in %.1f seconds", time.time() - started)
    _summarise(cfg, trainer)


def _summarise(cfg: Any, trainer: Trainer) -> None:
    """The last line of a run: how far it came, how good it got, where it lies."""
    best = getattr(checkpoint_utils.save_checkpoint, "best", None)
    score = "nothing was validated" if best is None else f"best {cfg.checkpoint.best_checkpoint_metric} {best:.3f}"
    place = "nothing was saved" if cfg.checkpoint.no_save else f"checkpoints are in {cfg.checkpoint.save_dir}"
    hours = trainer.cumulative_training_time() / 3600
    logger.info("%s updates in %.2f hours in all; %s; %s", trainer.get_num_updates(), hours, score, place)


def _prepare(cfg: Any) -> Any:
    """Plugin, defaults, seeds, log file, save folder: all that comes before the first component is built."""
    import numpy as np

    from fairseq.dataclass.initialize import add_defaults
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from fairseq.distributed import utils as distributed_utils

    if isinstance(cfg, Namespace):
        cfg = convert_namespace_to_omegaconf(cfg)
    complete(cfg)
    utils.import_user_module(cfg.common)
    add_defaults(cfg)
    if cfg.common.reset_logging:
        utils.reset_logging()
    if cfg.dataset.max_tokens is None and cfg.dataset.batch_size is None:
        raise AssertionError("Must specify batch size either with --max-tokens or --batch-size")
    check_limits(cfg, TRAINING)
    _forget_earlier_runs()
    if cfg.common.log_file is not None:
        logger.addHandler(logging.FileHandler(filename=cfg.common.log_file, encoding="utf-8", errors="surrogateescape"))
    np.random.seed(cfg.common.seed)
    utils.set_torch_seed(cfg.common.seed)
    if distributed_utils.is_master(cfg.distributed_training):
        checkpoint_utils.verify_checkpoint_directory(cfg.checkpoint.save_dir)
        early_checks.check_paths(cfg)
    logger.info("%s", cfg)
    unused_options.warn_about(unused_options.idle_in_training(cfg))
    return cfg


def _folder_of_shared_arrays(cfg: Any) -> Any:
    """For ``--use-plasma-view``: the owner of what the processes of this machine share, in the first of them."""
    if not cfg.common.use_plasma_view or cfg.distributed_training.device_id != 0:
        return None
    from fairseq.data.plasma_utils import PlasmaStore

    return PlasmaStore(cfg.common.plasma_path)


def _forget_earlier_runs() -> None:
    """Process-wide state of a run before this one (sweeps): metrics, best value, patience."""
    metrics.reset()
    checkpoint_utils.save_checkpoint.__dict__.pop("best", None)
    early_stop.forget()


def _describe(task: Any, model: nn.Module, criterion: nn.Module) -> None:
    logger.info("%s", model)
    logger.info("task: %s", type(task).__name__)
    logger.info("model: %s", type(model).__name__)
    logger.info("criterion: %s", type(criterion).__name__)
    for kind, is_expert in (("shared model", False), ("expert model", True)):
        params = [p for p in model.parameters() if bool(getattr(p, "expert", False)) == is_expert]
        trained = sum(p.numel() for p in params if p.requires_grad)
        logger.info(
            "num. %s params: %s (num. trained: %s)", kind, f"{sum(p.numel() for p in params):,}", f"{trained:,}"
        )


def _load_validation_data(cfg: Any, task: Any) -> None:
    from fairseq.data import data_utils

    # Training data comes later: a checkpoint decides which epoch of it.
    combine = bool(cfg.dataset.combine_valid_subsets)
    for subset in ["valid"] if combine else cfg.dataset.valid_subset.split(","):
        try:
            task.load_dataset(subset, **fitting(task.load_dataset, combine=combine, epoch=1))
        except FileNotFoundError as missing:
            if not cfg.dataset.disable_validation:
                hint = early_checks.names_of_splits(cfg, subset)
                raise FileNotFoundError(f"{missing}{hint}") from missing
            logger.info("%s; it is not needed, as --disable-validation is given", missing)
    data_utils.raise_if_valid_subsets_unintentionally_ignored(cfg)


def _require_targets(cfg: Any, task: Any) -> None:
    """Refuse to train a translation model on sentences without translations; they can only be generated from."""
    from fairseq.data.language_pair_dataset import LanguagePairDataset

    for split, dataset in task.datasets.items():
        if isinstance(dataset, LanguagePairDataset) and dataset.tgt is None:
            raise FileNotFoundError(f"{split} has no target side in {getattr(cfg.task, 'data', 'the data')}")


def _try_validation_data(cfg: Any, trainer: Any) -> None:
    """Make the validation batches once: data that cannot be used shows now, not after the first epoch."""
    if cfg.dataset.disable_validation:
        return
    for subset in cfg.dataset.valid_subset.split(","):
        logger.info('begin dry-run validation on "%s" subset', subset)
        trainer.get_valid_iterator(subset)


def _quantizer(cfg: Any) -> Any:
    if cfg.common.quantization_config_path is None:
        return None
    from fairseq import quantization_utils

    return quantization_utils.Quantizer(
        config_path=cfg.common.quantization_config_path,
        max_epoch=cfg.optimization.max_epoch,
        max_update=cfg.optimization.max_update,
    )


def _reason_not_to_begin(cfg: Any, trainer: Trainer) -> str | None:
    """Why the run that was resumed is complete, or ``None``."""
    if trainer.get_num_updates() == 0:
        return None
    if early_stop.is_out_of_patience(cfg):
        return f"early stop since valid performance hasn't improved for last {cfg.checkpoint.patience} runs"
    return stop_reason(cfg, trainer.get_num_updates(), trainer.cumulative_training_time())


def _epochs(cfg: Any, trainer: Trainer, task: Any, epoch_itr: Any) -> None:
    max_epoch = cfg.optimization.max_epoch or math.inf
    reason = _reason_not_to_begin(cfg, trainer)
    if reason is not None:
        logger.info("%s; nothing is left to train", reason)
        return
    lr = trainer.get_lr()
    while epoch_itr.next_epoch_idx <= max_epoch:
        if lr <= cfg.optimization.stop_min_lr:
            logger.info(
                "stopping training because current learning rate (%s) is smaller than or equal to minimum learning "
                "rate (--stop-min-lr=%s)",
                lr,
                cfg.optimization.stop_min_lr,
            )
            break
        (value, *_), is_over = train(cfg, trainer, task, epoch_itr)
        if is_over:
            break
        # The first validation subset drives the schedule.
        lr = trainer.lr_step(epoch_itr.epoch, value)
        # Data that comes in pieces is another one in each epoch; otherwise nothing is read again.
        in_pieces = task.has_sharded_data("train")
        epoch_itr = trainer.get_train_iterator(
            epoch_itr.next_epoch_idx, load_dataset=in_pieces, disable_iterator_cache=in_pieces
        )


def _finish_writing() -> None:
    import sys

    writer = sys.modules.get("fairseq.checkpoint_utils.background")
    if writer is not None:
        writer.WRITER.wait()
