"""Linear warm-up, then decay with the inverse square root of the update (Vaswani et al. 2017, section 5.3)."""

from dataclasses import dataclass
from typing import Any, List, Optional

from fairseq.dataclass.configs import II, FairseqDataclass
from fairseq.dataclass.fields import option
from fairseq.optim.lr_scheduler import FairseqLRScheduler, register_lr_scheduler
from fairseq.optim.lr_scheduler.fairseq_lr_scheduler import NoUpdatesError, only_lr

__all__ = ["InverseSquareRootLRScheduleConfig", "InverseSquareRootSchedule"]


@dataclass
class InverseSquareRootLRScheduleConfig(FairseqDataclass):
    """Options of ``--lr-scheduler inverse_sqrt``."""

    warmup_updates: int = option(4000, "updates during which the rate rises linearly")
    warmup_init_lr: float = option(-1, "rate to begin with; negative for 0")
    lr: List[float] = II("optimization.lr")


@register_lr_scheduler("inverse_sqrt", dataclass=InverseSquareRootLRScheduleConfig)
class InverseSquareRootSchedule(FairseqLRScheduler):
    """``lr`` is reached after the warm-up; then the rate is ``lr * sqrt(warmup_updates) / sqrt(num_updates)``.

    Raises:
        ZeroDivisionError: no warm-up; the decay has no scale then.
    """

    def __init__(self, cfg: Any, optimizer: Any) -> None:
        super().__init__(cfg, optimizer)
        peak = only_lr(cfg, "inverse_sqrt")
        warmup = cfg.warmup_updates
        if warmup == 0:
            raise NoUpdatesError("--lr-scheduler inverse_sqrt needs --warmup-updates of at least 1")
        self._init_lr = cfg.warmup_init_lr if cfg.warmup_init_lr >= 0 else (0 if warmup > 0 else peak)
        self.lr_step = (peak - self._init_lr) / warmup
        self.decay_factor = peak * warmup**0.5
        self.lr = self._init_lr
        self.optimizer.set_lr(self.lr)

    def step(self, epoch: int, val_loss: Optional[float] = None) -> float:
        super().step(epoch, val_loss)
        return self.optimizer.get_lr()

    def step_update(self, num_updates: int) -> float:
        if num_updates < self.cfg.warmup_updates:
            self.lr = self._init_lr + num_updates * self.lr_step
        else:
            self.lr = self.decay_factor * num_updates**-0.5
        self.optimizer.set_lr(self.lr)
        return self.lr
