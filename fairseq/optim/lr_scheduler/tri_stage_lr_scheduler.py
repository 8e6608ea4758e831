"""Warm up, hold, decay exponentially (Park et al. 2019, SpecAugment, section 4.2)."""

import math
from dataclasses import dataclass
from typing import Any, List, Optional, Tuple

from fairseq.dataclass.configs import II, FairseqDataclass
from fairseq.dataclass.fields import option
from fairseq.optim.lr_scheduler import FairseqLRScheduler, register_lr_scheduler
from fairseq.optim.lr_scheduler.fairseq_lr_scheduler import NoUpdatesError, only_lr

__all__ = ["TriStageLRSchedule", "TriStageLRScheduleConfig"]


@dataclass
class TriStageLRScheduleConfig(FairseqDataclass):
    """Options of ``--lr-scheduler tri_stage``."""

    warmup_steps: int = option(0, "updates during which the rate rises linearly")
    hold_steps: int = option(0, "updates at the highest rate")
    decay_steps: int = option(0, "updates during which the rate falls")
    phase_ratio: Optional[Tuple[float, float, float]] = option(
        None, "shares of --max-update for the three stages, instead of their numbers of updates; they sum to 1"
    )
    init_lr_scale: float = option(0.01, "first rate, relative to --lr")
    final_lr_scale: float = option(0.01, "last rate, relative to --lr")
    max_update: float = II("optimization.max_update")
    lr: List[float] = II("optimization.lr")


@register_lr_scheduler("tri_stage", dataclass=TriStageLRScheduleConfig)
class TriStageLRSchedule(FairseqLRScheduler):
    """``init_lr_scale * lr`` rises to ``lr``, stays, falls to ``final_lr_scale * lr`` and stays there.

    Raises:
        AssertionError: shares without ``--max-update`` or that do not sum to 1; no stage has any update.
        ZeroDivisionError: the last stage has none.
    """

    def __init__(self, cfg: Any, optimizer: Any) -> None:
        super().__init__(cfg, optimizer)
        self.peak_lr = only_lr(cfg, "tri-stage lr")
        self.init_lr = cfg.init_lr_scale * self.peak_lr
        self.final_lr = cfg.final_lr_scale * self.peak_lr
        self.warmup_steps, self.hold_steps, self.decay_steps = self._stages(cfg)
        if self.warmup_steps + self.hold_steps + self.decay_steps <= 0:
            raise AssertionError("please specify steps or phase_ratio")
        if self.decay_steps == 0:
            raise NoUpdatesError("--lr-scheduler tri_stage needs --decay-steps of at least 1")
        self.warmup_rate = (self.peak_lr - self.init_lr) / self.warmup_steps if self.warmup_steps != 0 else 0
        self.decay_factor = -math.log(cfg.final_lr_scale) / self.decay_steps
        self.lr = self.init_lr
        self.optimizer.set_lr(self.lr)

    @staticmethod
    def _stages(cfg: Any) -> Tuple[int, int, int]:
        if cfg.phase_ratio is None:
            return cfg.warmup_steps, cfg.hold_steps, cfg.decay_steps
        if cfg.max_update <= 0:
            raise AssertionError("--phase-ratio needs --max-update")
        if sum(cfg.phase_ratio) != 1:
            raise AssertionError(f"phase ratios must add up to 1, got {list(cfg.phase_ratio)}")
        first, second, third = (int(cfg.max_update * share) for share in cfg.phase_ratio)
        return first, second, third

    def step(self, epoch: int, val_loss: Optional[float] = None) -> float:
        super().step(epoch, val_loss)
        return self.optimizer.get_lr()

    def step_update(self, num_updates: int) -> float:
        beyond_hold = num_updates - self.warmup_steps - self.hold_steps
        if num_updates < self.warmup_steps:
            self.lr = self.init_lr + self.warmup_rate * num_updates
        elif beyond_hold < 0:
            self.lr = self.peak_lr
        elif beyond_hold <= self.decay_steps:
            self.lr = self.peak_lr * math.exp(-self.decay_factor * beyond_hold)
        else:
            self.lr = self.final_lr
        self.optimizer.set_lr(self.lr)
        return self.lr
