"""What the usual criteria say about a batch, and how it becomes metrics."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

__all__ = ["batch_log", "log_loss_per_sample_and_token", "log_losses", "log_perplexity", "total"]


def batch_log(sample: dict[str, Any], sample_size: Any, **sums: Tensor) -> dict[str, Any]:
    """A logging output: sums over the batch, without their graphs, and the counts to divide them by."""
    counts = {"ntokens": sample["ntokens"], "nsentences": len(sample["target"]), "sample_size": sample_size}
    return {**{name: value.detach() for name, value in sums.items()}, **counts}


def total(logging_outputs: list[dict[str, Any]], name: str) -> Any:
    """Sum an entry over logging outputs; those without it count as zero."""
    return sum(log.get(name, 0) for log in logging_outputs)


def log_losses(logging_outputs: list[dict[str, Any]], **counts: str) -> None:
    """Log sums as averages in base 2: ``log_losses(outputs, loss="sample_size")`` divides ``loss`` by that count."""
    from fairseq.logging import metrics

    for name, count in counts.items():
        weight = total(logging_outputs, count)
        metrics.log_scalar(name, total(logging_outputs, name) / weight / math.log(2), weight, round=3)


def log_perplexity(of: str) -> None:
    """Log ``ppl``, 2 to the power of another metric."""
    from fairseq import utils
    from fairseq.logging import metrics

    metrics.log_derived("ppl", lambda meters: utils.get_perplexity(meters[of].avg))


def log_loss_per_sample_and_token(logging_outputs: list[dict[str, Any]]) -> None:
    """Log ``loss`` and ``ppl``; where samples are not tokens, also ``nll_loss``, the loss per token."""
    from fairseq.logging import metrics

    log_losses(logging_outputs, loss="sample_size")
    ntokens = total(logging_outputs, "ntokens")
    if total(logging_outputs, "sample_size") == ntokens:
        log_perplexity("loss")
        return
    nll_loss = total(logging_outputs, "loss") / ntokens / math.log(2)
    metrics.log_scalar("nll_loss", nll_loss, ntokens, round=3)
    log_perplexity("nll_loss")
