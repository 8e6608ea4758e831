"""The interface between the trainer and a learning-rate schedule."""

from __future__ import annotations

from typing import Any

from fairseq.optim import FairseqOptimizer

__all__ = ["FairseqLRScheduler", "LegacyFairseqLRScheduler", "NoUpdatesError", "only_lr"]


class NoUpdatesError(ZeroDivisionError):
    """A stage of a schedule that must last a while has no updates; upstream divides by their number."""


def only_lr(cfg: Any, name: str) -> float:
    """The learning rate of a schedule that takes just one.

    Raises:
        ValueError: ``--lr`` lists several (a rate per epoch is what ``fixed`` is for).
    """
    lr = cfg.lr
    if isinstance(lr, (int, float)):
        return lr
    if len(lr) > 1:
        raise ValueError(
            f"Cannot use a fixed learning rate schedule with {name}. Consider --lr-scheduler=fixed instead."
        )
    return lr[0]


class FairseqLRScheduler:
    """Set the optimizer's learning rate as training goes on.

    The trainer calls ``step_begin_epoch`` before an epoch, ``step_update`` after every update (and once with 0 at the
    start) and ``step`` after every epoch.

    Args:
        cfg: the ``lr_scheduler`` section of the configuration.
        optimizer: whose rate to set, or ``None``.

    Raises:
        ValueError: something else than a ``FairseqOptimizer``.
    """

    def __init__(self, cfg: Any, optimizer: Any) -> None:
        super().__init__()
        if optimizer is not None and not isinstance(optimizer, FairseqOptimizer):
            raise ValueError("optimizer must be an instance of FairseqOptimizer")
        self.cfg = cfg
        self.optimizer: Any = optimizer
        self.best: Any = None

    @classmethod
    def add_args(cls, parser: Any) -> None:
        """Add this schedule's options: those of its dataclass, if it has one."""
        config = getattr(cls, "__dataclass", None)
        if config is not None:
            from fairseq.dataclass.utils import gen_parser_from_dataclass

            gen_parser_from_dataclass(parser, config())

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.best = state_dict["best"]

    def notes(self) -> dict[str, Any]:
        """What a resumed run must know besides ``state_dict``, whose layout is upstream's; numbers and text only."""
        return {}

    def resume(self, notes: dict[str, Any]) -> None:
        """Restore what ``notes`` returned; called after ``load_state_dict``."""

    def step_begin_epoch(self, epoch: int) -> Any:
        """An epoch (counted from 1) begins."""

    def step(self, epoch: int, val_loss: float | None = None) -> Any:
        """An epoch ends; ``val_loss`` is the validation loss, if there was a validation."""
        if val_loss is not None:
            self.best = val_loss if self.best is None else min(self.best, val_loss)

    def step_update(self, num_updates: int) -> Any:
        """``num_updates`` updates are done; returns the learning rate of the next one."""
        return self.optimizer.get_lr()


class LegacyFairseqLRScheduler(FairseqLRScheduler):
    """Base of schedules whose options come from ``add_args``; they receive all options as ``args``."""

    def __init__(self, args: Any, optimizer: Any) -> None:
        super().__init__(None, optimizer)
        self.args = args
