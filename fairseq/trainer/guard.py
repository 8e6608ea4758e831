"""What can go wrong inside an update, and what is done about it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch

from fairseq.compat.signatures import fitting

__all__ = ["check_agreement", "diagnose_non_finite", "is_out_of_memory", "recover_from_oom", "require_finite"]

logger = logging.getLogger("fairseq.trainer")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that the device has no memory left."""
    return "out of memory" in str(error)


def recover_from_oom(error: BaseException, trainer: Any, what: str) -> None:
    """Log where the memory went, drop all gradients, and give cached memory back."""
    logger.warning("Exception: %s", error)
    if torch.cuda.is_available() and trainer.cuda:
        for index in range(torch.cuda.device_count()):
            logger.warning("%s", torch.cuda.memory_summary(device=index))
    logger.warning("attempting to recover from OOM in %s pass", what)
    trainer.zero_grad()
    if trainer.cuda:
        torch.cuda.empty_cache()


def require_finite(grad_norm: torch.Tensor) -> None:
    """Raise for a gradient that is NaN or infinite. Waits for the device."""
    if not torch.isfinite(grad_norm).all():
        raise FloatingPointError("gradients are Nan/Inf")


def check_agreement(grad_norm: torch.Tensor, trainer: Any) -> None:
    """Compare the gradient norm of all workers: after reduction they must be the same.

    Raises:
        FloatingPointError: they differ by more than 1e-6 of the first one's; the message lists all.
    """
    from fairseq import distributed

    world, rank = trainer.data_parallel_world_size, trainer.data_parallel_rank
    norms = torch.zeros(world, dtype=torch.float64, device=grad_norm.device)
    norms[rank] = grad_norm.double()
    distributed.utils.all_reduce(norms, group=trainer.data_parallel_process_group)
    if bool((norms == norms[0]).all()) or not bool(torch.isfinite(norms).all()):
        return  # non-finite norms have their own error
    if float((norms - norms[0]).abs().max() / (norms[0] + 1e-6)) < 1e-6:
        return
    table = "\n".join(f"rank {index:3d} = {norm:.8f}" for index, norm in enumerate(norms.tolist()))
    raise FloatingPointError(
        "Fatal error: gradients are inconsistent between workers. Try --ddp-backend=legacy_ddp. Or are you mixing up "
        f"different generation of GPUs in training?\n{'-' * 80}\ngrad_norm across the workers:\n{table}\n{'-' * 80}"
    )


def diagnose_non_finite(trainer: Any, samples: Sequence[Any]) -> None:
    """Repeat the forward and backward passes of an update with hooks that name the module where numbers broke.

    The model is left without gradients; nothing is updated.
    """
    from fairseq.nan_detector import NanDetector

    trainer.zero_grad()
    with NanDetector(trainer.get_model()):
        for sample in samples:
            sample, _ = trainer._prepare_sample(sample)
            train_step = trainer.task.train_step
            train_step(
                sample=sample,
                model=trainer.model,
                criterion=trainer.criterion,
                optimizer=trainer.optimizer,
                ignore_grad=False,
                **fitting(train_step, update_num=trainer.get_num_updates(), **trainer._extra_step_arguments()),
            )
