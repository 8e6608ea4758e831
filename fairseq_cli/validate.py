#!/usr/bin/env python3
"""``fairseq-validate``: the validation loss of a trained model, over one or more subsets."""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import os
import sys
from argparse import Namespace
from itertools import chain
from typing import Any

from fairseq.compat.signatures import fitting
from fairseq.dataclass.limits import BATCHES, check_limits
from fairseq_cli._console import run_command, setup_logging

__all__ = ["cli_main", "console_main", "main"]

logger = logging.getLogger("fairseq_cli.validate")


def main(cfg: Any, override_args: Any = None) -> None:
    """Load a model and log the metrics of each ``--valid-subset``.

    Args:
        cfg: the whole config; ``common_eval.path`` names the checkpoint.
        override_args: options given on the command line; they replace those in the checkpoint.

    Raises:
        AssertionError: neither ``--max-tokens`` nor ``--batch-size``.
        KeyError: a subset that the task cannot load.
    """
    setup_logging()
    import torch

    from fairseq import checkpoint_utils, utils
    from fairseq.unused_options import idle_in_validation, warn_about
    from fairseq.utils.literals import parse_literal

    if isinstance(cfg, Namespace):
        from fairseq.dataclass.utils import convert_namespace_to_omegaconf

        cfg = convert_namespace_to_omegaconf(cfg)
    utils.import_user_module(cfg.common)
    if cfg.common.reset_logging:
        utils.reset_logging()
    if cfg.dataset.max_tokens is None and cfg.dataset.batch_size is None:
        raise AssertionError("Must specify batch size either with --max-tokens or --batch-size")
    check_limits(cfg, BATCHES)
    if not cfg.common_eval.path:
        raise ValueError("--path is required: the checkpoint of the model to validate")
    use_cuda = torch.cuda.is_available() and not cfg.common.cpu
    if use_cuda:
        from fairseq.utils.devices import leave_out_cudnn_attention

        leave_out_cudnn_attention()
        torch.cuda.set_device(cfg.distributed_training.device_id)

    overrides = dict(vars(override_args)) if override_args is not None else {}
    if overrides.get("data", "") is None:
        del overrides["data"]
    overrides.update(parse_literal(getattr(cfg.common_eval, "model_overrides", None) or "{}"))
    logger.info("loading model(s) from %s", cfg.common_eval.path)
    models, saved_cfg, task = checkpoint_utils.load_model_ensemble_and_task(
        [cfg.common_eval.path],
        arg_overrides=overrides,
        suffix=cfg.checkpoint.checkpoint_suffix,
    )
    model = models[0]
    for member in models:
        if cfg.common.fp16:
            member.half()
        elif cfg.common.bf16:
            member.bfloat16()
        if use_cuda:
            member.cuda()
    if not cfg.common_eval.quiet:
        logger.info("%s", saved_cfg)
    warn_about(idle_in_validation(cfg))
    criterion = task.build_criterion(saved_cfg.criterion)
    criterion.eval()
    for subset in cfg.dataset.valid_subset.split(","):
        validate_subset(cfg, saved_cfg, task, model, criterion, subset, use_cuda)


