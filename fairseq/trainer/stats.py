"""Logging outputs of the criterion -> metrics, over all workers.

Values stay tensors on the device until a log line needs them: with ``--log-interval 100`` the device is asked once in a
hundred updates.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

import torch

from fairseq.logging import metrics

__all__ = ["LazyOutput", "StatsCollector"]

logger = logging.getLogger("fairseq.trainer")

# Derived from other values, or about speed: of no use as the output of one step.
_NOT_RETURNED = ("ppl", "wps", "wpb", "bsz")


class LazyOutput(MutableMapping[str, Any]):
    """A dictionary that is computed when it is first looked into, because computing it waits for the device."""

    def __init__(self, compute: Callable[[], dict[str, Any]]) -> None:
        self._compute: Callable[[], dict[str, Any]] | None = compute
        self._computed: dict[str, Any] = {}

    @property
    def _values(self) -> dict[str, Any]:
        if self._compute is not None:
            self._computed, self._compute = self._compute(), None
        return self._computed

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._values[key] = value

    def __delitem__(self, key: str) -> None:
        del self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(dict(self._values))


class StatsCollector:
    """Sums statistics over workers and hands them to the task's ``reduce_metrics``."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self._warned: set[str] = set()

    # -------------------------------------------------------------------------------------------------- over workers
    def over_workers(
        self, logging_outputs: list[dict[str, Any]], *extra: Any, ignore: bool = False
    ) -> tuple[list[dict[str, Any]], tuple[Any, ...]]:
        """Sum the ``extra`` numbers over all workers, and combine their logging outputs, in one collective call.

        Args:
            logging_outputs: one dictionary per batch of this worker.
            extra: numbers (or one-element tensors) that every worker has.
            ignore: this worker's logging outputs are those of a dummy batch and do not count.
        """
        trainer = self.trainer
        if trainer.task.__class__.logging_outputs_can_be_summed(trainer.get_criterion()):
            return self._summed(logging_outputs, extra, ignore)
        return self._gathered(logging_outputs, extra, ignore)

    def _gathered(
        self, logging_outputs: list[dict[str, Any]], extra: tuple[Any, ...], ignore: bool
    ) -> tuple[list[dict[str, Any]], tuple[Any, ...]]:
        from fairseq.distributed import utils as distributed_utils

        if ignore:
            logging_outputs = []
        rows = distributed_utils.all_gather_list(
            [logging_outputs, *extra],
            max_size=getattr(self.trainer.cfg.common, "all_gather_list_size", 16384),
            group=self.trainer.data_parallel_process_group,
        )
        outputs = [output for row in rows for output in row[0]]
        return outputs, tuple(sum(row[index + 1] for row in rows) for index in range(len(extra)))

    def _summed(
        self, logging_outputs: list[dict[str, Any]], extra: tuple[Any, ...], ignore: bool
    ) -> tuple[list[dict[str, Any]], tuple[Any, ...]]:
        from fairseq.distributed import utils as distributed_utils

        data: dict[str, Any] = {f"extra/{index}": value for index, value in enumerate(extra)}
        keys = list(logging_outputs[0]) if logging_outputs else []
        for key in keys:
            if not ignore:
                value = sum(output.get(key, 0) for output in logging_outputs)
            else:
                value = logging_outputs[0][key]
                value = torch.zeros_like(value) if torch.is_tensor(value) else value * 0
            data[f"output/{key}"] = value
        data = distributed_utils.all_reduce_dict(
            data, device=self.trainer.device, group=self.trainer.data_parallel_process_group
        )
        summed = {key: data[f"output/{key}"] for key in keys}
        return [summed] if keys else [], tuple(data[f"extra/{index}"] for index in range(len(extra)))

    # ---------------------------------------------------------------------------------------------------- to metrics
    def log(
        self,
        logging_outputs: list[dict[str, Any]],
        sample_size: Any,
        grad_norm: torch.Tensor | None = None,
        clip_norm: float = 0.0,
    ) -> LazyOutput:
        """Log the metrics of one step.

        Args:
            logging_outputs: of all batches (and workers).
            sample_size: what the gradient was divided by.
            grad_norm: L2 norm before clipping; ``None`` in validation.
            clip_norm: the limit, 0 for none.

        Returns:
            The step's own values by name, with ``sample_size``; looking into it waits for the device.
        """
        if grad_norm is not None:
            metrics.log_speed("ups", 1.0, priority=100, round=2)
            metrics.log_scalar("gnorm", grad_norm, priority=400, round=3)
            if clip_norm > 0:
                metrics.log_scalar("clip", (grad_norm > clip_norm) * 100.0, priority=500, round=1)
        with metrics.aggregate() as own:
            self.trainer.task.reduce_metrics(logging_outputs, self.trainer.get_criterion())
        if "loss" not in own:
            self.warn_once(
                "the criterion's reduce_metrics logs no 'loss'; -1 is shown instead, and nothing can be selected by it"
            )
            metrics.log_scalar("loss", -1)

        def values() -> dict[str, Any]:
            found = dict(own.get_smoothed_values())
            found.setdefault("loss", -1)
            for key in _NOT_RETURNED:
                found.pop(key, None)
            return {**found, "sample_size": sample_size}

        return LazyOutput(values)

    def warn_once(self, message: str) -> None:
        """Log a warning the first time it comes up."""
        if message not in self._warned:
            self._warned.add(message)
            logger.warning(message)
