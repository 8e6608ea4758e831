"""What can go wrong inside an update, and what is done about it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from fairseq.compat.signatures import fitting
from fairseq.compat.torch import local_part

__all__ = [
    "diagnose_non_finite",
    "gather_norms",
    "harmless_unless_finite",
    "is_out_of_memory",
    "recover_from_oom",
    "require_agreement",
    "require_finite",
]

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
    """Raise for a gradient that is NaN or infinite.

    Args:
        grad_norm: on the CPU.
    """
    if not torch.isfinite(grad_norm).all():
        raise FloatingPointError("gradients are Nan/Inf")


@contextlib.contextmanager
def harmless_unless_finite(optimizer: Any, grad_norm: torch.Tensor) -> Iterator[None]:
    """Inside the block, ``optimizer.step()`` does no harm if the gradients are not finite. Nothing waits.

    Adam then changes nothing at all; other optimizers make their update with a gradient of zero.

    Args:
        grad_norm: 0-dim, on the device of the gradients.
    """
    broken = torch.isfinite(grad_norm).logical_not()
    inner: Any = getattr(optimizer, "optimizer", None)
    if not getattr(inner, "takes_found_inf", False):
        for p in optimizer.params:
            if p.grad is not None:
                local_part(p.grad).masked_fill_(broken, 0.0)
        yield
        return
    inner.found_inf = broken.float()
    try:
        yield
    finally:
        inner.found_inf = None


def gather_norms(grad_norm: torch.Tensor, trainer: Any) -> torch.Tensor:
    """The gradient norms of all workers, ``(workers,)`` in float64; a collective call."""
    from fairseq import distributed

    norms = torch.zeros(trainer.data_parallel_world_size, dtype=torch.float64, device=grad_norm.device)
    norms[trainer.data_parallel_rank] = grad_norm.double()
    return distributed.utils.all_reduce(norms, group=trainer.data_parallel_process_group)


def require_agreement(norms: torch.Tensor) -> None:
    """Compare the gradient norms of all workers: after reduction they must be the same.

    Args:
        norms: of ``gather_norms``, on the CPU.

    Raises:
        FloatingPointError: they differ by more than 1e-6 of the first one's; the message lists all.
    """
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

    Dropout is that of the update (``trainer.get_num_updates()``). The model is left without gradients; nothing is
    updated.
    """
    from fairseq.nan_detector import NanDetector

    trainer.zero_grad()
    trainer._set_seed()
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
