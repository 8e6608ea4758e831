"""How often each data set is seen in training, from their sizes."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Optional

__all__ = ["SamplingMethod", "make_ratio_sampling", "make_temperature_sampling", "temperature_sampling", "uniform"]

logger = logging.getLogger(__name__)

# From the sizes of the data sets to their weights, which need not sum to one.
Weighting = Callable[[Sequence[int]], Any]


def uniform(dataset_sizes: Sequence[int]) -> list[float]:
    """The same weight for all."""
    return [1.0 for _ in dataset_sizes]


def temperature_sampling(dataset_sizes: Sequence[int], temp: float) -> list[float]:
    """``(size / total) ** (1 / temp)``: 1 is proportional, larger ones favour small data sets."""
    total = sum(dataset_sizes)
    return [(size / total) ** (1.0 / temp) for size in dataset_sizes]


def make_temperature_sampling(temp: float = 1.0) -> Weighting:
    """:func:`temperature_sampling` with a fixed temperature."""
    return lambda dataset_sizes: temperature_sampling(dataset_sizes, temp)


def make_ratio_sampling(ratios: Any) -> Weighting:
    """Weights that do not depend on the sizes."""
    return lambda dataset_sizes: ratios


class SamplingMethod:
    """What ``--sampling-method`` and ``--sampling-temperature`` ask for.

    Args:
        args: with the attributes ``sampling_method`` and ``sampling_temperature``.
        task: the task that loads the data.
    """

    @staticmethod
    def add_arguments(parser: Any) -> None:
        """Add the two options to a parser."""
        parser.add_argument(
            "--sampling-method",
            choices=["uniform", "temperature", "concat", "RoundRobin"],
            type=str,
            default="concat",
            help="how often each language pair is seen: all the same, by size with --sampling-temperature, or as much "
            "as there is of it",
        )
        parser.add_argument(
            "--sampling-temperature",
            type=float,
            default=1.5,
            help="with --sampling-method temperature: 1 samples by size, larger values favour small data sets",
        )

    @staticmethod
    def build_sampler(args: Any, task: Any) -> "SamplingMethod":
        return SamplingMethod(args, task)

    def __init__(self, args: Any, task: Any) -> None:
        self.args = args
        self.task = task

    def is_adaptive(self) -> bool:
        """Whether the weights change during training."""
        return False

    def sampling_method_selector(self) -> Optional[Weighting]:
        """The function from sizes to weights; ``None`` where samples are not drawn (``concat``, ``RoundRobin``)."""
        method = self.args.sampling_method
        logger.info("selected sampler: %s", method)
        if method == "uniform":
            return uniform
        if method == "temperature" or self.is_adaptive():
            return make_temperature_sampling(float(self.args.sampling_temperature))
        return None
