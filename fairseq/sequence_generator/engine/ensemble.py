"""One or several models behind one step of the engine."""

from __future__ import annotations

import math
import sys
from typing import Any

import torch
from torch import Tensor

from fairseq.sequence_generator.ensemble import EnsembleModel
from fairseq.utils.overrides import fast_paths_enabled, uses_default_methods

__all__ = ["EngineSteps"]

# Called by the search, whichever path steps take.
_CALLED_BY_SEARCH = ("forward_encoder", "set_decoder_beam_size")


class EngineSteps:
    """The decoders of an ensemble on their way through one batch; see ``make``."""

    def __init__(self, steps: list[Any], beam: int) -> None:
        self.steps = steps
        self.beam = beam

    @classmethod
    def make(cls, ensemble: Any, encoder_outs: Any, bsz: int, beam: int, static: bool = False) -> EngineSteps | None:
        """Begin a batch, or ``None`` where a model or the ensemble is none that the engine knows.

        Args:
            encoder_outs: from ``forward_encoder``, one row per sentence.
            static: whether tensors stay where they are from step to step, so that a GPU can play steps again.
        """
        # Generators are also built for models that have nothing to do with transformers.
        if "fairseq.models.transformer.transformer_decoder" not in sys.modules:
            return None
        from fairseq.sequence_generator.engine.cuda_graph import CudaGraphStep
        from fairseq.sequence_generator.engine.transformer import TransformerStep, is_known_transformer

        if not fast_paths_enabled() or not uses_default_methods(ensemble, EnsembleModel, _CALLED_BY_SEARCH):
            return None
        models = list(ensemble.models)
        outs = encoder_outs if encoder_outs is not None else [None] * len(models)
        if len(outs) != len(models):
            return None
        for model, out in zip(models, outs):
            if not is_known_transformer(model) or not _is_known_source(out, hasattr(model, "encoder"), bsz):
                return None
        kind: Any = CudaGraphStep if static else TransformerStep
        return cls([kind(model, out, bsz, beam) for model, out in zip(models, outs)], beam)

    def close(self) -> None:
        """The batch is done."""
        for step in self.steps:
            step.close()

    def follow(self, rows: Tensor, kept: Tensor | None) -> None:
        """Continue the hypotheses ``rows`` of the last step; ``kept``: the positions of sentences that stay."""
        for step in self.steps:
            step.follow(rows, kept)

    def log_probs(self, tokens: Tensor, temperature: float) -> tuple[Tensor, Tensor | None]:
        """As ``EnsembleModel.forward_decoder``: log-probabilities ``(rows, vocab)`` in float32, and attention."""
        votes: list[Tensor] = []
        attention: Tensor | None = None
        for step in self.steps:
            logits, seen = step.logits(tokens)
            if temperature != 1.0:
                logits = logits.div_(temperature)
            votes.append(torch.log_softmax(logits, dim=-1, dtype=torch.float32))
            if seen is not None:
                attention = seen if attention is None else attention + seen
        lprobs = votes[0]
        if len(votes) > 1:
            lprobs = torch.logsumexp(torch.stack(votes), dim=0) - math.log(len(votes))
            attention = None if attention is None else attention / len(votes)
        if lprobs.size(0) < tokens.size(0):
            # The hypotheses of a sentence were still the same.
            lprobs = lprobs.repeat_interleave(self.beam, dim=0)
            attention = None if attention is None else attention.repeat_interleave(self.beam, dim=0)
        return lprobs, attention


def _is_known_source(encoder_out: Any, wanted: bool, bsz: int) -> bool:
    if not wanted:
        return encoder_out is None
    if not isinstance(encoder_out, dict):
        return False
    states, padding = encoder_out.get("encoder_out"), encoder_out.get("encoder_padding_mask")
    return (
        isinstance(states, list)
        and len(states) == 1
        and isinstance(states[0], Tensor)
        and states[0].dim() == 3
        and states[0].size(1) == bsz
        and isinstance(padding, list)
    )
