"""The global set of named metric aggregators.

Whatever is logged goes to every *active* aggregator. ``"default"`` is always active; others are active inside
``with aggregate(name):``. Plugins call ``metrics.log_scalar("loss", ...)`` in ``reduce_metrics`` and never meet the
aggregators; the training loop reads them by name (``"train_inner"``, ``"train"``, ``"valid"``).

``log_*`` calls are cheap: nothing waits for a device before a smoothed value is asked for.
"""

from __future__ import annotations

import contextlib
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Optional

from fairseq.logging.meters import (
    AverageMeter,
    ConcatTensorMeter,
    Meter,
    MetersDict,
    StopwatchMeter,
    SumMeter,
    TimeMeter,
    safe_round,
    type_as,
)

__all__ = [
    "AverageMeter",
    "ConcatTensorMeter",
    "Meter",
    "MetersDict",
    "StopwatchMeter",
    "SumMeter",
    "TimeMeter",
    "aggregate",
    "get_active_aggregators",
    "get_meter",
    "get_meters",
    "get_smoothed_value",
    "get_smoothed_values",
    "load_state_dict",
    "log_concat_tensor",
    "log_custom",
    "log_derived",
    "log_scalar",
    "log_scalar_sum",
    "log_speed",
    "log_start_time",
    "log_stop_time",
    "reset",
    "reset_meter",
    "reset_meters",
    "safe_round",
    "state_dict",
    "type_as",
    "xla_metrics_report",
]

DEFAULT = "default"


class _State:
    """All aggregators, and the active ones with how often each was entered."""

    def __init__(self) -> None:
        self.known: OrderedDict[str, MetersDict] = OrderedDict()
        self.active: OrderedDict[str, MetersDict] = OrderedDict()
        self.entered: dict[str, int] = {}
        self.clear()

    def clear(self) -> None:
        self.known.clear()
        self.active.clear()
        self.entered.clear()
        self.known[DEFAULT] = self.active[DEFAULT] = MetersDict()
        self.entered[DEFAULT] = 1

    def enter(self, name: str, meters: MetersDict) -> None:
        self.active[name] = meters
        self.entered[name] = self.entered.get(name, 0) + 1

    def leave(self, name: str) -> None:
        # reset() inside the context has forgotten the name already.
        if name in self.entered:
            self.entered[name] -= 1
            if self.entered[name] <= 0:
                del self.entered[name]
                self.active.pop(name, None)


_state = _State()


def reset() -> None:
    """Forget every metric and every active context."""
    _state.clear()


@contextlib.contextmanager
def aggregate(name: Optional[str] = None, new_root: bool = False) -> Iterator[MetersDict]:
    """Also collect what is logged inside under ``name``; usable as a context manager or a decorator.

    Args:
        name: where to find the values later; entering a name again goes on adding to it. Without a name the values
            are only in the object that the context yields.
        new_root: hide all other aggregators inside (validation must not disturb training's numbers).

    Yields:
        The aggregator. Leaving by an exception leaves no trace in the set of active ones.

    Raises:
        AssertionError: ``name`` is ``"default"``, which is always active.
    """
    if name == DEFAULT:
        raise AssertionError("the aggregator 'default' is always active and cannot be entered")
    if name is None:
        key, meters = str(uuid.uuid4()), MetersDict()
    else:
        key, meters = name, _state.known.setdefault(name, MetersDict())
    hidden = (_state.active.copy(), _state.entered.copy()) if new_root else None
    if new_root:
        _state.active.clear()
        _state.entered.clear()
    _state.enter(key, meters)
    try:
        yield meters
    finally:
        _state.leave(key)
        if hidden is not None:
            _state.active.clear()
            _state.active.update(hidden[0])
            _state.entered.clear()
            _state.entered.update(hidden[1])


def get_active_aggregators() -> list[MetersDict]:
    """Those that receive what is logged now."""
    return list(_state.active.values())


def _meter(meters: MetersDict, key: str, make: Callable[[], Meter], priority: Any) -> Any:
    """The meter called ``key``, made on first use (which also fixes its priority)."""
    if key not in meters:
        meters.add_meter(key, make(), priority)
    return meters[key]


