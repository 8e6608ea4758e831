"""One update of the parameters, and one validation batch.

The order of an update, with the places that wait for the device marked W:

1. seed torch with ``seed + num_updates``: dropout is a function of the update, so a resumed run repeats it
2. forward and backward over the batches of the update; gradients add up
3. several workers: statistics are summed (W), gradients reduced
4. divide by the total sample size: the gradient is that of a mean over all workers and batches
5. clip, compare between workers (W), require finite numbers (W)
6. optimizer step, schedule, EMA
7. metrics; values stay on the device until a log line is due
"""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from fairseq.compat.signatures import fitting
from fairseq.data.vocabulary_check import explained
from fairseq.logging import metrics
from fairseq.trainer import guard

__all__ = ["TrainingStep", "validation_step"]

logger = logging.getLogger("fairseq.trainer")


@dataclass
class _Accumulated:
    """Sums over the batches of an update, first of this worker, later of all."""

    logging_outputs: list[dict[str, Any]] = field(default_factory=list)
    sample_size: Any = 0.0
    out_of_memory: Any = 0
    only_dummies: bool = True


class TrainingStep:
    """One call makes one update of ``trainer``'s model."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self._amp_retries = 0

    def __call__(self, samples: Sequence[Any], raise_oom: bool = False) -> Any:
        """Run an update over ``samples`` (the batches of ``--update-freq``).

        Returns:
            The values logged by this step, or ``None`` when there was no update: out of memory, or an overflow.

        Raises:
            FloatingPointError: gradients that are not finite, or not the same on all workers.
        """
        trainer = self.trainer
        trainer._set_seed()
        trainer.model.train()
        trainer.criterion.train()
        trainer.zero_grad()
        metrics.log_start_time("train_wall", priority=800, round=0)

        done = self._accumulate(samples, raise_oom)
        if done.out_of_memory and trainer.data_parallel_world_size == 1:
            logger.warning("ran out of memory in every batch or in one of the update: the update is skipped")
            trainer.zero_grad()
            return None
        if trainer._sync_stats():
            self._sum_over_workers(done)
        try:
            grad_norm = self._gradients(done)
            overflowed = self._update(grad_norm, samples)
        except FloatingPointError:
            trainer._save_crash_checkpoint()
            guard.diagnose_non_finite(trainer, samples)
            raise
        except OverflowError as error:
            overflowed = True
            logger.info("NOTE: gradient overflow detected, ignoring gradient, %s", error)
            trainer.zero_grad()
        except RuntimeError as error:
            if guard.is_out_of_memory(error):
                guard.recover_from_oom(error, trainer, "optimizer")
                logger.error("OOM during optimization, irrecoverable")
            raise
        if overflowed == "retry":
            return self(samples, raise_oom)
        output = None if overflowed else self._after_update(done, grad_norm)
        metrics.log_stop_time("train_wall")
        return output

    # ---------------------------------------------------------------------------------------------------- the gradient
    def _accumulate(self, samples: Sequence[Any], raise_oom: bool) -> _Accumulated:
        trainer, done = self.trainer, _Accumulated()
        for index, sample in enumerate(samples):
            sample, is_dummy = trainer._prepare_sample(sample)
            try:
                with self._without_sync(is_last=index == len(samples) - 1):
                    train_step = trainer.task.train_step
                    _, sample_size, output = train_step(
                        sample=sample,
                        model=trainer.model,
                        criterion=trainer.criterion,
                        optimizer=trainer.optimizer,
                        ignore_grad=is_dummy,
                        **fitting(train_step, update_num=trainer.get_num_updates(), **trainer._extra_step_arguments()),
                    )
            except IndexError as error:
                raise explained(error, trainer.task, sample) from error
            except RuntimeError as error:
                if not guard.is_out_of_memory(error):
                    raise
                guard.recover_from_oom(error, trainer, "forward/backward")
                if raise_oom:
                    raise
                done.out_of_memory += 1
                continue
            except Exception:
                trainer._save_crash_checkpoint()
                raise
            done.logging_outputs.append(output)
            if not is_dummy:
                # A dummy has a gradient of zero; counting its tokens would scale the others' down.
                done.sample_size += sample_size.float() if torch.is_tensor(sample_size) else float(sample_size)
                done.only_dummies = False
            if trainer.cuda and trainer.get_num_updates() == 0:
                # The first pass leaves buffers of odd sizes behind.
                torch.cuda.empty_cache()
        return done

    def _without_sync(self, is_last: bool) -> Any:
        """Workers need to exchange gradients once per update, in the last backward pass."""
        trainer = self.trainer
        if not is_last and trainer.data_parallel_world_size > 1 and hasattr(trainer.model, "no_sync"):
            return trainer.model.no_sync()
        return contextlib.nullcontext()

    def _sum_over_workers(self, done: _Accumulated) -> None:
        trainer = self.trainer
        local_time = trainer._local_cumulative_training_time()
        done.logging_outputs, (sample_size, out_of_memory, total_time, signals) = trainer._aggregate_logging_outputs(
            done.logging_outputs,
            done.sample_size,
            done.out_of_memory,
            local_time,
            trainer.stop_signal,
            ignore=done.only_dummies,
        )
        # One worker that has to leave takes all with it, after the same update.
        trainer.stop_signal = trainer.stop_signal or (int(signal.SIGTERM) if signals else 0)
        done.sample_size, done.out_of_memory = sample_size, out_of_memory
        trainer._cumulative_training_time = total_time / trainer.data_parallel_world_size

    def _gradients(self, done: _Accumulated) -> torch.Tensor:
        """Reduce, normalise and clip; returns the norm before clipping."""
        trainer = self.trainer
        with torch.autograd.profiler.record_function("reduce-grads"):
            trainer.optimizer.all_reduce_grads(trainer.model)
            if trainer.criterion_has_parameters:
                trainer.optimizer.all_reduce_grads(trainer.criterion)
        with torch.autograd.profiler.record_function("multiply-grads"):
            # DDP has divided by the number of workers, which is undone here.
            workers = trainer.data_parallel_world_size
            if trainer.cfg.optimization.use_bmuf and not trainer._sync_stats():
                workers = 1  # block momentum leaves each worker its own gradient between two synchronisations
            size = done.sample_size
            if torch.is_tensor(size):
                trainer.optimizer.multiply_grads(workers / torch.where(size == 0, torch.ones_like(size), size))
            else:
                trainer.optimizer.multiply_grads(workers / (size or 1.0))
        with torch.autograd.profiler.record_function("clip-grads"):
            grad_norm = trainer.clip_grad_norm(trainer.cfg.optimization.clip_norm)
        return grad_norm if torch.is_tensor(grad_norm) else torch.tensor(float(grad_norm))

    # ------------------------------------------------------------------------------------------------------ the update
    def _update(self, grad_norm: torch.Tensor, samples: Sequence[Any]) -> Any:
        """Check the gradient, step the optimizer. Returns ``True`` for a skipped update, ``"retry"`` to repeat it."""
        trainer = self.trainer
        if trainer.data_parallel_world_size > 1 and not trainer.cfg.optimization.use_bmuf:
            guard.check_agreement(grad_norm, trainer)
        if trainer.precision.name == "amp" and not torch.isfinite(grad_norm).all():
            return self._amp_overflow()
        if not trainer.precision.scales_loss:
            guard.require_finite(grad_norm)
        with torch.autograd.profiler.record_function("optimizer"):
            trainer.task.optimizer_step(trainer.optimizer, model=trainer.model, update_num=trainer.get_num_updates())
            self._amp_retries = 0
        return False

    def _amp_overflow(self) -> Any:
        # The optimizer has logged the overflow, and has given up if the scale cannot shrink any more.
        trainer, common = self.trainer, self.trainer.cfg.common
        optimizer = trainer.optimizer
        # The scaler sees the overflow, skips the step and lowers its scale.
        trainer.task.optimizer_step(optimizer, model=trainer.model, update_num=trainer.get_num_updates())
        trainer.zero_grad()
        if self._amp_retries < common.amp_batch_retries:
            self._amp_retries += 1
            return "retry"
        logger.info("AMP: skipping this batch.")
        self._amp_retries = 0
        return True

    def _after_update(self, done: _Accumulated, grad_norm: torch.Tensor) -> Any:
        trainer, cfg = self.trainer, self.trainer.cfg
        trainer.set_num_updates(trainer.get_num_updates() + 1)
        if trainer.ema is not None:
            trainer.ema.step(trainer.get_model(), trainer.get_num_updates())
            metrics.log_scalar("ema_decay", trainer.ema.get_decay(), priority=10000, round=5, weight=0)
        output = trainer._reduce_and_log_stats(done.logging_outputs, done.sample_size, grad_norm)
        updates = trainer.get_num_updates()
        if trainer.cuda:
            metrics.log_scalar("gb_free", _free_gigabytes(trainer), priority=1500, round=1, weight=0)
            every = cfg.common.empty_cache_freq
            if every > 0 and (updates + every - 1) % every == 0:
                torch.cuda.empty_cache()
        if trainer.precision.scales_loss:
            metrics.log_scalar("loss_scale", _loss_scale(trainer.optimizer), priority=700, round=4, weight=0)
        return output


def _free_gigabytes(trainer: Any) -> float:
    """Memory of the device that was not taken at the peak since the last update; no device synchronisation."""
    used = torch.cuda.max_memory_allocated() / 1024**3
    torch.cuda.reset_peak_memory_stats()
    return trainer._total_memory_gb - used


def _loss_scale(optimizer: Any) -> float:
    scaler = optimizer.scaler
    return scaler.loss_scale if hasattr(scaler, "loss_scale") else scaler.get_scale()


def validation_step(trainer: Any, sample: Any, raise_oom: bool = False) -> Any:
    """Compute and log the loss of one batch, without gradients; out of memory is retried once."""
    with torch.no_grad():
        trainer.model.eval()
        trainer.criterion.eval()
        sample, is_dummy = trainer._prepare_sample(sample)
        try:
            _, sample_size, output = trainer.task.valid_step(
                sample, trainer.model, trainer.criterion, **trainer._extra_step_arguments()
            )
        except IndexError as error:
            raise explained(error, trainer.task, sample) from error
        except RuntimeError as error:
            if not guard.is_out_of_memory(error) or raise_oom:
                raise
            logger.warning("ran out of memory in validation step, retrying batch")
            for parameter in trainer.model.parameters():
                parameter.grad = None
            if trainer.cuda:
                torch.cuda.empty_cache()
            return validation_step(trainer, sample, raise_oom=True)
        outputs = [output]
        if is_dummy:
            sample_size = sample_size.zero_() if torch.is_tensor(sample_size) else sample_size * 0.0
    if trainer.data_parallel_world_size > 1:
        outputs, (sample_size,) = trainer._aggregate_logging_outputs(outputs, sample_size, ignore=is_dummy)
    return trainer._reduce_and_log_stats(outputs, sample_size)
