"""The criterion contract."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor
from torch.nn.modules.loss import _Loss

__all__ = ["FairseqCriterion", "LegacyFairseqCriterion"]

# Counts that travel with every logging output and are no metric by themselves.
_COUNTS = ("nsentences", "ntokens", "sample_size")


class FairseqCriterion(_Loss):
    """Base class of criteria.

    Args:
        task: the running task, or ``None``. ``padding_idx`` comes from its target dictionary, -100 without one.
    """

    def __init__(self, task: Any) -> None:
        super().__init__()
        self.task = task
        self.padding_idx = -100
        dictionary = getattr(task, "target_dictionary", None)
        if dictionary is not None:
            self.padding_idx = dictionary.pad()

    @classmethod
    def add_args(cls, parser: Any) -> None:
        """Add the criterion's options to an argparse parser; one with a config class gets those of its fields."""
        dataclass = getattr(cls, "__dataclass", None)
        if dataclass is not None:
            from fairseq.dataclass.utils import gen_parser_from_dataclass

            gen_parser_from_dataclass(parser, dataclass())

    @classmethod
    def build_criterion(cls, cfg: Any, task: Any) -> FairseqCriterion:
        """Build an instance; each constructor argument is looked up by name.

        ``task`` is the task, ``cfg`` the whole section (or namespace), any other name the attribute of ``cfg`` of that
        name, or else the argument's own default.

        Raises:
            NotImplementedError: an argument cannot be found, or is variadic or positional-only.
        """
        values: dict[str, Any] = {}
        for name, parameter in inspect.signature(cls).parameters.items():
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise NotImplementedError(
                    f"{cls.__name__}: constructor argument {parameter} cannot be filled from options; "
                    f"name it, or implement {cls.__name__}.build_criterion"
                )
            if name == "task":
                values[name] = task
            elif name == "cfg":
                values[name] = cfg
            elif hasattr(cfg, name):
                values[name] = getattr(cfg, name)
            elif parameter.default is parameter.empty:
                raise NotImplementedError(
                    f"Unable to infer Criterion arguments, please implement {cls.__name__}.build_criterion "
                    f"(there is no option {name!r})"
                )
        return cls(**values)

    def forward(self, model: Any, sample: dict[str, Any], reduce: bool = True) -> tuple[Tensor, Any, dict[str, Any]]:
        """Compute the loss of a batch.

        Args:
            model: called with ``sample["net_input"]``.
            sample: a mini-batch as the dataset's collater made it.
            reduce: sum the loss; otherwise it keeps one value per token or sentence.

        Returns:
            ``(loss, sample_size, logging_output)``. Gradients are divided by the sample sizes of all workers together;
            the logging outputs of all workers meet in ``reduce_metrics``.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement forward")

    @staticmethod
    def aggregate_logging_outputs(logging_outputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Old form of ``reduce_metrics``: return the values to log."""
        raise NotImplementedError("a criterion must implement reduce_metrics")

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Log what the logging outputs of all workers amount to, through ``fairseq.logging.metrics``."""
        from fairseq import utils
        from fairseq.logging import metrics

        utils.deprecation_warning(
            f"{cls.__name__} has no reduce_metrics; its deprecated aggregate_logging_outputs is used instead"
        )
        for name, value in cls.aggregate_logging_outputs(logging_outputs).items():
            if name not in _COUNTS:
                metrics.log_scalar(name, value)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """Whether workers may add up their logging outputs instead of exchanging them whole, which is faster."""
        return False


class LegacyFairseqCriterion(FairseqCriterion):
    """Base class of criteria that take a flat namespace of all options.

    Args:
        args: the namespace, kept as ``self.args``.
        task: the running task.
    """

    def __init__(self, args: Any, task: Any) -> None:
        super().__init__(task=task)
        from fairseq import utils

        utils.deprecation_warning(
            "a criterion that takes a namespace is deprecated: derive from FairseqCriterion and name the options it "
            "needs as constructor arguments"
        )
        self.args = args

    @classmethod
    def build_criterion(cls, args: Any, task: Any) -> LegacyFairseqCriterion:
        """Build an instance from the namespace."""
        return cls(args, task)
