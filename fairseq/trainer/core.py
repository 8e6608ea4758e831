"""``Trainer``: one model, one task, one optimizer, on the devices of this process."""

from __future__ import annotations

import logging
import os
import time
from argparse import Namespace
from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import nn

from fairseq import checkpoint_utils, utils
from fairseq.checkpoint_utils.model_loading import naming_file, releasing_pages
from fairseq.dataclass.lenient import complete
from fairseq.distributed.wrap import watched
from fairseq.file_io import PathManager
from fairseq.logging import metrics
from fairseq.serialization.errors import CheckpointError
from fairseq.serialization.mapped import MappedTensors
from fairseq.trainer import state as checkpoint_state
from fairseq.trainer.batches import BatchSource
from fairseq.trainer.precision import choose_precision
from fairseq.trainer.stats import StatsCollector
from fairseq.trainer.step import TrainingStep, validation_step
from fairseq.utils.devices import leave_out_cudnn_attention

__all__ = ["Trainer"]

logger = logging.getLogger("fairseq.trainer")


class Trainer:
    """Trains a model, on one device or with data parallel workers of which this process is one.

    Args:
        cfg: the whole config (a flat namespace is converted).
        task: a set-up task.
        model: on the CPU; moved to the device in place.
        criterion: likewise.
        quantizer: called once per update, for product quantisation.

    Attributes:
        cfg, task, quantizer: as given.
        device: where the model is; ``cuda`` says whether that is a GPU.
        tpu, pipeline_model_parallel: always false; kept because tasks ask for them.
        precision: what the run computes with, see ``fairseq.trainer.precision``.

    Raises:
        ValueError: options that are not supported or contradict each other.
    """

    def __init__(self, cfg: Any, task: Any, model: nn.Module, criterion: nn.Module, quantizer: Any = None) -> None:
        if isinstance(cfg, Namespace):
            from fairseq.dataclass.utils import convert_namespace_to_omegaconf

            logger.warning("argparse.Namespace configuration is deprecated! Automatically converting to OmegaConf")
            cfg = convert_namespace_to_omegaconf(cfg)
        complete(cfg)
        _refuse_unsupported(cfg)
        self.cfg, self.task, self.quantizer = cfg, task, quantizer
        self.tpu = self.pipeline_model_parallel = False
        self.precision = choose_precision(cfg.common, is_sharded=self.is_fsdp and self.use_distributed_wrapper)
        self.cuda = torch.cuda.is_available() and not cfg.common.cpu
        self.device = torch.device("cuda") if self.cuda else torch.device("cpu")
        self.last_device = None

        self._shared_params = _shared_parameters(model)
        self._criterion = self.precision.convert_module(criterion)
        self._model = self.precision.convert_module(model)
        if not self.is_fsdp:  # sharding moves parameters itself
            self._criterion = self._criterion.to(device=self.device)
            self._model = self._model.to(device=self.device)
        for first, *others in self._shared_params:
            for other in others:
                logger.info("detected shared parameter: %s <- %s", first, other)
        self._total_memory_gb = 0.0
        self.cuda_env: Any = None
        self.cuda_env_arr: Any = None
        if self.cuda:
            leave_out_cudnn_attention()
            self._describe_gpus()

        self.batches = BatchSource(self)
        self._stats = StatsCollector(self)
        self._training_step = TrainingStep(self)
        self._lr_scheduler: Any = None
        self._optimizer: Any = None
        self._optim_history: list[dict[str, Any]] | None = None
        self._num_updates = 0
        self.stop_signal = 0  # set from outside when this process is asked to leave; workers agree on it
        self._ema: Any = None
        self._wrapped_criterion: Any = None
        self._wrapped_model: Any = None
        self._cumulative_training_time: float | None = None
        self._previous_training_time: float = 0
        if quantizer is not None:
            quantizer.set_trainer(self)
        self._restart_clock()
        metrics.log_start_time("wall", priority=790, round=0)

    def _describe_gpus(self) -> None:
        self.cuda_env = utils.CudaEnvironment()
        self._total_memory_gb = torch.cuda.get_device_properties(self.device).total_memory / 1024**3
        environments = [self.cuda_env]
        if self.data_parallel_world_size > 1:
            from fairseq.distributed import utils as distributed_utils

            environments = distributed_utils.all_gather_list(self.cuda_env, group=distributed_utils.get_global_group())
        self.cuda_env_arr = environments
        if self.is_data_parallel_master:
            utils.CudaEnvironment.pretty_print_cuda_env_list(self.cuda_env_arr)

    def reinitialize(self) -> None:
        """Forget optimizer, schedule and distributed wrappers; they are made again when needed (new parameters)."""
        self._lr_scheduler = self._optimizer = None
        self._wrapped_criterion = self._wrapped_model = None

    # ----------------------------------------------------------------------------------------------- who takes part
    @property
    def data_parallel_world_size(self) -> int:
        """Number of workers that see different batches."""
        if self.cfg.distributed_training.distributed_world_size == 1:
            return 1
        from fairseq.distributed import utils as distributed_utils

        return distributed_utils.get_data_parallel_world_size()

    @property
    def data_parallel_process_group(self) -> Any:
        """The group of those workers."""
        from fairseq.distributed import utils as distributed_utils

        return distributed_utils.get_data_parallel_group()

    @property
    def data_parallel_rank(self) -> int:
        """This worker's number among them."""
        if self.cfg.distributed_training.distributed_world_size == 1:
            return 0
        from fairseq.distributed import utils as distributed_utils

        return distributed_utils.get_data_parallel_rank()

    @property
    def is_data_parallel_master(self) -> bool:
        """Whether this worker writes the logs."""
        return self.data_parallel_rank == 0

    @property
    def is_fsdp(self) -> bool:
        """Whether parameters are sharded over workers."""
        return self.cfg.distributed_training.ddp_backend == "fully_sharded"

    @property
    def use_distributed_wrapper(self) -> bool:
        """Whether the model is wrapped for gradient exchange."""
        return (self.data_parallel_world_size > 1 and not self.cfg.optimization.use_bmuf) or (
            self.is_fsdp and self.cfg.distributed_training.cpu_offload
        )

    @property
    def should_save_checkpoint_on_current_rank(self) -> bool:
        """Whether this worker writes checkpoint files."""
        sharded = self.is_fsdp and self.cfg.distributed_training.use_sharded_state
        return sharded or getattr(self.cfg.model, "base_layers", 0) > 0 or self.is_data_parallel_master

    @property
    def always_call_state_dict_during_save_checkpoint(self) -> bool:
        """Whether collecting the state is a collective call, so that workers that write nothing must take part."""
        return self.is_fsdp and not self.cfg.distributed_training.use_sharded_state

    @property
    def checkpoint_suffix(self) -> str:
        """What goes before ``.pt`` in the names of this worker's checkpoints."""
        suffix: str = self.cfg.checkpoint.checkpoint_suffix or ""
        if self.is_fsdp and self.cfg.distributed_training.use_sharded_state:
            return f"{suffix}-shard{self.data_parallel_rank}"
        return suffix

    # -------------------------------------------------------------------------------------------------------- parts
    @property
    def criterion_has_parameters(self) -> bool:
        """Whether the criterion is trained too."""
        return utils.has_parameters(self._criterion)

    def _wrap(self, module: nn.Module) -> nn.Module:
        from fairseq import models

        return models.DistributedFairseqModel(
            self.cfg.distributed_training,
            module,
            process_group=self.data_parallel_process_group,
            device=self.device,
            compute_dtype=self.precision.dtype,
        )

    @property
    def criterion(self) -> nn.Module:
        """The criterion, wrapped for gradient exchange if it has parameters and there are several workers."""
        if self._wrapped_criterion is None:
            wrap = self.criterion_has_parameters and self.use_distributed_wrapper
            self._wrapped_criterion = self._wrap(self._criterion) if wrap else self._criterion
        return self._wrapped_criterion

    @property
    def model(self) -> nn.Module:
        """The model, wrapped for gradient exchange if there are several workers."""
        if self._wrapped_model is None:
            if self.use_distributed_wrapper:
                _ = self.ema  # begins with a copy, which a model that is spread over workers does not give
                self._wrapped_model = self._wrap(self._model)
            else:
                self._wrapped_model = watched(self._model, self.cfg.distributed_training)
        return self._wrapped_model

    @property
    def optimizer(self) -> Any:
        """The optimizer in its precision wrapper; made on first use."""
        if self._optimizer is None:
            self._build_optimizer()
        return self._optimizer

    @property
    def lr_scheduler(self) -> Any:
        """The learning rate schedule; made on first use."""
        if self._lr_scheduler is None:
            self._build_optimizer()  # which makes the schedule too
        return self._lr_scheduler

    @property
    def ema(self) -> Any:
        """The averaged copy of the model, or ``None`` without ``--store-ema``."""
        if self._ema is None and self.cfg.ema.store_ema:
            from fairseq.models.ema import build_ema

            self._ema = build_ema(self._model, self.cfg.ema, self.device)
            logger.info("Exponential Moving Average Shadow Model is initialized.")
        return self._ema

    def _build_optimizer(self) -> None:
        from fairseq import optim
        from fairseq.optim import lr_scheduler

        self._check_parameter_names()
        params = [p for p in chain(self.model.parameters(), self.criterion.parameters()) if p.requires_grad]
        self._optimizer = self.precision.build_optimizer(self.cfg, params)
        if str(self.cfg.distributed_training.zero_sharding) == "os" and self.data_parallel_world_size > 1:
            self._share_optimizer_state()
        if self.cfg.optimization.use_bmuf:
            self._optimizer = optim.FairseqBMUF(self.cfg.bmuf, self._optimizer)
        # The schedule sets the first learning rate, so it is made right away.
        self._lr_scheduler = lr_scheduler.build_lr_scheduler(self.cfg.lr_scheduler, self.optimizer)
        self._lr_scheduler.step_update(0)

    def _share_optimizer_state(self) -> None:
        """Let every worker keep a part of the optimizer's state (``--zero-sharding os``)."""
        from fairseq import optim

        common = self.cfg.common
        if common.fp16 and not common.memory_efficient_fp16 and not common.fp16_no_flatten_grads:
            raise ValueError("--zero-sharding os with --fp16 needs --fp16-no-flatten-grads")
        optim.shard_(self._optimizer, self.data_parallel_process_group)

    def _check_parameter_names(self) -> None:
        if self.cfg.optimization.debug_param_names:
            names = [n for n, p in self.model.named_parameters() if p.requires_grad]
            self.param_names = names
            logger.info("%s trained parameters: %s", len(names), ", ".join(names))

    def get_model(self) -> nn.Module:
        """The model itself, without wrapper."""
        return self._model

    def get_criterion(self) -> nn.Module:
        """The criterion itself, without wrapper."""
        return self._criterion

    def get_meter(self, name: str) -> Any:
        """[deprecated] One meter by its old name (``train_loss``, ``valid_nll_loss``, ``wall``, ...)."""
        utils.deprecation_warning(
            "Trainer.get_meter is deprecated; fairseq.logging.metrics.get_meter has the same meters."
        )
        group, _, key = name.partition("_")
        if group not in ("train", "valid") or name == "train_wall":
            group, key = ("default", name) if name == "wall" else ("train", name)
        return metrics.get_meter(group, key)

    # ------------------------------------------------------------------------------------------------------- batches
    def get_train_iterator(
        self,
        epoch: int,
        combine: bool = True,
        load_dataset: bool = True,
        data_selector: Any = None,
        shard_batch_itr: bool = True,
        disable_iterator_cache: bool = False,
    ) -> Any:
        """An ``EpochBatchIterator`` over the training data, for this worker.

        Args:
            epoch: counted from 1.
            combine: join ``train``, ``train1``, ...
            load_dataset: load the data first (needed once, or each epoch when it comes in shards).
            data_selector: passed on to the task.
            shard_batch_itr: give each worker its share; otherwise all batches.
            disable_iterator_cache: do not reuse the batches of an earlier epoch.
        """
        return self.batches.train_iterator(
            epoch, combine, load_dataset, data_selector, shard_batch_itr, disable_iterator_cache
        )

    def get_valid_iterator(self, subset: str, disable_iterator_cache: bool = False) -> Any:
        """An ``EpochBatchIterator`` over a loaded validation subset, for this worker."""
        return self.batches.valid_iterator(subset, disable_iterator_cache)

    def reset_dummy_batch(self, batch: Any) -> None:
        """Set the batch that stands in where this worker has none."""
        self.batches.set_dummy(batch)

    def _prepare_sample(self, sample: Any, is_dummy: bool = False) -> tuple[Any, bool]:
        sample, was_dummy = self.batches.prepare(sample)
        return sample, is_dummy or was_dummy

    def begin_epoch(self, epoch: int) -> None:
        """Called at the beginning of each epoch."""
        logger.info("begin training epoch %s", epoch)
        self.lr_step_begin_epoch(epoch)
        if self.quantizer is not None:
            self.quantizer.begin_epoch(epoch)
        self.task.begin_epoch(epoch, self.get_model())

    def begin_valid_epoch(self, epoch: int) -> None:
        """Called at the beginning of each validation."""
        self.settle()
        self.task.begin_valid_epoch(epoch, self.get_model())

    # --------------------------------------------------------------------------------------------------------- steps
    @metrics.aggregate("train")
    def train_step(self, samples: Sequence[Any], raise_oom: bool = False) -> Any:
        """Do forward, backward and one update.

        Args:
            samples: the batches of the update (``--update-freq``).
            raise_oom: do not try to go on after running out of memory.

        Returns:
            The step's logged values (computed when looked at), or ``None`` when there was no update.
        """
        return self._training_step(samples, raise_oom)

    @metrics.aggregate("valid")
    def valid_step(self, sample: Any, raise_oom: bool = False) -> Any:
        """Compute the loss of one batch without updating anything; returns the logged values."""
        return validation_step(self, sample, raise_oom)

    def settle(self) -> None:
        """Make the checks of the last update, which on a GPU wait for the next one; see ``TrainingStep.settle``."""
        self._training_step.settle()

    def zero_grad(self) -> None:
        """Drop the gradients."""
        self.optimizer.zero_grad()

    def clip_grad_norm(self, clip_norm: float) -> torch.Tensor:
        """Scale gradients down to an L2 norm of at most ``clip_norm`` (0: no limit); returns the norm before that."""
        # Shards of a gradient (DTensor) know their group: the norm of a sharded model is that of the whole already.
        return self.optimizer.clip_grad_norm(clip_norm)

    def _extra_step_arguments(self) -> dict[str, Any]:
        if self.cfg.ema.store_ema and getattr(self.task, "uses_ema", False):
            return {"ema_model": self.ema.get_model()}
        return {}

    def _set_seed(self) -> None:
        # A function of the update alone: a run that was stopped and resumed draws the same numbers.
        utils.set_torch_seed(self.cfg.common.seed + self.get_num_updates())

    def _sync_stats(self) -> bool:
        """Whether workers exchange statistics in this update."""
        if self.data_parallel_world_size == 1:
            return False
        if self.cfg.optimization.use_bmuf:
            bmuf, updates = self.cfg.bmuf, self.get_num_updates() + 1
            return updates % bmuf.global_sync_iter == 0 and updates > bmuf.warmup_iterations
        return True

    def _aggregate_logging_outputs(self, logging_outputs: list[Any], *extra: Any, ignore: bool = False) -> Any:
        return self._stats.over_workers(logging_outputs, *extra, ignore=ignore)

    def _reduce_and_log_stats(self, logging_outputs: list[Any], sample_size: Any, grad_norm: Any = None) -> Any:
        return self._stats.log(logging_outputs, sample_size, grad_norm, self.cfg.optimization.clip_norm)

    # ------------------------------------------------------------------------------------------ schedule and progress
    def lr_step_begin_epoch(self, epoch: int) -> Any:
        """Let the schedule know that an epoch begins; returns the learning rate."""
        self.lr_scheduler.step_begin_epoch(epoch)
        return self.lr_step_update()

    def lr_step(self, epoch: int, val_loss: float | None = None) -> Any:
        """Let the schedule know that an epoch has ended; returns the learning rate."""
        self.lr_scheduler.step(epoch, val_loss)
        return self.lr_step_update()

    def lr_step_update(self) -> Any:
        """Set the learning rate for the next update, log it, and return it."""
        new_lr = self.lr_scheduler.step_update(self.get_num_updates())
        if isinstance(new_lr, dict):  # one rate per group of parameters
            for name, value in new_lr.items():
                metrics.log_scalar(f"lr_{name}", value, weight=0, priority=300)
            new_lr = new_lr.get("default", next(iter(new_lr.values())))
        metrics.log_scalar("lr", new_lr, weight=0, priority=300)
        return new_lr

    def get_lr(self) -> float:
        """The current learning rate."""
        return self.optimizer.get_lr()

    def get_num_updates(self) -> int:
        """Number of updates of the parameters so far."""
        return self._num_updates

    def set_num_updates(self, num_updates: int) -> None:
        """Set the number of updates; the schedule follows."""
        self._num_updates = num_updates
        self.lr_step_update()
        if self.quantizer is not None:
            self.quantizer.step_update(num_updates)
        metrics.log_scalar("num_updates", num_updates, weight=0, priority=200)

    def _restart_clock(self) -> None:
        self._start_time = time.time()

    def _local_cumulative_training_time(self) -> float:
        return time.time() - self._start_time + self._previous_training_time

    def cumulative_training_time(self) -> float:
        """Seconds spent in training, with those of the runs that this one continues; the mean over workers."""
        if self._cumulative_training_time is None:
            return self._local_cumulative_training_time()
        return self._cumulative_training_time

    # --------------------------------------------------------------------------------------------------- checkpoints
    def state_dict(self) -> dict[str, Any]:
        """What goes into a checkpoint."""
        return checkpoint_state.make_state(self)

    def consolidate_optimizer(self) -> None:
        """Collect the state of a sharded optimizer on the worker that writes it."""
        if self.cfg.checkpoint.no_save_optimizer_state:
            return
        inner: Any = getattr(self.optimizer, "optimizer", None)
        if hasattr(inner, "consolidate_state_dict"):
            inner.consolidate_state_dict()

    def save_checkpoint(self, filename: str | os.PathLike[str], extra_state: dict[str, Any]) -> None:
        """Write the state of training to a file, all tensors on the CPU and half precision as float32.

        Args:
            filename: complete, the suffix included.
            extra_state: goes into the checkpoint's ``extra_state``.

        Raises:
            CheckpointWriteError: see ``fairseq.serialization.replacing``.
        """
        self.settle()
        logger.info("Saving checkpoint to %s", os.path.abspath(filename))
        state = utils.move_to_cpu(self.state_dict())
        state["extra_state"].update(extra_state)
        if hasattr(self.task, "get_checkpoint_dict"):
            state["extra_state"][type(self.task).__name__] = self.task.get_checkpoint_dict()
        if self.should_save_checkpoint_on_current_rank:
            checkpoint_utils.torch_persistent_save(
                state, filename, async_write=self.cfg.checkpoint.write_checkpoints_asynchronously
            )
        logger.info("Finished saving checkpoint to %s", os.path.abspath(filename))

    def _save_crash_checkpoint(self) -> None:
        """Keep what led to an exception; never hides the exception by one of its own."""
        if self.cfg.checkpoint.no_save:
            return
        path = os.path.join(self.cfg.checkpoint.save_dir, "crash.pt")
        try:
            self.save_checkpoint(path, {})
        except Exception as error:
            logger.warning("%s could not be saved: %s", path, error)

    def load_checkpoint(
        self,
        filename: str | os.PathLike[str],
        reset_optimizer: bool = False,
        reset_lr_scheduler: bool = False,
        optimizer_overrides: dict[str, Any] | None = None,
        reset_meters: bool = False,
    ) -> dict[str, Any] | None:
        """Restore model, optimizer, schedule, meters and clock from a file.

        Args:
            filename: complete, the suffix included; a missing file is no error.
            reset_optimizer: take the parameters only; updates count from 0.
            reset_lr_scheduler: start the schedule's own state anew.
            optimizer_overrides: values for all parameter groups.
            reset_meters: forget training metrics.

        Returns:
            The checkpoint's ``extra_state``, or ``None`` if there is no file.

        Raises:
            Exception: the parameters do not fit.
            AssertionError: criterion or optimizer are others than those of the checkpoint.
        """
        filename = os.fspath(filename)
        logger.info("Preparing to load checkpoint %s", filename)
        state = self._read_for_all_workers(filename)
        if state is None:
            logger.info("No existing checkpoint found %s", filename)
            return None
        # Parameters are copied out of the file one by one; what is kept as it is must not depend on the file.
        mapped = MappedTensors(state, PathManager.get_local_path(filename))
        for name in state.keys() - {"model", "last_optimizer_state"}:
            state[name] = mapped.own(state[name])
        with releasing_pages(mapped), naming_file(filename):
            extra_state = checkpoint_state.restore(
                self, filename, state, reset_optimizer, reset_lr_scheduler, optimizer_overrides, reset_meters, mapped
            )
        epoch = (extra_state.get("train_iterator") or {}).get("epoch")
        logger.info("Loaded checkpoint %s (epoch %s @ %s updates)", filename, epoch, self.get_num_updates())
        return extra_state

    def _read_for_all_workers(self, filename: str) -> dict[str, Any] | None:
        """The state in a file; one worker reads and tells the others, unless each has a file of its own.

        A checkpoint in shards that this number of workers cannot take as they are is joined, whatever the workers'
        own form is.
        """
        each_reads = (
            self.data_parallel_world_size == 1
            or self.cfg.checkpoint.load_checkpoint_on_all_dp_ranks
            or (self.is_fsdp and self.cfg.distributed_training.use_sharded_state)
            or getattr(self.cfg.model, "base_layers", 0) > 0
        )
        state, problem = None, None
        if each_reads or self.data_parallel_rank == 0:
            try:
                state = self._read(filename, on_all_ranks=each_reads)
            except Exception as error:
                if each_reads:
                    raise
                problem = error  # the others wait for word: tell them before leaving
        if not each_reads:
            from fairseq.distributed import utils as distributed_utils

            message = None if problem is None else f"{type(problem).__name__}: {problem}"
            state, message = distributed_utils.broadcast_object(
                (state, message), src_rank=0, group=self.data_parallel_process_group, dist_device=self.device
            )
            if message is not None:
                raise problem or CheckpointError(message)
        return state

    def _read(self, filename: str, on_all_ranks: bool) -> dict[str, Any] | None:
        from fairseq.checkpoint_utils.shards import WORKERS, files_for, join
        from fairseq.serialization.notes import NOTES

        files = files_for(filename, self.data_parallel_world_size)
        # The caller knows how to let go of this one file.
        mmap = files == [filename]
        states = [
            checkpoint_utils.load_checkpoint_to_cpu(name, load_on_all_ranks=on_all_ranks, mmap=mmap) for name in files
        ]
        if len(states) < 2:
            return states[0] if states else None
        logger.info("joining %s shards: %s", len(files), ", ".join(files))
        notes = states[0].get(NOTES, {})
        shapes = {name: value.shape for name, value in self._model.state_dict().items()}
        trained = [p.shape for p in chain(self._model.parameters(), self._criterion.parameters()) if p.requires_grad]
        return {**join(states, files, shapes, trained), NOTES: {WORKERS: len(files), **notes}}


def _refuse_unsupported(cfg: Any) -> None:
    if cfg.common.tpu:
        raise ValueError("--tpu is not supported. Train on GPU or CPU; --bf16 works on both.")
    if cfg.distributed_training.pipeline_model_parallel:
        raise ValueError(
            "--pipeline-model-parallel is not supported; --ddp-backend fully_sharded splits a model over GPUs"
        )
    if cfg.common.model_parallel_size > 1:
        raise ValueError(
            f"--model-parallel-size {cfg.common.model_parallel_size} is not supported: there are no models split by "
            "layers' columns here; --ddp-backend fully_sharded splits a model over GPUs"
        )


def _shared_parameters(model: nn.Module) -> list[list[str]]:
    """Names of parameters that are one tensor, by tensor, in order of appearance."""
    names: dict[int, list[str]] = {}
    for module_name, module in model.named_modules(remove_duplicate=False):
        for name, parameter in module._parameters.items():
            if parameter is not None:
                full = f"{module_name}.{name}" if module_name else name
                known = names.setdefault(id(parameter), [])
                if full not in known:
                    known.append(full)
    return [found for found in names.values() if len(found) > 1]
