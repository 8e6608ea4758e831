"""Shrink the rate every so many updates."""

from dataclasses import dataclass
from typing import Any, List, Optional

from fairseq.dataclass.configs import II, FairseqDataclass
from fairseq.dataclass.fields import option
from fairseq.optim.lr_scheduler import FairseqLRScheduler, register_lr_scheduler
from fairseq.optim.lr_scheduler.fairseq_lr_scheduler import only_lr

__all__ = ["StepLRSchedule", "StepLRScheduleConfig"]


@dataclass
class StepLRScheduleConfig(FairseqDataclass):
    """Options of ``--lr-scheduler step``."""

    warmup_updates: int = option(0, "updates during which the rate rises linearly")
    warmup_init_lr: float = option(-1, "rate to begin with; negative for --min-lr")
    lr: List[float] = option(II("optimization.lr"), "the highest rate, above --min-lr")
    min_lr: float = option(0.0, "the lowest rate")
    # Misspelt from the start; fairseq.compat.flags accepts the right word too.
    lr_deacy_period: int = option(25000, "updates between two steps")
    lr_decay: float = option(0.5, "factor of each step")


@register_lr_scheduler("step", dataclass=StepLRScheduleConfig)
class StepLRSchedule(FairseqLRScheduler):
    """``lr * lr_decay ** k`` after the k-th period, not below ``min_lr``.

    Raises:
        AssertionError: a setting out of range.
    """

    def __init__(self, cfg: Any, fairseq_optimizer: Any) -> None:
        super().__init__(cfg, fairseq_optimizer)
        self.max_lr = only_lr(cfg, "step")
        self.min_lr = cfg.min_lr
        self.lr_deacy_period = cfg.lr_deacy_period
        self.lr_decay = cfg.lr_decay
        self.warmup_updates = cfg.warmup_updates
        self.warmup_init_lr = cfg.warmup_init_lr if cfg.warmup_init_lr >= 0 else self.min_lr
        for is_right, rule in (
            (self.lr_deacy_period > 0, "--lr-deacy-period must be positive"),
            (self.lr_decay <= 1, "--lr-decay must not be above 1"),
            (self.min_lr >= 0, "--min-lr must not be negative"),
            (self.max_lr > self.min_lr, "--lr must be above --min-lr"),
        ):
            if not is_right:
                raise AssertionError(f"--lr-scheduler step: {rule}")
        rise = self.max_lr - self.warmup_init_lr
        self.warmup_lr_step = rise / self.warmup_updates if self.warmup_updates > 0 else 1
        self.lr = self.warmup_init_lr
        self.optimizer.set_lr(self.lr)

    def step(self, epoch: int, val_loss: Optional[float] = None) -> float:
        super().step(epoch, val_loss)
        return self.optimizer.get_lr()

    def step_update(self, num_updates: int) -> float:
        if num_updates < self.warmup_updates:
            self.lr = self.warmup_init_lr + num_updates * self.warmup_lr_step
        else:
            steps = (num_updates - self.warmup_updates) // self.lr_deacy_period
            self.lr = max(self.max_lr * self.lr_decay**steps, self.min_lr)
        self.optimizer.set_lr(self.lr)
        return self.lr
