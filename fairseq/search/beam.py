"""Beam search, and beam search within limits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fairseq.search.base import Candidates, Opt, Search
from fairseq.search.top import divide_flat, top_k

__all__ = ["BeamSearch", "LengthConstrainedBeamSearch", "PrefixConstrainedBeamSearch"]


def best_continuations(lprobs: Tensor, totals: Tensor | None, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """The k best continuations over all beams of each sentence.

    Args:
        lprobs: ``(bsz, beam, vocab)``.
        totals: ``(bsz, beam)``, what each beam has scored so far; ``None`` for nothing.
        k: how many.

    Returns:
        ``(scores, tokens, beams)``, each ``(bsz, k)``, best first.
    """
    bsz, beam, vocab_size = lprobs.shape
    if totals is not None and k <= vocab_size and lprobs.device.type == "cpu":
        # The k best of a sentence are among the k best of each beam: the totals are added to few values instead of all.
        found, tokens = top_k(lprobs.reshape(bsz * beam, vocab_size), k)
        found = found.view(bsz, beam, k) + totals.unsqueeze(-1)
        scores, where = found.view(bsz, beam * k).topk(k, dim=1)
        return scores, tokens.view(bsz, beam * k).gather(1, where), torch.div(where, k, rounding_mode="floor")
    if totals is not None:
        lprobs = lprobs + totals.unsqueeze(-1)
    scores, where = top_k(lprobs.reshape(bsz, beam * vocab_size), k)
    beams, tokens = divide_flat(where, vocab_size)
    return scores, tokens, beams


class BeamSearch(Search):
    """Keep the best continuations of each sentence."""

    def __init__(self, tgt_dict: Any) -> None:
        super().__init__(tgt_dict)
        self.constraint_states = None

    @torch.jit.export
    def step(
        self, step: int, lprobs: Tensor, scores: Opt, prev_output_tokens: Opt = None, original_batch_idxs: Opt = None,
        candidate_multiple: int = 2,
    ) -> Candidates:  # fmt: skip
        """See ``Search.step``; returns ``candidate_multiple * beam`` candidates where the vocabulary allows."""
        _, beam, vocab_size = lprobs.shape
        if step == 0:
            # All beams are the same yet: look at one, or the same word would fill the beam.
            lprobs, totals = lprobs[:, :1], None
        else:
            if scores is None:
                raise ValueError(f"step {step} of a beam search needs the scores of the words before")
            totals = scores[:, :, step - 1]
        k = min(candidate_multiple * beam, lprobs.size(1) * vocab_size - 1)
        return best_continuations(lprobs, totals, k)


class PrefixConstrainedBeamSearch(Search):
    """Beam search over the words a callable allows (De Cao et al. 2021).

    Args:
        prefix_allowed_tokens_fn: ``f(batch_id, tokens)`` -> list of allowed ids; ``tokens`` is the hypothesis so far,
            first symbol included, as a 1-D tensor.
    """

    def __init__(self, tgt_dict: Any, prefix_allowed_tokens_fn: Callable[[Any, Tensor], list[int]]) -> None:
        super().__init__(tgt_dict)
        self.prefix_allowed_tokens_fn = prefix_allowed_tokens_fn
        self.stop_on_max_len = True

    def __prepare_scriptable__(self) -> Search:
        return self._refuse_scripting("prefix_allowed_tokens_fn is a Python function")

    def apply_mask(self, x: Tensor, prev_output_tokens: Tensor, original_batch_idxs: Tensor) -> Tensor:
        """``(bsz, beam, vocab)`` of 0 for allowed words and ``-inf`` for the others."""
        beam = x.size(1)
        mask = torch.full_like(x, -math.inf)
        hypotheses = prev_output_tokens.view(-1, beam, prev_output_tokens.size(-1))
        for sentence, batch_id in enumerate(original_batch_idxs.tolist()):
            for i in range(beam):
                mask[sentence, i, self.prefix_allowed_tokens_fn(batch_id, hypotheses[sentence, i])] = 0.0
        return mask

    def step(
        self, step: int, lprobs: Tensor, scores: Opt, prev_output_tokens: Opt = None, original_batch_idxs: Opt = None
    ) -> Candidates:
        """See ``Search.step``; returns ``beam`` candidates."""
        bsz, beam, vocab_size = lprobs.shape
        if prev_output_tokens is None:
            raise ValueError("prefix-constrained search needs the words so far (prev_output_tokens)")
        if original_batch_idxs is None:
            original_batch_idxs = torch.arange(bsz)
        allowed = lprobs + self.apply_mask(lprobs, prev_output_tokens, original_batch_idxs)
        if step == 0:
            allowed, totals = allowed[:, :1], None
        else:
            if scores is None:
                raise ValueError(f"step {step} of a beam search needs the scores of the words before")
            totals = scores[:, :, step - 1]
        k = min(beam, allowed.size(1) * vocab_size - 1)
        return best_continuations(allowed, totals, k)


class LengthConstrainedBeamSearch(Search):
    """Beam search whose sentences end between two lengths, linear in the source length.

    A sentence of n source words ends after at least ``min_len_a * n + min_len_b`` and at most
    ``max_len_a * n + max_len_b`` words; ending at the upper limit costs nothing.
    """

    def __init__(self, tgt_dict: Any, min_len_a: float, min_len_b: float, max_len_a: float, max_len_b: float) -> None:
        super().__init__(tgt_dict)
        self.min_len_a, self.min_len_b = min_len_a, min_len_b
        self.max_len_a, self.max_len_b = max_len_a, max_len_b
        self.beam = BeamSearch(tgt_dict)
        self.needs_src_lengths = True

    @torch.jit.export
    def step(
        self, step: int, lprobs: Tensor, scores: Opt, prev_output_tokens: Opt = None, original_batch_idxs: Opt = None
    ) -> Candidates:
        """See ``Search.step``; writes the limits into ``lprobs``."""
        lengths = self.src_lengths.to(lprobs.device).float()
        too_short = step < lengths * self.min_len_a + self.min_len_b
        must_end = step >= lengths * self.max_len_a + self.max_len_b
        ending = lprobs[:, :, self.eos]
        ending.masked_fill_(too_short.unsqueeze(1), -math.inf)
        ending.masked_fill_(must_end.unsqueeze(1), 0.0)
        return self.beam.step(step, lprobs, scores, prev_output_tokens, original_batch_idxs)
