"""One criterion applied to each of several outputs of a model."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor

from fairseq.criterions import FairseqCriterion, LegacyFairseqCriterion, register_criterion

__all__ = ["CompositeLoss"]


class _OneOutput:
    """A model as the underlying criterion sees it: it answers with one output that was computed already."""

    def __init__(self, model: Any, net_output: Any, target: Tensor) -> None:
        self.model = model
        self.net_output = net_output
        self.target = target

    def __call__(self, **unused: Any) -> Any:
        return self.net_output

    def get_normalized_probs(self, net_output: Any, log_probs: bool, sample: Any = None) -> Tensor:
        return self.model.get_normalized_probs(net_output, log_probs, sample=sample)

    def get_targets(self, *unused: Any) -> Tensor:
        return self.target

    @property
    def decoder(self) -> Any:
        return self.model.decoder


class _Composite(FairseqCriterion):
    """The average of an underlying criterion over the outputs of a model."""

    underlying_class: type[FairseqCriterion]

    def __init__(self, task: Any, underlying: FairseqCriterion) -> None:
        super().__init__(task)
        self.underlying = underlying

    def forward(self, model: Any, sample: dict[str, Any], reduce: bool = True) -> tuple[Tensor, Any, dict[str, Any]]:
        """Return ``(loss, sample_size, logging_output)``, averaged over the outputs.

        The model returns ``(outputs, extra)`` and ``sample["target"]`` holds one target per output. The logging output
        is that of the last one, but for the loss.
        """
        outputs, extra = model(**sample["net_input"])[:2]
        targets = sample["target"]
        losses, sizes = [], []
        logging_output: dict[str, Any] = {}
        for output, target in zip(outputs, targets):
            one = _OneOutput(model, (output, extra), target)
            loss, size, logging_output = self.underlying(one, {**sample, "target": target}, reduce)
            losses.append(loss.float())
            sizes.append(size)
        loss = sum(losses[1:], losses[0]) / len(targets)
        sample_size = sum(sizes) / len(targets)
        return loss, sample_size, {**logging_output, "loss": loss.data}

    @classmethod
    def aggregate_logging_outputs(cls, logging_outputs: list[dict[str, Any]]) -> dict[str, Any]:  # type: ignore[override]
        """As the underlying criterion."""
        return cls.underlying_class.aggregate_logging_outputs(logging_outputs)

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """As the underlying criterion."""
        cls.underlying_class.reduce_metrics(logging_outputs)


@register_criterion("composite_loss")
class CompositeLoss(LegacyFairseqCriterion):
    """Average another criterion (``--underlying-criterion``) over the outputs of a model that has several."""

    def __init__(self, args: Any, task: Any) -> None:
        super().__init__(args, task)
        self.underlying_criterion = args.underlying_criterion

    @staticmethod
    def add_args(parser: Any) -> None:  # type: ignore[override]
        """Add the option of this criterion."""
        parser.add_argument(
            "--underlying-criterion",
            type=str,
            metavar="NAME",
            required=True,
            help="the criterion that is applied to each output",
        )

    @staticmethod
    def build_underlying_criterion(args: Any, task: Any) -> FairseqCriterion:
        """Build the criterion that ``args.underlying_criterion`` names.

        Raises:
            AssertionError: it names the composite loss itself.
        """
        name = args.underlying_criterion
        if name == getattr(args, "criterion", None) or name == getattr(args, "_name", None):
            raise AssertionError(f"--underlying-criterion {name}: a composite loss needs another criterion inside")
        inner = copy.copy(args)
        inner.criterion = name
        if hasattr(inner, "_name"):
            inner._name = name
        return task.build_criterion(inner)

    @classmethod
    def build_criterion(cls, args: Any, task: Any) -> FairseqCriterion:  # type: ignore[override]
        """Build the average over the underlying criterion; its class logs what that criterion's class logs."""
        underlying = CompositeLoss.build_underlying_criterion(args, task)
        kind = type("CompositeLossCriterion", (_Composite,), {"underlying_class": type(underlying)})
        return kind(task, underlying)