def log_scalar(key: str, value: Any, weight: Any = 1, priority: int = 10, round: Optional[int] = None) -> None:
    """Log a value to be averaged.

    Args:
        key: name; a leading ``_`` keeps it out of log lines.
        value: number or one-element tensor.
        weight: its weight in the mean; 0 shows the latest value instead.
        priority: place in the log line, small first.
        round: digits shown.
    """
    for meters in get_active_aggregators():
        _meter(meters, key, lambda: AverageMeter(round=round), priority).update(value, weight)


def log_scalar_sum(key: str, value: Any, priority: int = 10, round: Optional[int] = None) -> None:
    """Log a value to be summed."""
    for meters in get_active_aggregators():
        _meter(meters, key, lambda: SumMeter(round=round), priority).update(value)


def log_concat_tensor(key: str, value: Any, priority: int = 10, dim: int = 0) -> None:
    """Log a tensor to be joined with the earlier ones along ``dim``."""
    for meters in get_active_aggregators():
        _meter(meters, key, lambda: ConcatTensorMeter(dim=dim), priority).update(value)


def log_derived(key: str, fn: Callable[[MetersDict], Any], priority: int = 20) -> None:
    """Log a value that ``fn`` computes from the aggregator's meters whenever it is shown."""
    for meters in get_active_aggregators():
        _meter(meters, key, lambda: MetersDict._DerivedMeter(fn), priority)


def log_speed(key: str, value: Any, priority: int = 30, round: Optional[int] = None) -> None:
    """Log events per second. The first call only starts the clock."""
    for meters in get_active_aggregators():
        if key in meters:
            meters[key].update(value)
        else:
            meters.add_meter(key, TimeMeter(round=round), priority)


def log_start_time(key: str, priority: int = 40, round: Optional[int] = None) -> None:
    """Start a stopwatch; ``log_stop_time`` adds what it shows."""
    for meters in get_active_aggregators():
        _meter(meters, key, lambda: StopwatchMeter(round=round), priority).start()


def log_stop_time(key: str, weight: float = 0.0, prehook: Optional[Callable[[], Any]] = None) -> None:
    """Stop a stopwatch.

    Args:
        weight: number of events, for a mean duration; 0 gives the total.
        prehook: called before reading the clock.
    """
    for meters in get_active_aggregators():
        if key in meters:
            meters[key].stop(weight, prehook)


def log_custom(new_meter_fn: Callable[[], Meter], key: str, *args: Any, priority: int = 50, **kwargs: Any) -> None:
    """Log through a meter of one's own: ``new_meter_fn()`` makes it, ``update(*args, **kwargs)`` is called."""
    for meters in get_active_aggregators():
        _meter(meters, key, new_meter_fn, priority).update(*args, **kwargs)


def reset_meter(name: str, key: str) -> None:
    """Reset one meter of one aggregator, if it exists."""
    found = get_meter(name, key)
    if found is not None:
        found.reset()


def reset_meters(name: str) -> None:
    """Reset all meters of one aggregator, if it exists."""
    if name in _state.known:
        _state.known[name].reset()


def get_meter(name: str, key: str) -> Optional[Meter]:
    """One meter, or ``None``."""
    meters = get_meters(name)
    return None if meters is None else meters.get(key)


def get_meters(name: str) -> Optional[MetersDict]:
    """One aggregator, or ``None``."""
    return _state.known.get(name)


def get_smoothed_value(name: str, key: str) -> Any:
    """One value of one aggregator, rounded. ``KeyError`` if either does not exist."""
    return _state.known[name].get_smoothed_value(key)


def get_smoothed_values(name: str) -> OrderedDict[str, Any]:
    """All values of one aggregator in display order. ``KeyError`` if it does not exist."""
    return _state.known[name].get_smoothed_values()


def state_dict() -> OrderedDict[str, Any]:
    """Aggregator name -> its ``MetersDict.state_dict()``."""
    return OrderedDict((name, meters.state_dict()) for name, meters in _state.known.items())


def load_state_dict(state_dict: dict[str, Any]) -> None:
    """Restore saved aggregators; those that are active keep collecting."""
    for name, saved in state_dict.items():
        _state.known.setdefault(name, MetersDict()).load_state_dict(saved)


def xla_metrics_report() -> NoReturn:
    """Raises ``RuntimeError``: no TPU support."""
    from fairseq.utils.devices import NO_TPU

    raise RuntimeError(NO_TPU)
