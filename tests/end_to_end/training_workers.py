"""What the workers of the parallel training tests do. Importable: each is a process started afresh."""

from __future__ import annotations

import os
from typing import Any

import torch
import toy_training
from toy_training import config

# No dropout: its pattern depends on which worker draws. Clipping makes the norm matter.
FIXED = ("--dropout", 0, "--clip-norm", 0.5, "--max-epoch", 2)
BACKENDS = {
    "ddp": ("--ddp-backend", "c10d"),
    "legacy": ("--ddp-backend", "no_c10d"),
    "sharded": ("--ddp-backend", "fully_sharded"),
    "in shards": ("--ddp-backend", "fully_sharded", "--use-sharded-state"),
}


def whole(value: Any) -> torch.Tensor:
    """A copy, of all rows where workers hold some each."""
    return (value.full_tensor() if hasattr(value, "full_tensor") else value).detach().clone()


def follow(seen: list[dict[str, Any]]) -> Any:
    """Note what each update gave; returns the method that was replaced."""
    from fairseq.trainer import Trainer

    real = Trainer.train_step

    def noting(self: Any, samples: Any, raise_oom: bool = False) -> Any:
        output = real(self, samples, raise_oom)
        state = {key: whole(value) for key, value in self.get_model().state_dict().items()}
        weights = torch.cat([state[key].double().flatten() for key in sorted(state)])
        gnorm = float(self.optimizer.clip_grad_norm(0))
        seen.append({"loss": float(output["loss"]), "gnorm": gnorm, "weights": weights})
        return output

    Trainer.train_step = noting  # type: ignore[method-assign]
    return real


def followed(cfg: Any) -> list[dict[str, Any]]:
    """Train, and return what each update gave."""
    from fairseq.trainer import Trainer
    from fairseq.training_loop import main

    seen: list[dict[str, Any]] = []
    real = follow(seen)
    try:
        main(cfg)
    finally:
        Trainer.train_step = real  # type: ignore[method-assign]
    return seen


def parallel(cfg: Any, data: str, folder: str, runs: dict[str, list[Any]], workers: int) -> None:
    """Run after run in the same processes; rank 0 writes what it saw."""
    rank = torch.distributed.get_rank()
    torch.set_num_threads(1)
    for name, words in runs.items():
        own = config(data, os.path.join(folder, name.replace(" ", "_")), *words)
        own.distributed_training.distributed_world_size = workers
        own.distributed_training.distributed_rank = rank
        seen = followed(own)
        if rank == 0:
            torch.save(seen, os.path.join(folder, f"{name}.{workers}.seen"))


def start(workers: int, data: str, folder: Any, runs: dict[str, list[Any]]) -> dict[str, list[dict[str, Any]]]:
    """Run ``runs`` in new processes and return what their rank 0 saw."""
    from fairseq.distributed import utils

    cfg = config(data, folder, "--distributed-world-size", workers)
    utils.call_main(cfg, parallel, data=data, folder=str(folder), runs=runs, workers=workers)
    return {name: torch.load(os.path.join(folder, f"{name}.{workers}.seen")) for name in runs}


__all__ = ["BACKENDS", "FIXED", "followed", "parallel", "start", "toy_training"]
