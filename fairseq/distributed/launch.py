"""How processes come to be, and how they end.

Who decides, in this order: ``--distributed-init-method`` on the command line; torchrun's variables (``MASTER_ADDR``,
``MASTER_PORT``, ``WORLD_SIZE``, ``RANK``); SLURM's variables; else ``--distributed-world-size``, whose processes are
started here, on this machine. One process needs none of this.
"""

from __future__ import annotations

import logging
import os
import random
import re
import socket
from argparse import Namespace
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from fairseq.distributed import groups

__all__ = [
    "call_main",
    "distributed_init",
    "distributed_main",
    "first_host",
    "infer_init_method",
    "is_master",
]

logger = logging.getLogger(__name__)

TORCHRUN_VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK")


def is_master(cfg: Any) -> bool:
    """Whether this process saves checkpoints and writes logs.

    Args:
        cfg: the ``distributed_training`` section.
    """
    return cfg.distributed_rank == 0


# ------------------------------------------------------------------------------------------------------ who takes part
def infer_init_method(cfg: Any, force_distributed: bool = False) -> None:
    """Fill in where processes meet, how many there are and which one this is, unless the user said so.

    Args:
        cfg: the ``distributed_training`` section; changed in place.
        force_distributed: form a process group even for a single process.

    Raises:
        AssertionError: more processes than GPUs.
        ValueError: SLURM's variables contradict each other.
    """
    if cfg.distributed_init_method is not None or getattr(cfg, "tpu", False):
        return
    if all(name in os.environ for name in TORCHRUN_VARIABLES):
        if int(os.environ["WORLD_SIZE"]) > 1 or cfg.distributed_world_size > 1 or force_distributed:
            _from_torchrun(cfg)
    elif cfg.distributed_world_size <= 1 and not force_distributed and _slurm_tasks() <= 1:
        return
    elif _slurm_nodes() is not None and (cfg.distributed_port > 0 or _slurm_tasks() > 1):
        _from_slurm(cfg)
    else:
        _on_this_machine(cfg)


def _from_torchrun(cfg: Any) -> None:
    cfg.distributed_init_method = "env://"
    cfg.distributed_world_size = int(os.environ["WORLD_SIZE"])
    cfg.distributed_rank = int(os.environ["RANK"])
    local = os.environ.get("LOCAL_RANK")
    cfg.device_id = int(local) if local is not None else cfg.distributed_rank % max(1, torch.cuda.device_count())
    cfg.distributed_no_spawn = True


def _slurm_nodes() -> str | None:
    return os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_JOB_NODELIST")


def _slurm_tasks() -> int:
    """Tasks of this job step; 1 outside of SLURM, and in a shell that SLURM gave to a user."""
    if _slurm_nodes() is None or os.environ.get("SLURM_STEP_NUM_TASKS", "") == "1":
        return 1
    return int(os.environ.get("SLURM_NTASKS", "1")) if "SLURM_PROCID" in os.environ else 1


def first_host(node_list: str) -> str:
    """The first name in SLURM's compressed form: ``"gpu[03-05,9],login1"`` -> ``"gpu03"``."""
    match = re.match(r"([^\[,]+)(?:\[(\d+)[^\]]*\]([^,]*))?", node_list.strip())
    if match is None:
        raise ValueError(f"cannot read the SLURM node list {node_list!r}")
    return "".join(part for part in match.groups() if part)


def _from_slurm(cfg: Any) -> None:
    nodes = int(os.environ.get("SLURM_NNODES", "1"))
    tasks = _slurm_tasks()
    per_node = os.environ.get("SLURM_NTASKS_PER_NODE", "").partition("(")[0]
    tasks_per_node = int(per_node) if per_node else tasks // nodes
    if not per_node and tasks % nodes != 0:
        raise ValueError(f"SLURM runs {tasks} tasks on {nodes} nodes; the number per node must be the same on all")
    cfg.distributed_init_method = f"tcp://{first_host(_slurm_nodes() or '')}:{_port(cfg)}"
    if tasks_per_node == 1:
        # One task per node: it starts one process per GPU.
        gpus = max(1, torch.cuda.device_count())
        cfg.distributed_rank = int(os.environ.get("SLURM_NODEID", "0")) * gpus
        cfg.distributed_world_size = nodes * gpus
        cfg.distributed_num_procs = gpus
        return
    cfg.distributed_world_size = nodes * tasks_per_node
    cfg.distributed_rank = int(os.environ["SLURM_PROCID"])
    cfg.device_id = int(os.environ.get("SLURM_LOCALID", "0"))
    cfg.distributed_no_spawn = True


def _port(cfg: Any) -> int:
    """The given port; else one that all tasks of a SLURM job agree on; else a free one."""
    if cfg.distributed_port > 0:
        return cfg.distributed_port
    job = os.environ.get("SLURM_JOB_ID")
    if job is not None:
        return random.Random(f"port of job {job}").randint(10000, 60000)
    while True:
        candidate = random.SystemRandom().randint(10000, 60000)
        with socket.socket() as probe:
            if probe.connect_ex(("localhost", candidate)) != 0:
                return candidate


def _on_this_machine(cfg: Any) -> None:
    wanted, available = cfg.distributed_world_size, torch.cuda.device_count()
    if available > 0 and cfg.distributed_backend != "gloo" and wanted > available:
        raise AssertionError(f"world size is {wanted} but have {available} available devices")
    cfg.distributed_init_method = f"tcp://localhost:{_port(cfg)}"
    cfg.distributed_num_procs = wanted


