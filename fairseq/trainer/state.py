"""The checkpoint dictionary: made from a trainer, and put back into one.

Keys and their meaning are those of every release since 0.10; older layouts have been upgraded before they come here.
"""

from __future__ import annotations

import logging
from typing import Any

from fairseq.checkpoint_utils.shards import WORKERS
from fairseq.compat import fast_path_weights
from fairseq.compat.suggest import near
from fairseq.logging import meters, metrics
from fairseq.serialization.mapped import MappedTensors
from fairseq.serialization.notes import NOTES
from fairseq.trainer import run_state

__all__ = ["make_state", "restore"]

logger = logging.getLogger("fairseq.trainer")

# The notes' entry that says how far product quantisation is.
QUANTIZER = "quantizer"


def make_state(trainer: Any) -> dict[str, Any]:
    """Everything a run needs to go on; tensors are the live ones, not copies."""
    cfg = trainer.cfg
    state: dict[str, Any] = {
        "args": None,  # kept because tools look for it
        "cfg": _plain_config(cfg),
        "model": trainer.model.state_dict(),
        "criterion": trainer.criterion.state_dict() if trainer.criterion_has_parameters else None,
        "optimizer_history": [
            *(trainer._optim_history or []),
            {
                "criterion_name": type(trainer.get_criterion()).__name__,
                "optimizer_name": type(trainer.optimizer).__name__,
                "lr_scheduler_state": trainer.lr_scheduler.state_dict(),
                "num_updates": trainer.get_num_updates(),
            },
        ],
        "task_state": trainer.task.state_dict() if trainer.task is not None else {},
        "extra_state": {
            "metrics": metrics.state_dict(),
            "previous_training_time": trainer.cumulative_training_time(),
        },
    }
    if trainer.ema is not None:
        state["extra_state"]["ema"] = trainer.ema.get_model().state_dict()
        if cfg.ema.ema_fp32:
            state["extra_state"]["ema_fp32_params"] = trainer.ema.fp32_params
    if not cfg.checkpoint.no_save_optimizer_state:
        state["last_optimizer_state"] = trainer.optimizer.state_dict()
    state[NOTES] = {WORKERS: trainer.data_parallel_world_size, **trainer.batches.notes()}
    state[NOTES][run_state.RUN] = run_state.make_notes(trainer)
    if trainer.quantizer is not None:
        state[NOTES][QUANTIZER] = trainer.quantizer.notes()
    return state


def _plain_config(cfg: Any) -> Any:
    from omegaconf import OmegaConf

    if OmegaConf.is_config(cfg):
        return OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
    return cfg


def restore(
    trainer: Any,
    filename: str,
    state: dict[str, Any],
    reset_optimizer: bool,
    reset_lr_scheduler: bool,
    optimizer_overrides: dict[str, Any] | None,
    reset_meters: bool,
    mapped: MappedTensors,
) -> dict[str, Any]:
    """Put a checkpoint into a trainer.

    Args:
        mapped: tensors of model and optimizer that still lie in the file; none of them is kept.

    Returns:
        The checkpoint's ``extra_state``.

    Raises:
        Exception: the parameters do not fit the model.
        AssertionError: criterion or optimizer are others than those of the checkpoint.
    """
    trained = [name for name, p in trainer.get_model().named_parameters() if p.requires_grad]
    copies = fast_path_weights.places_in(state["model"], trained)
    _restore_weights(trainer, filename, state)
    notes = state.get(NOTES, {})
    saved = notes.get(run_state.RUN)
    trainer.batches.resume(notes)
    extra_state: dict[str, Any] = state["extra_state"]
    _move_position(extra_state, notes.get(WORKERS), trainer.data_parallel_world_size)
    trainer._optim_history = state["optimizer_history"]
    last = state["optimizer_history"][-1]
    optimizer_state = state.pop("last_optimizer_state", None)
    if optimizer_state is not None and not reset_optimizer:
        trainer._build_optimizer()
        _same_classes(trainer, last)
        if not reset_lr_scheduler:
            trainer.lr_scheduler.load_state_dict(last["lr_scheduler_state"])
            run_state.resume_scheduler(trainer, saved)
        if not getattr(getattr(trainer.optimizer, "optimizer", None), "copies_loaded_state", False):
            optimizer_state = mapped.own(optimizer_state)
        if copies is not None:
            optimizer_state = fast_path_weights.without_places(optimizer_state, copies)
        _check_overrides(trainer.optimizer, optimizer_overrides)
        trainer.optimizer.load_state_dict(optimizer_state, optimizer_overrides)
        run_state.resume_optimizer(trainer, saved)
        trainer.set_num_updates(last["num_updates"])
        if not reset_lr_scheduler:
            _end_last_epoch(trainer, extra_state)
    if not reset_optimizer and not reset_meters:
        run_state.resume_process(saved)
    _restore_extra(trainer, extra_state, reset_meters, reset_optimizer)
    if trainer.ema is not None:
        _restore_ema(trainer, extra_state)
        if "ema" in extra_state:
            run_state.resume_ema(trainer, saved)
    return extra_state


