"""One epoch of training; between updates: log, validate, save, stop."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import torch

from fairseq import checkpoint_utils, runtime_flags
from fairseq.dataclass.lenient import complete
from fairseq.logging import metrics
from fairseq.training_loop import preemption, profiling
from fairseq.training_loop.early_stop import should_stop_early
from fairseq.training_loop.schedule import decide, update_freq_of
from fairseq.training_loop.validation import progress_over, validate

__all__ = ["get_training_stats", "train", "validate_and_save"]

logger = logging.getLogger("fairseq_cli.train")


@metrics.aggregate("train")
def train(cfg: Any, trainer: Any, task: Any, epoch_itr: Any) -> tuple[list[float | None], bool]:
    """Train for one epoch, or the rest of one.

    Returns:
        ``(valid_losses, should_stop)``: what the last validation gave (``[None]`` without one), and whether training
        is over.
    """
    from fairseq.data import iterators

    complete(cfg)
    batches = getattr(trainer, "batches", None)
    next_epoch_itr = epoch_itr.next_epoch_itr if batches is None else partial(batches.next_epoch_itr, epoch_itr)
    itr = next_epoch_itr(
        fix_batches_to_gpus=cfg.distributed_training.fix_batches_to_gpus,
        shuffle=epoch_itr.next_epoch_idx > cfg.dataset.curriculum,
    )
    itr = iterators.GroupedIterator(
        itr, update_freq_of(cfg, epoch_itr.epoch), skip_remainder_batch=cfg.optimization.skip_remainder_batch
    )
    progress = progress_over(cfg, trainer, itr, epoch_itr.epoch, log_file=cfg.common.log_file)
    progress.update_config(_flatten_config(cfg))
    trainer.begin_epoch(epoch_itr.epoch)
    valid_subsets = cfg.dataset.valid_subset.split(",")
    valid_losses: list[float | None] = [None]
    should_stop = False
    num_updates = trainer.get_num_updates()
    logger.info("Start iterating over samples")
    for index, samples in enumerate(progress):
        trainer.stop_signal = preemption.requested()
        with metrics.aggregate("train_inner"), torch.autograd.profiler.record_function(f"train_step-{index}"):
            log_output = trainer.train_step(samples)
        profiling.mark_update()
        if log_output is not None:
            num_updates = trainer.get_num_updates()
            _log_if_due(progress, num_updates, cfg.common.log_interval)
        valid_losses, should_stop = validate_and_save(
            cfg, trainer, task, epoch_itr, valid_subsets, end_of_epoch=not itr.has_next()
        )
        if should_stop:
            break
    trainer.settle()
    logger.info("end of epoch %s (average epoch stats below)", epoch_itr.epoch)
    stats = get_training_stats(metrics.get_smoothed_values("train"))
    progress.print(stats, tag="train", step=num_updates)
    metrics.reset_meters("train")
    return valid_losses, should_stop


def _log_if_due(progress: Any, num_updates: int, interval: int) -> None:
    """Every so many updates, a line about those since the last line."""
    if num_updates % interval == 0:
        progress.log(
            get_training_stats(metrics.get_smoothed_values("train_inner")), tag="train_inner", step=num_updates
        )
        metrics.reset_meters("train_inner")


def _flatten_config(cfg: Any) -> dict[str, Any]:
    """The whole config in one level, for programs that record runs; legacy namespaces are opened."""
    from argparse import Namespace

    from omegaconf import OmegaConf

    plain = OmegaConf.to_container(cfg) if OmegaConf.is_config(cfg) else dict(cfg)
    flat: dict[str, Any] = {}
    for key, value in plain.items():  # type: ignore[union-attr]
        flat.update(vars(value) if isinstance(value, Namespace) else {str(key): value})
    return flat


def get_training_stats(stats: dict[str, Any]) -> dict[str, Any]:
    """Add the wall time of the process to smoothed training values, last."""
    meter = metrics.get_meter("default", "wall")
    stats["wall"] = round(meter.elapsed_time, 0)  # type: ignore[union-attr]
    return stats


def validate_and_save(
    cfg: Any, trainer: Any, task: Any, epoch_itr: Any, valid_subsets: list[str], end_of_epoch: bool
) -> tuple[list[float | None], bool]:
    """After an update: validate, stop and save if it is time for that.

    Returns:
        ``(valid_losses, should_stop)``.
    """
    num_updates = trainer.get_num_updates()
    decision = decide(cfg, epoch_itr.epoch, num_updates, end_of_epoch, trainer.cumulative_training_time())
    should_stop = decision.stop_reason is not None
    if should_stop:
        logger.info("%s", decision.stop_reason)
    # Workers have agreed on the signal in the update; one that arrives later waits for the next update.
    leaving = trainer.stop_signal or (trainer.data_parallel_world_size == 1 and preemption.requested())
    valid_losses: list[float | None] = [None]
    if decision.validate and not leaving:
        valid_losses = validate(cfg, trainer, task, epoch_itr, valid_subsets)
    should_stop = should_stop_early(cfg, valid_losses[0]) or should_stop or bool(leaving)
    if decision.save or should_stop:
        path = _save(cfg, trainer, epoch_itr, valid_losses[0], is_last=should_stop)
        if path is not None and hasattr(task, "post_save"):
            task.post_save(path, num_updates)
    if leaving:
        checkpoint_utils.background.WRITER.wait()
        raise preemption.Preempted(leaving)
    return valid_losses, should_stop


def _save(cfg: Any, trainer: Any, epoch_itr: Any, val_loss: float | None, is_last: bool) -> str | None:
    """Save; a failure ends training only if there will be no later save."""
    stops = runtime_flags.stop_on_save_error()
    if stops and cfg.checkpoint.write_checkpoints_asynchronously:
        checkpoint_utils.background.WRITER.check()
    try:
        return checkpoint_utils.save_checkpoint(cfg.checkpoint, trainer, epoch_itr, val_loss)
    except OSError as error:  # CheckpointWriteError, or the folder cannot be made or listed
        if is_last or stops:
            raise
        bar = "!" * 100
        logger.error(
            "%s\nNO CHECKPOINT WAS SAVED: %s Training goes on; the last good one is kept.\n%s", bar, error, bar
        )
        return None
