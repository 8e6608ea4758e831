"""Cosine decay with warm restarts (Loshchilov & Hutter 2017, SGDR)."""

import math
from dataclasses import dataclass
from typing import Any, List, Optional, Tuple

from fairseq.dataclass.configs import II, FairseqDataclass
from fairseq.dataclass.fields import option
from fairseq.optim.lr_scheduler import FairseqLRScheduler, register_lr_scheduler
from fairseq.optim.lr_scheduler.fairseq_lr_scheduler import only_lr

__all__ = ["CosineLRSchedule", "CosineLRScheduleConfig"]


@dataclass
class CosineLRScheduleConfig(FairseqDataclass):
    """Options of ``--lr-scheduler cosine``."""

    warmup_updates: int = option(0, "updates during which the rate rises linearly")
    warmup_init_lr: float = option(-1, "rate to begin with; negative for --min-lr")
    lr: List[float] = option(II("optimization.lr"), "the highest rate, above --min-lr")
    min_lr: float = option(0.0, "the lowest rate")
    t_mult: float = option(1.0, "each period is this many times as long as the one before")
    lr_period_updates: float = option(-1, "updates of the first period; negative for all up to --max-update")
    lr_shrink: float = option(0.1, "both bounds shrink by this factor at a restart")
    max_update: int = II("optimization.max_update")


@register_lr_scheduler("cosine", dataclass=CosineLRScheduleConfig)
class CosineLRSchedule(FairseqLRScheduler):
    """Half a cosine per period, from ``lr`` to ``min_lr``.

    Raises:
        AssertionError: the length of a period is not known.
    """

    def __init__(self, cfg: Any, fairseq_optimizer: Any) -> None:
        super().__init__(cfg, fairseq_optimizer)
        self.max_lr = only_lr(cfg, "cosine")
        self._min_lr = min(cfg.min_lr, self.max_lr)
        self._init_lr = cfg.warmup_init_lr if cfg.warmup_init_lr >= 0 else self._min_lr
        self.t_mult = cfg.t_mult
        self.warmup_updates = cfg.warmup_updates
        self.lr_shrink = cfg.lr_shrink
        self.period = cfg.lr_period_updates
        if self.period <= 0:
            if cfg.max_update <= 0:
                raise AssertionError("Either --max_update or --lr-period-updates must be set")
            self.period = cfg.max_update - self.warmup_updates
        self.lr_step = (self.max_lr - self._init_lr) / self.warmup_updates if self.warmup_updates > 0 else 1
        self.lr = self._init_lr
        self.optimizer.set_lr(self.lr)

    def step(self, epoch: int, val_loss: Optional[float] = None) -> float:
        super().step(epoch, val_loss)
        return self.optimizer.get_lr()

    def _period_at(self, count: int) -> Tuple[int, float, float]:
        """Number of the period, its length, and how far it is, after ``count`` updates beyond the warm-up."""
        if self.t_mult == 1:
            index = math.floor(count / self.period)
            return index, self.period, count - self.period * index
        index = math.floor(math.log(1 - count / self.period * (1 - self.t_mult), self.t_mult))
        length = self.t_mult**index * self.period
        return index, length, count - (1 - self.t_mult**index) / (1 - self.t_mult) * self.period

    def step_update(self, num_updates: int) -> float:
        if num_updates < self.warmup_updates:
            self.lr = self._init_lr + num_updates * self.lr_step
        else:
            index, length, done = self._period_at(num_updates - self.warmup_updates)
            low, high = (bound * self.lr_shrink**index for bound in (self._min_lr, self.max_lr))
            self.lr = low + 0.5 * (high - low) * (1 + math.cos(math.pi * done / length))
        self.optimizer.set_lr(self.lr)
        return self.lr
