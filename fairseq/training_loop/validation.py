"""The loss on held-out data."""

from __future__ import annotations

import logging
import os
from typing import Any

from fairseq import checkpoint_utils, utils
from fairseq.dataclass.lenient import complete
from fairseq.logging import metrics, progress_bar

__all__ = ["get_valid_stats", "validate"]

logger = logging.getLogger("fairseq_cli.train")


def progress_over(cfg: Any, trainer: Any, itr: Any, epoch: int, prefix: str | None = None, log_file: Any = None) -> Any:
    """The progress bar that a run's options ask for; only the first worker reports to other programs."""
    common, is_master = cfg.common, trainer.is_data_parallel_master
    return progress_bar.progress_bar(
        itr,
        log_format=common.log_format,
        log_file=log_file,
        log_interval=common.log_interval,
        epoch=epoch,
        prefix=prefix,
        aim_repo=common.aim_repo if is_master else None,
        aim_run_hash=common.aim_run_hash if is_master else None,
        aim_param_checkpoint_dir=cfg.checkpoint.save_dir,
        tensorboard_logdir=common.tensorboard_logdir if is_master else None,
        default_log_format="simple" if common.no_progress_bar else "tqdm",
        wandb_project=common.wandb_project if is_master else None,
        wandb_run_name=os.environ.get("WANDB_NAME", os.path.basename(cfg.checkpoint.save_dir)),
        azureml_logging=common.azureml_logging if is_master else False,
    )


def validate(cfg: Any, trainer: Any, task: Any, epoch_itr: Any, subsets: list[str]) -> list[float | None]:
    """Validate on each subset and log the result.

    Returns:
        The value of ``--best-checkpoint-metric`` for each subset, rounded as it is logged.

    Raises:
        KeyError: that metric is not among those that were logged.
    """
    complete(cfg)
    if cfg.dataset.fixed_validation_seed is not None:
        utils.set_torch_seed(cfg.dataset.fixed_validation_seed)
    trainer.begin_valid_epoch(epoch_itr.epoch)
    values: list[float | None] = []
    for index, subset in enumerate(subsets):
        logger.info('begin validation on "%s" subset', subset)
        itr = trainer.get_valid_iterator(subset).next_epoch_itr(shuffle=False, set_dataset_epoch=False)
        progress = progress_over(cfg, trainer, itr, epoch_itr.epoch, f"valid on '{subset}' subset")
        limit = cfg.dataset.max_valid_steps
        # A root of its own: the running numbers of training are not disturbed.
        with metrics.aggregate(new_root=True) as own:
            for step, sample in enumerate(progress):
                if limit is not None and step >= limit:
                    break
                trainer.valid_step(sample)
        stats = get_valid_stats(cfg, trainer, own.get_smoothed_values(), tracking_best=index == 0)
        if hasattr(task, "post_validate"):
            task.post_validate(trainer.get_model(), stats, own)
        progress.print(stats, tag=subset, step=trainer.get_num_updates())
        values.append(stats[cfg.checkpoint.best_checkpoint_metric])
    return values


def get_valid_stats(cfg: Any, trainer: Any, stats: dict[str, Any], tracking_best: bool) -> dict[str, Any]:
    """Complete the values of a validation by the number of updates and the best value so far.

    Args:
        stats: smoothed values, changed in place.
        tracking_best: add ``best_METRIC``, once there is an earlier value to compare with.

    Raises:
        KeyError: ``--best-checkpoint-metric`` names none of the values.
    """
    metric = cfg.checkpoint.best_checkpoint_metric
    if metric not in stats:
        raise KeyError(f"--best-checkpoint-metric {metric} was not logged in validation; there are: {', '.join(stats)}")
    stats["num_updates"] = trainer.get_num_updates()
    best = getattr(checkpoint_utils.save_checkpoint, "best", None)
    if tracking_best and best is not None:
        choose = max if cfg.checkpoint.maximize_best_checkpoint_metric else min
        stats[f"best_{metric}"] = choose(best, stats[metric])
    return stats
