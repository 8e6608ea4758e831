"""Up and down between two rates (Smith 2017, cyclical learning rates)."""

import math
from dataclasses import dataclass
from typing import Any, List, Optional

from fairseq.dataclass.configs import II, MISSING, FairseqDataclass
from fairseq.dataclass.fields import option
from fairseq.optim.lr_scheduler import FairseqLRScheduler, register_lr_scheduler
from fairseq.optim.lr_scheduler.fairseq_lr_scheduler import only_lr

__all__ = ["TriangularLRSchedule", "TriangularLRScheduleConfig"]


@dataclass
class TriangularLRScheduleConfig(FairseqDataclass):
    """Options of ``--lr-scheduler triangular``."""

    max_lr: float = option(MISSING, "the highest rate, above --lr")
    lr_period_updates: float = option(5000, "updates from one low to the next")
    lr_shrink: float = option(0.1, "the highest rate shrinks by this factor with every cycle")
    shrink_min: bool = option(False, "the lowest rate (--lr) shrinks too")
    lr: List[float] = II("optimization.lr")


@register_lr_scheduler("triangular", dataclass=TriangularLRScheduleConfig)
class TriangularLRSchedule(FairseqLRScheduler):
    """Straight lines between ``lr`` and ``max_lr``.

    Raises:
        AssertionError: ``max_lr`` is not above ``lr``.
    """

    def __init__(self, cfg: Any, optimizer: Any) -> None:
        super().__init__(cfg, optimizer)
        lr = only_lr(cfg, "triangular")
        if cfg.max_lr <= lr:
            raise AssertionError(f"max_lr must be more than lr, got --max-lr {cfg.max_lr} and --lr {lr}")
        self.min_lr = lr
        self.max_lr = cfg.max_lr
        self.stepsize = cfg.lr_period_updates // 2
        self.lr_shrink = cfg.lr_shrink
        self.shrink_min = cfg.shrink_min
        self.lr = self.min_lr
        self.optimizer.set_lr(self.lr)

    def step(self, epoch: int, val_loss: Optional[float] = None) -> float:
        super().step(epoch, val_loss)
        return self.optimizer.get_lr()

    def step_update(self, num_updates: int) -> float:
        cycle = math.floor(num_updates / (2 * self.stepsize))
        shrunk = self.lr_shrink**cycle
        low = self.min_lr * shrunk if self.shrink_min else self.min_lr
        distance = abs(num_updates / self.stepsize - 2 * (cycle + 1) + 1)
        self.lr = low + (self.max_lr * shrunk - low) * max(0, 1 - distance)
        self.optimizer.set_lr(self.lr)
        return self.lr
