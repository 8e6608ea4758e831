"""Running sums, averages and clocks.

A meter never waits for a device: CUDA values are added up where they are and become Python numbers when a smoothed
value is asked for. Values on the CPU, where nothing waits, become Python numbers at once.

``state_dict`` of each meter is part of the checkpoint format.
"""

from __future__ import annotations

import bisect
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Optional

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "AverageMeter",
    "ConcatTensorMeter",
    "Meter",
    "MetersDict",
    "StopwatchMeter",
    "SumMeter",
    "TimeMeter",
    "safe_round",
    "type_as",
]

logger = logging.getLogger(__name__)


def type_as(a: Any, b: Any) -> Any:
    """``a`` as a tensor like ``b`` (same device) when both are tensors; otherwise ``a`` itself."""
    return a.to(b.device) if isinstance(a, Tensor) and isinstance(b, Tensor) else a


def safe_round(number: Any, ndigits: int) -> Any:
    """Round anything that holds one number (Python, numpy or torch; a CUDA tensor waits); else return it unchanged."""
    if isinstance(number, (Tensor, np.ndarray)):
        return safe_round(number.item(), ndigits) if _size(number) == 1 else number
    if hasattr(number, "__round__"):
        return round(number, ndigits)
    return number


def _size(value: Tensor | np.ndarray) -> int:
    return value.numel() if isinstance(value, Tensor) else value.size


def _settle(value: Any) -> Any:
    """What a meter keeps of a logged value: a Python number, or a detached tensor on an accelerator."""
    if isinstance(value, Tensor):
        value = value.detach()
        if value.device.type == "cpu" and value.numel() == 1:
            return value.item()
        # Half precision stops counting at 2048.
        return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value
    return value.item() if isinstance(value, np.generic) else value


class Meter:
    """What all meters can do."""

    def __init__(self) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""

    def reset(self) -> None:
        """Start anew."""
        raise NotImplementedError

    @property
    def smoothed_value(self) -> Any:
        """The number to show, rounded."""
        raise NotImplementedError

    def _rounded(self, value: Any) -> Any:
        digits = getattr(self, "round", None)
        return value if digits is None or value is None else safe_round(value, digits)


class AverageMeter(Meter):
    """Weighted mean of the values given to ``update``; before any weight, the latest value.

    Args:
        round: digits of the smoothed value; ``None`` for all.
    """

    def __init__(self, round: Optional[int] = None) -> None:
        self.round = round
        self.reset()

    def reset(self) -> None:
        self.val: Any = None
        self.sum: Any = 0
        self.count: Any = 0

    def update(self, val: Any, n: Any = 1) -> None:
        """Add ``val`` with weight ``n``; a weight of 0 only sets the latest value, ``val=None`` does nothing."""
        if val is None:
            return
        val, n = _settle(val), _settle(n)
        self.val = val
        if isinstance(n, Tensor):
            # Asking whether n > 0 would wait for the device; an undefined mean of nothing must not spoil the sum.
            weighted = torch.where(n > 0, val * n, torch.zeros_like(n))
        elif n > 0:
            weighted = val * n
        else:
            return
        self.sum = type_as(self.sum, weighted) + weighted
        self.count = type_as(self.count, n) + n

    @property
    def avg(self) -> Any:
        return self.sum / self.count if self.count > 0 else self.val

    @property
    def smoothed_value(self) -> Any:
        return self._rounded(self.avg)

    def state_dict(self) -> dict[str, Any]:
        return {"val": self.val, "sum": self.sum, "count": self.count, "round": self.round}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.val = state_dict["val"]
        self.sum = state_dict["sum"]
        self.count = state_dict["count"]
        self.round = state_dict.get("round")


class SumMeter(Meter):
    """Sum of the values given to ``update``."""

    def __init__(self, round: Optional[int] = None) -> None:
        self.round = round
        self.reset()

    def reset(self) -> None:
        self.sum: Any = 0

    def update(self, val: Any) -> None:
        """Add ``val``; ``None`` does nothing."""
        if val is not None:
            val = _settle(val)
            self.sum = type_as(self.sum, val) + val

    @property
    def smoothed_value(self) -> Any:
        return self._rounded(self.sum)

    def state_dict(self) -> dict[str, Any]:
        return {"sum": self.sum, "round": self.round}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.sum = state_dict["sum"]
        self.round = state_dict.get("round")


class ConcatTensorMeter(Meter):
    """All tensors given to ``update``, joined along ``dim``; read them from ``tensor``."""

    def __init__(self, dim: int = 0) -> None:
        super().__init__()
        self.dim = dim
        self.reset()

    def reset(self) -> None:
        self.tensor: Optional[Tensor] = None

    def update(self, val: Tensor) -> None:
        """Append a tensor; its other dimensions equal those of the earlier ones."""
        val = val.detach()
        self.tensor = val if self.tensor is None else torch.cat([self.tensor, val], dim=self.dim)

    @property
    def smoothed_value(self) -> list[Any]:
        """Nothing to show in a log line."""
        return []

    def state_dict(self) -> dict[str, Any]:
        return {"tensor": self.tensor}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.tensor = state_dict["tensor"]


