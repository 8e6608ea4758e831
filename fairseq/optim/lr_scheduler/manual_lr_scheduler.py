"""Rates written down by hand."""

from __future__ import annotations

from typing import Any

from fairseq.optim.lr_scheduler import LegacyFairseqLRScheduler, register_lr_scheduler
from fairseq.utils.literals import parse_literal

__all__ = ["ManualSchedule"]


@register_lr_scheduler("manual")
class ManualSchedule(LegacyFairseqLRScheduler):
    """The rate of the greatest listed epoch (or update) that has come, e.g. ``"{'1-3': 0.1, '4,6': 0.01}"``.

    Raises:
        ValueError: a table is no dict, or a key is not of the form ``"1"``, ``"1,2"`` or ``"3-5"``.
    """

    def __init__(self, args: Any, optimizer: Any) -> None:
        super().__init__(args, optimizer)
        self.epoch2lr = self.parse_manuallr_args(args.epoch2lr)
        self.update2lr = self.parse_manuallr_args(args.update2lr)
        for table in (self.epoch2lr, self.update2lr):
            if 1 in table:
                self.lr = table[1]
                break
        else:
            self.lr = args.lr if isinstance(args.lr, (int, float)) else args.lr[0]
        self.optimizer.set_lr(self.lr)

    @staticmethod
    def add_args(parser: Any) -> None:
        add = parser.add_argument
        add("--epoch2lr", type=str, metavar="DICT", default="{}", help="rate per epoch: \"{'1-3': 0.1, '4': 0.01}\"")
        add("--update2lr", type=str, metavar="DICT", default="{}", help="rate per update, written like --epoch2lr")

    def parse_manuallr_args(self, lr_args_str: str) -> dict[int, float]:
        """A table as text -> number -> rate."""
        table = parse_literal(lr_args_str)
        if not isinstance(table, dict):
            raise ValueError(f"epoch2lr/update2lr must be a dict such as {{'1-3': 0.1}}, got {lr_args_str!r}")
        rates: dict[int, float] = {}
        for key, rate in table.items():
            for number in self._numbers(str(key)):
                rates[number] = rate
        return rates

    @staticmethod
    def _numbers(key: str) -> list[int]:
        try:
            if "," in key:
                return [int(part) for part in key.split(",")]
            if "-" in key:
                first, last = key.split("-")
                return list(range(int(first), int(last) + 1))
            return [int(key)]
        except ValueError:
            raise ValueError(f"epoch2lr/update2lr: {key!r} is not of the form '1', '1,2' or '3-5'") from None

    def state_dict(self) -> dict[str, Any]:
        return {"lr": self.lr}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if "lr" in state_dict:
            self.lr = state_dict["lr"]

    def _listed(self, table: dict[int, float], number: int) -> float:
        reached = [key for key in table if key <= number]
        return table[max(reached)] if reached else self.optimizer.get_lr()

    def get_next_lr(self, epoch: int) -> float:
        """The rate of an epoch."""
        return self._listed(self.epoch2lr, epoch)

    def step_begin_epoch(self, epoch: int) -> float:
        self.lr = self.get_next_lr(epoch)
        self.optimizer.set_lr(self.lr)
        return self.optimizer.get_lr()

    def step_update(self, num_updates: int) -> float:
        rate = self._listed(self.update2lr, num_updates)
        self.optimizer.set_lr(rate)
        return rate