# ------------------------------------------------------------------------------------------------------------- joining
def distributed_init(cfg: Any) -> int:
    """Join the process group that the configuration describes; returns this process's rank.

    Only rank 0 keeps its log level, the others log warnings. Groups for models that are spread over several processes
    are formed too.

    Args:
        cfg: the whole configuration (or a flat namespace).
    """
    if isinstance(cfg, Namespace):
        from fairseq.dataclass.utils import convert_namespace_to_omegaconf

        cfg = convert_namespace_to_omegaconf(cfg)
    section = cfg.distributed_training
    if getattr(cfg.common, "tpu", False):
        from fairseq.utils.devices import NO_TPU

        raise RuntimeError(NO_TPU)
    if dist.is_initialized():
        logger.warning("Distributed is already initialized, cannot initialize twice!")
    else:
        _join(cfg)
    section.distributed_rank = dist.get_rank()
    if not is_master(section):
        logging.getLogger().setLevel(logging.WARNING)
    if cfg.common.model_parallel_size > 1:
        groups.form_model_parallel_groups(cfg.common.model_parallel_size)
    return section.distributed_rank


def _join(cfg: Any) -> None:
    section = cfg.distributed_training
    on_cpu = cfg.common.cpu or not torch.cuda.is_available()
    backend = "gloo" if on_cpu and section.distributed_backend == "nccl" else section.distributed_backend
    settings: dict[str, Any] = {}
    if section.heartbeat_timeout > 0:
        settings["timeout"] = timedelta(seconds=section.heartbeat_timeout)
    logger.info("distributed init (rank %d): %s", section.distributed_rank, section.distributed_init_method)
    dist.init_process_group(
        backend=backend,
        init_method=section.distributed_init_method,
        world_size=section.distributed_world_size,
        rank=section.distributed_rank,
        **settings,
    )
    logger.info("initialized host %s as rank %d", socket.gethostname(), section.distributed_rank)
    # The first collective call builds the connections: let trouble with them show here.
    dist.all_reduce(torch.zeros(1, device=groups.device_of(None)))


def distributed_main(i: int, main: Callable[..., Any], cfg: Any, kwargs: dict[str, Any]) -> None:
    """The life of one worker: take a device, join, run ``main``, wait for the others, leave.

    Args:
        i: number of the process on this machine.
        main: called as ``main(cfg, **kwargs)``.
        kwargs: ``start_rank`` (rank of this machine's first process) and ``after_distributed_init_fn`` (from cfg to
            cfg) are taken out.

    Raises:
        ConnectionError: another worker is gone.
    """
    section = cfg.distributed_training
    section.device_id = i
    if torch.cuda.is_available() and not cfg.common.cpu:
        torch.cuda.set_device(section.device_id)
    start_rank = kwargs.pop("start_rank", 0)
    if section.distributed_rank is None:
        section.distributed_rank = start_rank + i
    section.distributed_rank = distributed_init(cfg)
    after_init = kwargs.pop("after_distributed_init_fn", None)
    if after_init is not None:
        cfg = after_init(cfg)
    try:
        main(cfg, **kwargs)
        dist.barrier()
    except RuntimeError as error:
        if not _is_about_connections(error):
            raise
        raise ConnectionError(
            f"rank {section.distributed_rank} lost contact with another worker, which has stopped or hangs "
            f"({_first_line(error)}). The worker that failed first has the cause in its log."
        ) from error
    finally:
        if dist.is_initialized():
            groups.forget_groups()
            dist.destroy_process_group()


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]


def _is_about_connections(error: BaseException) -> bool:
    """Whether a collective call failed because a peer is gone; torch has a class of its own for NCCL only."""
    text = str(error)
    if isinstance(error, getattr(dist, "DistError", ())):
        return True
    return any(hint in text for hint in ("Connection closed by peer", "Connection reset by peer", "gloo/transport"))


def call_main(cfg: Any, main: Callable[..., Any], **kwargs: Any) -> None:
    """Run ``main(cfg, **kwargs)`` in as many processes as the configuration asks for.

    Args:
        cfg: the whole configuration (or a flat namespace).
        main: a function that can be imported, as other processes must find it.

    Raises:
        ChildProcessError: a process that was started here failed; the others have been stopped.
    """
    if isinstance(cfg, Namespace):
        from fairseq.dataclass.utils import convert_namespace_to_omegaconf

        cfg = convert_namespace_to_omegaconf(cfg)
    from fairseq.dataclass.lenient import complete

    complete(cfg)
    if getattr(cfg.common, "tpu", False):
        from fairseq.utils.devices import NO_TPU

        raise RuntimeError(NO_TPU)
    section = cfg.distributed_training
    if section.distributed_init_method is None:
        infer_init_method(section)
    if section.distributed_init_method is None:
        main(cfg, **kwargs)
    elif section.distributed_no_spawn:
        distributed_main(section.device_id, main, cfg, kwargs)
    else:
        from fairseq.distributed.spawn import run_processes

        kwargs["start_rank"] = section.distributed_rank or 0
        section.distributed_rank = None
        count = section.distributed_num_procs or section.distributed_world_size
        run_processes(distributed_main, (main, cfg, kwargs), min(count, section.distributed_world_size))