def _restore_weights(trainer: Any, filename: str, state: dict[str, Any]) -> None:
    last = state["optimizer_history"][-1]
    _restore_layers(trainer, filename, state)
    model = trainer.model
    # Schedules inside modules (quantisation noise, ...) read the number of updates while weights are loaded.
    trainer.get_model().set_num_updates(last.get("num_updates", 0))
    try:
        model.load_state_dict(state["model"], strict=True, model_cfg=trainer.cfg.model)
        if trainer.criterion_has_parameters:
            trainer.get_criterion().load_state_dict(state["criterion"], strict=True)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise Exception(
            f"Cannot load model parameters from checkpoint {filename}; please ensure that the architectures match. "
            f"({reason[:500]})"
        ) from error
    state.pop("model")


def _restore_layers(trainer: Any, filename: str, state: dict[str, Any]) -> None:
    """Put the product-quantised layers in that the checkpoint has weights of."""
    weights = state["model"]
    if not any(name.endswith(".centroids") for name in weights):
        return
    from fairseq.modules.quantization import pq

    try:
        if trainer.quantizer is not None:
            notes = state.get(NOTES, {}).get(QUANTIZER, {})
            trainer.quantizer.resume(notes, trainer.get_model(), weights)
        else:
            pq.quantize_like_(trainer.get_model(), weights)
    except ValueError as error:
        raise Exception(f"Cannot load model parameters from checkpoint {filename}: {error}") from error
    # The optimizer and the workers' wrappers know the parameters of before.
    trainer.reinitialize()


