"""Shrink the rate when validation stops improving."""

from dataclasses import dataclass
from typing import Any, Dict, List, Optional

import torch.optim.lr_scheduler

from fairseq.dataclass.configs import II, FairseqDataclass
from fairseq.dataclass.fields import option
from fairseq.optim.lr_scheduler import FairseqLRScheduler, register_lr_scheduler
from fairseq.optim.lr_scheduler.fairseq_lr_scheduler import only_lr

__all__ = ["ReduceLROnPlateauLRSchedule", "ReduceLROnPlateauLRScheduleConfig"]


@dataclass
class ReduceLROnPlateauLRScheduleConfig(FairseqDataclass):
    """Options of ``--lr-scheduler reduce_lr_on_plateau``."""

    lr_shrink: float = option(0.1, "factor of each reduction")
    lr_threshold: float = option(1e-4, "relative change that counts as an improvement")
    lr_patience: int = option(0, "epochs without improvement that are put up with")
    warmup_updates: int = option(0, "updates during which the rate rises linearly")
    warmup_init_lr: float = option(-1, "rate to begin with; negative for 0 with a warm-up, --lr without")
    lr: List[float] = II("optimization.lr")
    maximize_best_checkpoint_metric: bool = II("checkpoint.maximize_best_checkpoint_metric")


@register_lr_scheduler("reduce_lr_on_plateau", dataclass=ReduceLROnPlateauLRScheduleConfig)
class ReduceLROnPlateauLRSchedule(FairseqLRScheduler):
    """torch's ``ReduceLROnPlateau``, asked once per epoch after the warm-up."""

    def __init__(self, cfg: Any, optimizer: Any) -> None:
        super().__init__(cfg, optimizer)
        self.lr = only_lr(cfg, "reduce_lr_on_plateau")
        self.lr_scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.optimizer.optimizer,
            patience=cfg.lr_patience,
            factor=cfg.lr_shrink,
            mode="max" if cfg.maximize_best_checkpoint_metric else "min",
            threshold=cfg.lr_threshold,
        )
        warmup = cfg.warmup_updates
        self._init_lr = cfg.warmup_init_lr if cfg.warmup_init_lr >= 0 else (0 if warmup > 0 else self.lr)
        self.lr_step = (self.lr - self._init_lr) / warmup if warmup > 0 else 0
        self.warmup_end = warmup <= 0
        self.lr = self._init_lr
        self.optimizer.set_lr(self._init_lr)

    def state_dict(self) -> Dict[str, Any]:
        return {"best": self.lr_scheduler.best, "last_epoch": self.lr_scheduler.last_epoch}

    def load_state_dict(self, state_dict: Dict[str, Any]) -> None:
        self.lr_scheduler.best = state_dict["best"]
        if "last_epoch" in state_dict:
            self.lr_scheduler.last_epoch = state_dict["last_epoch"]

    def notes(self) -> Dict[str, Any]:
        scheduler = self.lr_scheduler
        return {"num_bad_epochs": int(scheduler.num_bad_epochs), "cooldown": int(scheduler.cooldown_counter)}

    def resume(self, notes: Dict[str, Any]) -> None:
        self.lr_scheduler.num_bad_epochs = int(notes["num_bad_epochs"])
        self.lr_scheduler.cooldown_counter = int(notes["cooldown"])

    def step(self, epoch: int, val_loss: Optional[float] = None) -> float:
        if val_loss is not None and self.warmup_end:
            self.lr_scheduler.step(val_loss)
        else:
            self.lr_scheduler.last_epoch = epoch
        return self.optimizer.get_lr()

    def step_update(self, num_updates: int) -> float:
        warmup = self.cfg.warmup_updates
        if warmup > 0:
            if num_updates <= warmup:
                self.optimizer.set_lr(self._init_lr + num_updates * self.lr_step)
            else:
                self.warmup_end = True
        return self.optimizer.get_lr()
