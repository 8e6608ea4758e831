"""One update of the parameters, and one validation batch.

The order of an update:

1. seed torch with ``seed + num_updates``: dropout is a function of the update, so a resumed run repeats it
2. forward and backward over the batches of the update; gradients add up
3. look at what the update before left to be checked
4. several workers: statistics are summed, gradients reduced
5. divide by the total sample size: the gradient is that of a mean over all workers and batches
6. clip, compare between workers, require finite numbers
7. optimizer step, schedule, EMA
8. metrics; values stay on the device until a log line is due

Without loss scaling nothing waits for a GPU: the checks of point 6 are looked at in point 3 of the next update, or
before something is validated or saved, and an update whose gradient is not finite is made to do no harm. With loss
scaling (``--fp16``, ``--amp``) the norm is read in each update, because what happens next depends on it. On the CPU all
checks come before the update that they are about.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from fairseq.compat.signatures import fitting
from fairseq.compat.torch import scale_on_device
from fairseq.data.text_files.vocabulary_check import explained
from fairseq.logging import metrics
from fairseq.trainer import guard
from fairseq.trainer.readback import Readback

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
        self._readback = Readback()
        self._agreed_signal = 0
        self._unchecked: tuple[int, Sequence[Any]] | None = None  # the update that the readback is about

    def __call__(self, samples: Sequence[Any], raise_oom: bool = False) -> Any:
        """Run an update over ``samples`` (the batches of ``--update-freq``).

        Returns:
            The values logged by this step, or ``None`` when there was no update: out of memory, or an overflow.

        Raises:
            FloatingPointError: gradients that are not finite, or not the same on all workers; on a GPU those of the
                update before.
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
        self.settle()
        if trainer._sync_stats():
            self._sum_over_workers(done)
        try:
            grad_norm = self._gradients(done)
            overflowed = self._update(grad_norm, samples)
        except FloatingPointError:
            self._report_broken(samples)
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

    def settle(self) -> None:
        """Look at the checks that the last update left to be looked at.

        Raises:
            FloatingPointError: its gradient was not finite, or not the same on all workers. The trainer counts updates
                as before that update then.
        """
        try:
            self._readback.settle()
        except FloatingPointError:
            if self._unchecked is not None:
                update, samples = self._unchecked
                self._unchecked = None
                self.trainer.set_num_updates(update)
                self._report_broken(samples)
            raise
        self._unchecked = None

    def _report_broken(self, samples: Sequence[Any]) -> None:
        self.trainer._save_crash_checkpoint()
        guard.diagnose_non_finite(self.trainer, samples)

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
        done.sample_size, done.out_of_memory = sample_size, out_of_memory
        numbers = [torch.as_tensor(number, dtype=torch.float64) for number in (total_time, signals)]
        self._readback.ask(torch.stack(numbers), functools.partial(self._agree, trainer.stop_signal))
        if trainer._cumulative_training_time is None:
            self._readback.settle()  # the first time, which all workers must have alike
        # If one worker must stop, all stop after the same update: each learns it before any leaves.
        trainer.stop_signal = self._agreed_signal

    def _agree(self, own_signal: int, numbers: torch.Tensor) -> None:
        total_time, signals = numbers.tolist()
        self.trainer._cumulative_training_time = total_time / self.trainer.data_parallel_world_size
        self._agreed_signal = own_signal or (int(signal.SIGTERM) if signals else 0)

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
        put_off = False
        if trainer.data_parallel_world_size > 1 and not trainer.cfg.optimization.use_bmuf:
            put_off = self._readback.ask(guard.gather_norms(grad_norm, trainer), guard.require_agreement)
        if trainer.precision.name == "amp" and not _amp_gradients_are_finite(trainer.optimizer, grad_norm):
            return self._amp_overflow()
        protected: Any = contextlib.nullcontext()
        if not trainer.precision.scales_loss and self._readback.ask(grad_norm, guard.require_finite):
            put_off, protected = True, guard.harmless_unless_finite(trainer.optimizer, grad_norm)
        if put_off:
            self._unchecked = (trainer.get_num_updates(), samples)
        with torch.autograd.profiler.record_function("optimizer"), protected:
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


def _amp_gradients_are_finite(optimizer: Any, grad_norm: torch.Tensor) -> bool:
    # The optimizer has read the norm when it clipped.
    known = getattr(optimizer, "grads_are_finite", None)
    return bool(torch.isfinite(grad_norm).all()) if known is None else known


def _loss_scale(optimizer: Any) -> Any:
    scaler = optimizer.scaler
    return scaler.loss_scale if hasattr(scaler, "loss_scale") else scale_on_device(scaler)


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
