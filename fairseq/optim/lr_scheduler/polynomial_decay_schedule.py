"""Linear warm-up, then decay to a final rate along a power of the remaining updates."""

from dataclasses import dataclass
from typing import Any, Dict, List, Optional

from fairseq.dataclass.configs import II, FairseqDataclass
from fairseq.dataclass.fields import option
from fairseq.optim.lr_scheduler import FairseqLRScheduler, register_lr_scheduler

__all__ = ["PolynomialDecayLRSchedule", "PolynomialDecayLRScheduleConfig"]


@dataclass
class PolynomialDecayLRScheduleConfig(FairseqDataclass):
    """Options of ``--lr-scheduler polynomial_decay``."""

    warmup_updates: int = option(0, "updates during which the rate rises linearly")
    force_anneal: Optional[int] = option(None, "from this epoch on, keep the rate that the epoch began with")
    end_learning_rate: float = option(0.0, "the final rate")
    power: float = option(1.0, "exponent of the decay; 1 is a straight line")
    total_num_update: float = option(II("optimization.max_update"), "update at which the final rate is reached")
    lr: List[float] = II("optimization.lr")


@register_lr_scheduler("polynomial_decay", dataclass=PolynomialDecayLRScheduleConfig)
class PolynomialDecayLRSchedule(FairseqLRScheduler):
    """From the epoch's rate to ``end_learning_rate`` at update ``total_num_update`` (default: ``--max-update``).

    Raises:
        AssertionError: neither gives a positive number of updates.
    """

    def __init__(self, cfg: Any, optimizer: Any) -> None:
        super().__init__(cfg, optimizer)
        total = cfg.total_num_update
        if total is None or float(total) <= 0:
            raise AssertionError("--lr-scheduler polynomial_decay needs --total-num-update or --max-update")
        self._rates: List[float] = [cfg.lr] if isinstance(cfg.lr, (int, float)) else list(cfg.lr)
        self.lr = self._rates[0]
        self._epoch = 0  # whose rate ``lr`` is
        self.warmup_factor = 1.0 / cfg.warmup_updates if cfg.warmup_updates > 0 else 1.0
        self.end_learning_rate = cfg.end_learning_rate
        self.total_num_update = float(total)
        self.power = cfg.power
        self.optimizer.set_lr(self.warmup_factor * self.lr)

    def notes(self) -> Dict[str, Any]:
        return {"lr": float(self.lr), "epoch": self._epoch}

    def resume(self, notes: Dict[str, Any]) -> None:
        self.lr, self._epoch = float(notes["lr"]), int(notes["epoch"])

    def get_next_lr(self, epoch: int) -> float:
        """The rate that an epoch's decay starts from."""
        anneal = self.cfg.force_anneal
        if anneal is None or epoch < anneal:
            return self._rates[min(epoch, len(self._rates) - 1)]
        return self.optimizer.get_lr()

    def step_begin_epoch(self, epoch: int) -> float:
        # An epoch that was interrupted begins a second time, with the rate that it began with.
        if epoch != self._epoch or self.cfg.force_anneal is None:
            self.lr = self.get_next_lr(epoch)
            self._epoch = epoch
        self.optimizer.set_lr(self.warmup_factor * self.lr)
        return self.optimizer.get_lr()

    def step_update(self, num_updates: int) -> float:
        warmup = self.cfg.warmup_updates
        if 0 < warmup and num_updates <= warmup:
            self.warmup_factor = num_updates / warmup
            rate = self.warmup_factor * self.lr
        elif num_updates >= self.total_num_update:
            rate = self.end_learning_rate
        else:
            remaining = 1 - (num_updates - warmup) / (self.total_num_update - warmup)
            rate = (self.lr - self.end_learning_rate) * remaining**self.power + self.end_learning_rate
        self.optimizer.set_lr(rate)
        return self.optimizer.get_lr()