class TimeMeter(Meter):
    """Events per second since the meter was reset.

    Args:
        init: seconds that count as elapsed already (a resumed run).
        n: events that count as seen already.
        round: digits of the smoothed value.
    """

    def __init__(self, init: float = 0, n: int = 0, round: Optional[int] = None) -> None:
        self.round = round
        self.reset(init, n)

    def reset(self, init: float = 0, n: int = 0) -> None:
        """Restart the clock."""
        self.init = init
        self.start = time.perf_counter()
        self.n: Any = n
        self.i = 0

    def update(self, val: Any = 1) -> None:
        """Count ``val`` more events."""
        val = _settle(val)
        self.n = type_as(self.n, val) + val
        self.i += 1

    @property
    def avg(self) -> Any:
        return self.n / self.elapsed_time

    @property
    def elapsed_time(self) -> float:
        """Seconds."""
        return self.init + (time.perf_counter() - self.start)

    @property
    def smoothed_value(self) -> Any:
        return self._rounded(self.avg)

    def state_dict(self) -> dict[str, Any]:
        return {"init": self.elapsed_time, "n": self.n, "round": self.round}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # Files of old releases hold the clock's start, which means nothing in another process: count anew.
        self.reset(init=state_dict["init"], n=0 if "start" in state_dict else state_dict["n"])
        self.round = state_dict.get("round")


class StopwatchMeter(Meter):
    """Seconds between ``start`` and ``stop``, summed; divided by the events given to ``stop``, if any."""

    def __init__(self, round: Optional[int] = None) -> None:
        self.round = round
        self.sum: Any = 0
        self.n: Any = 0
        self.start_time: Optional[float] = None

    def start(self, elapsed: float = 0.0) -> None:
        """Start the clock, as if it had been running for ``elapsed`` seconds."""
        self.start_time = time.perf_counter() - elapsed

    def stop(self, n: Any = 1, prehook: Optional[Callable[[], Any]] = None) -> None:
        """Add the time since ``start``; without one this does nothing.

        Args:
            n: number of events that took this time.
            prehook: called first, e.g. to wait for the device.
        """
        if self.start_time is None:
            return
        if prehook is not None:
            prehook()
        n = _settle(n)
        self.sum = self.sum + (time.perf_counter() - self.start_time)
        self.n = type_as(self.n, n) + n

    def reset(self) -> None:
        """Forget the sum and start the clock."""
        self.sum = 0
        self.n = 0
        self.start()

    @property
    def avg(self) -> Any:
        return self.sum / self.n if self.n > 0 else self.sum

    @property
    def elapsed_time(self) -> float:
        """Seconds since ``start``; 0 before it."""
        return 0.0 if self.start_time is None else time.perf_counter() - self.start_time

    @property
    def smoothed_value(self) -> Any:
        return self._rounded(self.avg if self.sum > 0 else self.elapsed_time)

    def state_dict(self) -> dict[str, Any]:
        return {"sum": self.sum, "n": self.n, "round": self.round}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.sum = state_dict["sum"]
        self.n = state_dict["n"]
        self.start_time = None
        self.round = state_dict.get("round")


class MetersDict(OrderedDict):
    """Meters by name, sorted by priority (small first), then by when they were added.

    A meter cannot be replaced under its name (``AssertionError``).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.priorities: list[tuple[Any, int, str]] = []
        super().__init__(*args, **kwargs)

    def __setitem__(self, key: str, value: tuple[Any, Meter]) -> None:
        if key in self:
            raise AssertionError(f"MetersDict doesn't support reassignment: there is a meter {key!r} already")
        priority, meter = value
        bisect.insort(self.priorities, (priority, len(self.priorities), key))
        super().__setitem__(key, meter)
        for _, _, name in self.priorities:
            self.move_to_end(name)

    def add_meter(self, key: str, meter: Meter, priority: Any) -> None:
        """Add a meter under a new name."""
        self.__setitem__(key, (priority, meter))

    def get_smoothed_value(self, key: str) -> Any:
        """The value to show for one meter (derived ones are computed from the others)."""
        meter = self[key]
        return meter.fn(self) if isinstance(meter, self._DerivedMeter) else meter.smoothed_value

    def get_smoothed_values(self) -> OrderedDict[str, Any]:
        """All values to show, in order; names that begin with ``_`` are left out."""
        return OrderedDict((key, self.get_smoothed_value(key)) for key in self if not key.startswith("_"))

    def reset(self) -> None:
        """Reset every meter; their names and order stay."""
        for meter in self.values():
            if not isinstance(meter, self._DerivedMeter):
                meter.reset()

    def clear(self) -> None:
        super().clear()
        self.priorities = []

    def state_dict(self) -> list[tuple[Any, str, str, dict[str, Any]]]:
        """``(priority, name, class name, state)`` of every meter but the derived ones."""
        return [
            (priority, key, type(self[key]).__name__, self[key].state_dict())
            for priority, _, key in self.priorities
            if not isinstance(self[key], self._DerivedMeter)
        ]

    def load_state_dict(self, state_dict: list[tuple[Any, str, str, dict[str, Any]]]) -> None:
        """Replace all meters by the saved ones; a meter of a class that is not loaded is left out with a warning."""
        self.clear()
        for priority, key, class_name, state in state_dict:
            cls = _meter_classes().get(class_name)
            if cls is None:
                logger.warning("metric %s is not restored: no meter class %s is known here", key, class_name)
                continue
            meter = cls()
            meter.load_state_dict(state)
            self.add_meter(key, meter, priority)

    class _DerivedMeter(Meter):
        """A value computed from other meters when it is shown."""

        def __init__(self, fn: Callable[[MetersDict], Any]) -> None:
            self.fn = fn

        def reset(self) -> None:
            """Nothing is kept here."""


def _meter_classes() -> dict[str, type[Meter]]:
    """Every meter class by name, those of plugins included; the built-in ones win."""
    classes: dict[str, type[Meter]] = {}
    pending = list(Meter.__subclasses__())
    while pending:
        cls = pending.pop(0)
        classes.setdefault(cls.__name__, cls)
        pending += cls.__subclasses__()
    return classes