def validate_subset(
    cfg: Any, saved_cfg: Any, task: Any, model: Any, criterion: Any, subset: str, use_cuda: bool
) -> dict[str, Any]:
    """Compute and log the metrics of one subset; returns them, rounded as they are shown."""
    from fairseq import utils
    from fairseq.distributed import utils as distributed_utils
    from fairseq.logging import metrics, progress_bar
    from fairseq.trainer.precision import choose_precision
    from fairseq_cli._inference import nothing_left

    try:
        combine = bool(cfg.dataset.combine_valid_subsets)
        more = fitting(task.load_dataset, combine=combine, epoch=1, task_cfg=saved_cfg.task)
        task.load_dataset(subset, **more)
        dataset = task.dataset(subset)
    except (KeyError, FileNotFoundError) as error:
        reason = f" ({error})" if isinstance(error, FileNotFoundError) else ""
        raise KeyError(f"Cannot find dataset: {subset}{reason}") from error
    parallel = cfg.distributed_training.distributed_world_size > 1
    world_size = distributed_utils.get_data_parallel_world_size() if parallel else 1
    rank = distributed_utils.get_data_parallel_rank() if parallel else 0
    if cfg.dataset.fixed_validation_seed is not None:
        utils.set_torch_seed(cfg.dataset.fixed_validation_seed)
    shards, shard = cfg.dataset.num_shards, cfg.dataset.shard_id
    make = task.get_batch_iterator
    max_positions = _max_positions(task, model)
    itr = make(
        dataset=dataset,
        max_tokens=cfg.dataset.max_tokens_valid,
        max_sentences=cfg.dataset.batch_size_valid,
        max_positions=max_positions,
        ignore_invalid_inputs=cfg.dataset.skip_invalid_size_inputs_valid_test,
        required_batch_size_multiple=cfg.dataset.required_batch_size_multiple,
        seed=cfg.common.seed,
        num_shards=shards * world_size,
        shard_id=shard * world_size + rank,
        num_workers=cfg.dataset.num_workers,
        **fitting(make, data_buffer_size=cfg.dataset.data_buffer_size),
    ).next_epoch_itr(shuffle=False)
    if len(itr) == 0:
        if len(dataset) == 0:
            raise ValueError(f"--valid-subset {subset}: it is empty, so there is nothing to validate on")
        raise nothing_left(subset, len(dataset), max_positions)
    progress = progress_bar.progress_bar(
        itr,
        prefix=f"valid on '{subset}' subset",
        log_file=cfg.common.log_file,
        log_interval=None if cfg.common_eval.quiet else cfg.common.log_interval,
        log_format=cfg.common.log_format,
        default_log_format="simple" if cfg.common.no_progress_bar else "tqdm",
        tensorboard_logdir=cfg.common.tensorboard_logdir if rank == 0 else None,
        wandb_project=cfg.common.wandb_project if rank == 0 else None,
        wandb_run_name=os.environ.get("WANDB_NAME", os.path.basename(cfg.checkpoint.save_dir)),
        aim_repo=cfg.common.aim_repo if rank == 0 else None,
        aim_run_hash=cfg.common.aim_run_hash if rank == 0 else None,
        aim_param_checkpoint_dir=cfg.checkpoint.save_dir,
        azureml_logging=cfg.common.azureml_logging if rank == 0 else False,
    )
    precision = choose_precision(cfg.common)
    outputs = [
        output
        for index, sample in enumerate(itertools.islice(progress, cfg.dataset.max_valid_steps))
        if (output := _valid_output(task, model, criterion, sample, precision, use_cuda, progress, index)) is not None
    ]
    if parallel:
        gathered = distributed_utils.all_gather_list(
            outputs, max_size=cfg.common.all_gather_list_size, group=distributed_utils.get_data_parallel_group()
        )
        outputs = list(chain.from_iterable(gathered))
    with metrics.aggregate() as own:
        task.reduce_metrics(outputs, criterion)
        stats = own.get_smoothed_values()
    progress.print(stats, tag=subset, step=len(outputs))
    if cfg.common_eval.results_path and rank == 0:
        _write_results(cfg.common_eval.results_path, subset, stats)
    return stats


def _write_results(folder: str, subset: str, stats: dict[str, Any]) -> None:
    """The metrics of a subset as ``validate-SUBSET.json``."""
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, f"validate-{subset}.json"), "w", encoding="utf-8") as out:
        json.dump({key: float(value) for key, value in stats.items()}, out, indent=1)
        out.write("\n")


def _max_positions(task: Any, model: Any) -> Any:
    from fairseq import utils

    return utils.resolve_max_positions(task.max_positions(), model.max_positions())


def _valid_output(
    task: Any, model: Any, criterion: Any, sample: Any, precision: Any, use_cuda: bool, progress: Any, index: int
) -> Any:
    """The logging output of one batch; ``None`` for the empty batches that fill up a worker's share."""
    import torch

    from fairseq import utils

    if not sample:
        return None
    if use_cuda:
        sample = utils.move_to_cuda(sample)
    with torch.no_grad():
        _, _, output = task.valid_step(precision.convert_sample(sample), model, criterion)
    progress.log(output, step=index)
    return output


def _accept_data_folder(parser: argparse.ArgumentParser) -> None:
    """Without ``--task`` the checkpoint says which task it is; the folder may be given all the same."""
    if not any(action.dest == "data" for action in parser._actions):
        parser.add_argument("data", nargs="?", help="data folder; the checkpoint's own if not given")


def cli_main() -> None:
    """Read the command line and validate.

    Options that are given replace those in the checkpoint (``--data`` elsewhere, other limits); those that are not
    given leave the checkpoint's values alone.
    """
    from fairseq import options

    setup_logging(stream=sys.stdout)
    modify = _accept_data_folder if not any(word.partition("=")[0] == "--task" for word in sys.argv[1:]) else None
    args = options.parse_args_and_arch(options.get_validation_parser(), modify_parser=modify)
    given = options.parse_args_and_arch(options.get_validation_parser(), suppress_defaults=True, modify_parser=modify)
    # PyTorch is imported from here on: --help and a wrong command line are answered before.
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from fairseq.distributed import utils as distributed_utils

    distributed_utils.call_main(convert_namespace_to_omegaconf(args), main, override_args=given)


def console_main() -> None:
    """The ``fairseq-validate`` command: ``cli_main`` with errors as one line."""
    run_command(cli_main, needs="DATA --path CHECKPOINT --max-tokens N")


if __name__ == "__main__":
    console_main()
