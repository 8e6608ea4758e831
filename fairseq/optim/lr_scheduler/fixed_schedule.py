"""A given rate per epoch, shrunk after a while."""

from dataclasses import dataclass
from typing import Any, Dict, List, Optional

from fairseq.dataclass.configs import II, FairseqDataclass
from fairseq.dataclass.fields import option
from fairseq.optim.lr_scheduler import FairseqLRScheduler, register_lr_scheduler

__all__ = ["FixedLRSchedule", "FixedLRScheduleConfig"]


@dataclass
class FixedLRScheduleConfig(FairseqDataclass):
    """Options of ``--lr-scheduler fixed``."""

    force_anneal: Optional[int] = option(None, "from this epoch on, shrink the rate at every epoch")
    lr_shrink: float = option(0.1, "factor of that shrinking")
    warmup_updates: int = option(0, "updates during which the rate rises linearly")
    lr: List[float] = II("optimization.lr")


@register_lr_scheduler("fixed", dataclass=FixedLRScheduleConfig)
class FixedLRSchedule(FairseqLRScheduler):
    """Epoch ``e`` has ``lr[e - 1]`` (the last one repeats); from ``force_anneal`` on, the last one shrinks."""

    def __init__(self, cfg: Any, optimizer: Any) -> None:
        super().__init__(cfg, optimizer)
        self.lr = self._rates()[0]
        warmup = cfg.warmup_updates or 0
        self.warmup_factor = 1.0 / warmup if warmup > 0 else 1.0

    def _rates(self) -> List[float]:
        lr = self.cfg.lr
        return [lr] if isinstance(lr, (int, float)) else list(lr)

    def state_dict(self) -> Dict[str, Any]:
        return {"lr": self.lr}

    def load_state_dict(self, state_dict: Dict[str, Any]) -> None:
        if "lr" in state_dict:
            self.lr = state_dict["lr"]

    def get_next_lr(self, epoch: int) -> float:
        """The rate of an epoch, warm-up aside."""
        rates = self._rates()
        anneal = self.cfg.force_anneal
        if anneal is None or epoch < anneal:
            return rates[min(epoch - 1, len(rates) - 1)]
        return rates[-1] * self.cfg.lr_shrink ** (epoch + 1 - anneal)

    def step_begin_epoch(self, epoch: int) -> float:
        self.lr = self.get_next_lr(epoch)
        self.optimizer.set_lr(self.warmup_factor * self.lr)
        return self.optimizer.get_lr()

    def step_update(self, num_updates: int) -> float:
        warmup = self.cfg.warmup_updates or 0
        if num_updates < warmup:
            self.warmup_factor = (num_updates + 1) / warmup
            self.optimizer.set_lr(self.warmup_factor * self.lr)
        else:
            self.optimizer.set_lr(self.lr)
        return self.optimizer.get_lr()
