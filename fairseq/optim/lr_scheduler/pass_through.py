"""Leave the schedule to the optimizer (``composite`` has one per group)."""

from dataclasses import dataclass
from typing import Any, Dict

from fairseq.dataclass.configs import FairseqDataclass
from fairseq.optim.lr_scheduler import FairseqLRScheduler, register_lr_scheduler

__all__ = ["PassThroughScheduleConfig", "PassThroughScheduleSchedule"]


@dataclass
class PassThroughScheduleConfig(FairseqDataclass):
    """``--lr-scheduler pass_through`` has no options."""


@register_lr_scheduler("pass_through", dataclass=PassThroughScheduleConfig)
class PassThroughScheduleSchedule(FairseqLRScheduler):
    """Forward every call to ``optimizer.lr_scheduler``.

    Raises:
        AssertionError: the optimizer has none.
    """

    def __init__(self, cfg: Any, optimizer: Any) -> None:
        super().__init__(cfg, optimizer)
        if getattr(optimizer, "lr_scheduler", None) is None:
            raise AssertionError("Pass-through schedule can only be used with optimizers with their own schedulers")

    def state_dict(self) -> Dict[str, Any]:
        return self.optimizer.lr_scheduler.state_dict()

    def load_state_dict(self, state_dict: Dict[str, Any]) -> None:
        self.optimizer.lr_scheduler.load_state_dict(state_dict)

    def notes(self) -> Dict[str, Any]:
        return self.optimizer.lr_scheduler.notes()

    def resume(self, notes: Dict[str, Any]) -> None:
        self.optimizer.lr_scheduler.resume(notes)

    def step_begin_epoch(self, epoch: int) -> Any:
        return self.optimizer.lr_scheduler.step_begin_epoch(epoch)

    def step_update(self, num_updates: int) -> Any:
        return self.optimizer.lr_scheduler.step_update(num_updates)
