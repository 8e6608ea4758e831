"""Numbers that no run can use, refused before anything is built, in the words of the option."""

import math
from typing import Any, Callable, Dict, Iterable, Tuple

__all__ = ["BATCHES", "GENERATION", "SCORING", "TRAINING", "check_limits"]

Limit = Tuple[Callable[[float], bool], str]


def at_least(bound: int) -> Limit:
    """A finite number that is not smaller."""
    return (lambda value: bound <= value < math.inf, f"at least {bound} is expected")


def whole_from(bound: int) -> Limit:
    """A whole number that is not smaller."""
    return (lambda value: bound <= value < math.inf and value == int(value), f"a whole number from {bound} is expected")


SHARE: Limit = (lambda value: 0 <= value <= 1, "a number from 0 to 1 is expected")
POSITIVE: Limit = (lambda value: 0 < value < math.inf, "a number above 0 is expected")
NUMBER: Limit = (lambda value: not math.isnan(value), "a number is expected")

BATCHES: Dict[str, Limit] = {
    "dataset.max_tokens": at_least(1),
    "dataset.batch_size": at_least(1),
    "dataset.num_workers": at_least(0),
    "dataset.required_batch_size_multiple": at_least(1),
}

TRAINING: Dict[str, Limit] = {
    **BATCHES,
    "common.log_interval": at_least(1),
    "dataset.max_tokens_valid": at_least(1),
    "dataset.batch_size_valid": at_least(1),
    "dataset.validate_interval": at_least(1),
    "checkpoint.save_interval": at_least(1),
    "optimization.lr": at_least(0),
    "optimization.update_freq": whole_from(1),
    "optimization.max_epoch": at_least(0),
    "optimization.max_update": at_least(0),
    # Below 0, as 0, means no clipping.
    "optimization.clip_norm": NUMBER,
    "lr_scheduler.warmup_updates": at_least(0),
    "ema.ema_decay": SHARE,
}

GENERATION: Dict[str, Limit] = {
    **BATCHES,
    "generation.beam": at_least(1),
    "generation.nbest": at_least(1),
    "generation.max_len_a": at_least(0),
    "generation.max_len_b": at_least(0),
    "generation.min_len": at_least(0),
    "generation.prefix_size": at_least(0),
    "generation.temperature": POSITIVE,
    "generation.lenpen": NUMBER,
    "generation.unkpen": NUMBER,
}


SCORING: Dict[str, Limit] = {
    **BATCHES,
    "eval_lm.context_window": at_least(0),
    "eval_lm.softmax_batch": at_least(0),
}


def _values(value: Any) -> Iterable[Any]:
    return value if isinstance(value, Iterable) and not isinstance(value, (str, dict)) else [value]


def check_limits(cfg: Any, limits: Dict[str, Limit]) -> None:
    """Look at each number of a config that has a limit; what is not set, or no number, is left to who reads it.

    Raises:
        ValueError: one is outside its limit, or a list of numbers is empty.
    """
    for path, (holds, expected) in limits.items():
        section, name = path.split(".")
        value = getattr(getattr(cfg, section, None), name, None)
        option = "--" + name.replace("_", "-")
        values = list(_values(value))
        if not values:
            raise ValueError(f"{option}: no value is given; {expected}")
        for number in values:
            if isinstance(number, (int, float)) and not isinstance(number, bool) and not holds(number):
                raise ValueError(f"{option} {number}: {expected}")