def _move_position(extra_state: dict[str, Any], before: Any, now: int) -> None:
    """Turn a position that ``before`` workers counted, each its own batches, into that of ``now`` workers.

    All of them together go through the epoch in one order, so the place is the same; where it falls between two steps
    of the new number, the step is repeated rather than any sentence left out. Files of upstream do not say how many
    workers there were, and keep their count.
    """
    position = extra_state.get("train_iterator")
    if position is None or not isinstance(before, int) or before in (0, now):
        return
    done = position.get("iterations_in_epoch", 0) * before
    extra_state["train_iterator"] = {**position, "iterations_in_epoch": done // now}
    logger.info("%s workers saved this checkpoint, %s go on: they begin at batch %s", before, now, done // now * now)


def _check_overrides(optimizer: Any, overrides: dict[str, Any] | None) -> None:
    """Refuse ``--optimizer-overrides`` that are no settings of the optimizer."""
    known = {name for group in optimizer.param_groups for name in group} - {"params"}
    for name in overrides or {}:
        if name not in known:
            close = near(name, known)
            hint = f"did you mean {', '.join(close)}?" if close else f"there are {', '.join(sorted(known))}"
            raise ValueError(f"--optimizer-overrides: the optimizer has no setting {name!r}; {hint}")


def _same_classes(trainer: Any, last: dict[str, Any]) -> None:
    criterion = type(trainer.get_criterion()).__name__
    if last["criterion_name"] != criterion:
        raise AssertionError(
            "Criterion does not match; please reset the optimizer (--reset-optimizer). "
            f"{last['criterion_name']} vs {criterion}"
        )
    optimizer = type(trainer.optimizer).__name__
    if last["optimizer_name"] != optimizer:
        raise AssertionError(
            "Optimizer does not match; please reset the optimizer (--reset-optimizer). "
            f"{last['optimizer_name']} vs {optimizer}"
        )


def _is_between_epochs(extra_state: dict[str, Any]) -> bool:
    """Whether a checkpoint was saved after the last update of an epoch."""
    position = extra_state.get("train_iterator") or {}
    return position.get("version", 1) >= 2 and position.get("iterations_in_epoch") == 0


def _end_last_epoch(trainer: Any, extra_state: dict[str, Any]) -> None:
    """Tell the schedule what the epoch ended with: a run that goes on does so after it has saved."""
    epoch = (extra_state.get("train_iterator") or {}).get("epoch") or 1
    if _is_between_epochs(extra_state) and epoch > 1:
        trainer.lr_step(epoch - 1, extra_state.get("val_loss"))


def _restore_extra(trainer: Any, extra_state: dict[str, Any], reset_meters: bool, reset_optimizer: bool) -> None:
    position = extra_state.get("train_iterator") or {}
    if "previous_training_time" in extra_state:
        trainer._previous_training_time = extra_state["previous_training_time"]
        trainer._restart_clock()
    trainer.lr_step(position.get("epoch") or 1)
    if "metrics" in extra_state and not reset_meters:
        if not _is_between_epochs(extra_state):
            metrics.load_state_dict(extra_state["metrics"])
        elif not reset_optimizer and "train_inner" in extra_state["metrics"]:
            # The epoch's own numbers are complete; those since the last log line are not.
            metrics.load_state_dict({"train_inner": extra_state["metrics"]["train_inner"]})
        # The time between the two runs does not count as training.
        for meter in (metrics.get_meters("default") or {}).values():
            if isinstance(meter, meters.TimeMeter):
                meter.reset()
        _continue_wall(trainer)
    task_name = type(trainer.task).__name__
    if task_name in extra_state and hasattr(trainer.task, "set_checkpoint_dict"):
        trainer.task.set_checkpoint_dict(extra_state[task_name])


def _continue_wall(trainer: Any) -> None:
    """Let ``wall`` go on from the time that the runs before this one took."""
    meter = metrics.get_meter("default", "wall")
    if not isinstance(meter, meters.StopwatchMeter):
        metrics.log_start_time("wall", priority=790, round=0)
        meter = metrics.get_meter("default", "wall")
    if isinstance(meter, meters.StopwatchMeter):
        meter.start(elapsed=trainer._previous_training_time)


def _restore_ema(trainer: Any, extra_state: dict[str, Any]) -> None:
    ema, wants_fp32 = trainer.ema, trainer.cfg.ema.ema_fp32
    if "ema" not in extra_state:
        logger.warning("--store-ema: the checkpoint holds no averaged weights; averaging begins with its model")
        ema.restore(trainer.get_model().state_dict(), build_fp32_params=wants_fp32)
        return
    ema.restore(extra_state["ema"], build_fp32_params=False)
    if not wants_fp32:
        return
    if "ema_fp32_params" in extra_state:
        ema.build_fp32_params(extra_state["ema_fp32_params"])
    else:
        logger.info("--ema-fp32: the checkpoint holds rounded averages only; their float32 copies begin with those")
        ema.build_fp32_params()
