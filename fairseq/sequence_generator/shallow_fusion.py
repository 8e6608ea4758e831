"""A language model's say in the choice of words (shallow fusion, Gulcehre et al. 2015)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

__all__ = ["ShallowFusion"]


class ShallowFusion:
    """Weighted log-probabilities of a language model for the next word.

    A model that decodes incrementally computes each word once; any other is run on the whole prefix every step.
    """

    def __init__(self, model: Any, weight: float) -> None:
        self.model = model
        self.weight = weight
        self.state: dict[str, dict[str, Any]] | None = {} if _decodes_incrementally(model) else None

    @classmethod
    def make(cls, model: Any, weight: float) -> ShallowFusion | None:
        """``None`` without a model."""
        return None if model is None else cls(model, weight)

    def reorder(self, rows: Tensor) -> None:
        """Continue these rows."""
        if self.state is not None:
            self.model.decoder.reorder_incremental_state_scripting(self.state, rows)

    def log_probs(self, tokens: Tensor) -> Tensor:
        """``(rows, vocab)`` after ``tokens`` ``(rows, length)``, already weighted."""
        if self.state is not None:
            output = self.model.decoder(tokens, incremental_state=self.state)
        else:
            output = self.model(tokens)
        lprobs = self.model.get_normalized_probs(output, log_probs=True, sample=None)
        return lprobs[:, -1, :] * self.weight


def _decodes_incrementally(model: Any) -> bool:
    """Whether calling the decoder with a state is the same as calling the model."""
    from fairseq.models.fairseq_incremental_decoder import FairseqIncrementalDecoder
    from fairseq.models.fairseq_model import FairseqLanguageModel

    return (
        isinstance(model, FairseqLanguageModel)
        and type(model).forward is FairseqLanguageModel.forward
        and isinstance(model.decoder, FairseqIncrementalDecoder)
    )
