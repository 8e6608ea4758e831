"""A criterion for models that compute their losses themselves."""

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Tuple

import torch
from torch import Tensor

from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass.configs import FairseqDataclass

__all__ = ["ModelCriterion", "ModelCriterionConfig"]

_COUNTS = {"loss", "ntokens", "nsentences", "sample_size", "_world_size"}


@dataclass
class ModelCriterionConfig(FairseqDataclass):
    """Options of ``--criterion model``."""

    loss_weights: Dict[str, float] = field(
        default_factory=dict, metadata={"help": "weight of each loss of the model, by name; all are 1 if none is given"}
    )
    log_keys: List[str] = field(default_factory=list, metadata={"help": "further entries of the model's output to log"})
    can_sum: bool = True


@register_criterion("model", dataclass=ModelCriterionConfig)
class ModelCriterion(FairseqCriterion):
    """A weighted sum of what the model gives as its losses.

    The model either has ``get_losses(net_output, sample)`` or returns a dictionary with an entry ``losses``; both are
    dictionaries, name -> tensor. The output may also hold ``sample_size`` and, under ``logs``, numbers to log.

    Args:
        task: the running task.
        loss_weights: name -> weight for every loss; one with weight 0 is left out. Empty: all have weight 1.
        log_keys: entries of the output to log; those that are vectors are logged item by item.
        can_sum: whether workers may add up their logging outputs.
    """

    def __init__(
        self,
        task: Any,
        loss_weights: Optional[Dict[str, float]] = None,
        log_keys: Optional[List[str]] = None,
        can_sum: bool = True,
    ) -> None:
        super().__init__(task)
        self.loss_weights = loss_weights if loss_weights is not None else {}
        self.log_keys = log_keys if log_keys is not None else []
        self.can_sum = can_sum

    def forward(self, model: Any, sample: Dict[str, Any], reduce: bool = True) -> Tuple[Tensor, Any, Dict[str, Any]]:
        """Return ``(loss, sample_size, logging_output)``; losses are summed whatever ``reduce`` says."""
        net_output = model(**sample["net_input"])
        losses = self._weighted_losses(model, net_output, sample)
        parts = list(losses.values())
        loss = sum(parts[1:], parts[0])
        sample_size = net_output["sample_size"] if "sample_size" in net_output else loss.numel()
        logging_output: Dict[str, Any] = {
            "loss": loss.data,
            "ntokens": sample_size,
            "nsentences": sample["id"].numel(),
            "sample_size": sample_size,
            "_world_size": 1,
        }
        for key in self.log_keys:
            logging_output.update(_loggable(key, net_output[key] if key in net_output else None))
        if len(losses) > 1:
            logging_output.update({f"loss_{name}": part.detach() for name, part in losses.items()})
        if "logs" in net_output:
            logging_output.update(net_output["logs"])
        return loss, sample_size, logging_output

    def _weighted_losses(self, model: Any, net_output: Any, sample: Dict[str, Any]) -> Dict[str, Tensor]:
        if hasattr(model, "get_losses"):
            losses = model.get_losses(net_output, sample)
        elif isinstance(net_output, dict) and "losses" in net_output:
            losses = net_output["losses"]
        else:
            raise Exception(
                "Could not retrieve losses: --criterion model needs a model with get_losses, or one that returns a "
                f"dictionary with an entry 'losses'; {type(model).__name__} returned {type(net_output).__name__}"
            )
        if self.loss_weights and not set(losses) <= set(self.loss_weights):
            unknown = ", ".join(sorted(set(losses) - set(self.loss_weights)))
            raise KeyError(f"--loss-weights gives no weight for {unknown}; list every loss of the model, or none")
        weights = {name: self.loss_weights.get(name, 1.0) for name in losses}
        weighted = {
            name: weights[name] * loss.float().sum()
            for name, loss in losses.items()
            if loss is not None and weights[name] != 0
        }
        if not weighted:
            raise ValueError(f"no loss is left: the model has {sorted(losses)}, weights are {dict(self.loss_weights)}")
        return weighted

    @staticmethod
    def reduce_metrics(logging_outputs: List[Dict[str, Any]]) -> None:
        """Log ``loss`` and every ``loss_NAME`` per sample (in the model's own unit), other entries per worker."""
        from fairseq.logging import metrics

        def total(key: str) -> Any:
            return sum(log.get(key, 0) for log in logging_outputs)

        sample_size, world_size = total("sample_size"), total("_world_size")
        metrics.log_scalar("loss", total("loss") / sample_size, sample_size, round=3)
        metrics.log_scalar("ntokens", total("ntokens"))
        metrics.log_scalar("nsentences", total("nsentences"))
        metrics.log_scalar("sample_size", sample_size)
        for key in logging_outputs[0]:
            if key in _COUNTS or key.startswith("_"):
                continue
            if key.startswith("loss_"):
                metrics.log_scalar(key, total(key) / sample_size, sample_size, round=3)
            else:
                metrics.log_scalar(key, total(key) / world_size, round=3)

    def logging_outputs_can_be_summed(self) -> bool:  # type: ignore[override]
        """As ``--can-sum`` says."""
        return self.can_sum


def _loggable(key: str, value: Any) -> Dict[str, Any]:
    """Entries of the logging output for one entry of the model's output."""
    if value is None:
        return {}
    if torch.is_tensor(value):
        value = value.detach()
        if value.numel() > 1 and not key.startswith("_"):
            return {f"{key}_{i}": item for i, item in enumerate(value)}
        return {key: value.reshape(()) if value.numel() == 1 else value}
    return {key: float(value)}
