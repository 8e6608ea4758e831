"""The contract of a search strategy."""

from __future__ import annotations

from typing import Any, Optional

import torch
from torch import Tensor, nn

__all__ = ["Candidates", "Opt", "Search"]

Opt = Optional[Tensor]
# (scores, tokens, beams), each (bsz, candidates)
Candidates = tuple[Tensor, Tensor, Tensor]


class Search(nn.Module):
    """Choose candidates for the next word of every hypothesis; subclasses write ``step``.

    Attributes:
        supports_constraints: whether ``init_constraints`` does something.
        stop_on_max_len: whether generation ends at the length limit without the closing step.
        src_lengths: ``(bsz,)``, set before every step when the class says ``needs_src_lengths``.
    """

    def __init__(self, tgt_dict: Any) -> None:
        super().__init__()
        self.supports_constraints = self.stop_on_max_len = False
        self.vocab_size = len(tgt_dict)
        self.pad, self.eos, self.unk = tgt_dict.pad(), tgt_dict.eos(), tgt_dict.unk()
        self.src_lengths = torch.tensor(-1)

    def _refuse_scripting(self, reason: str) -> Search:
        raise NotImplementedError(f"{type(self).__name__} cannot be scripted: {reason}")

    def step(
        self, step: int, lprobs: Tensor, scores: Opt, prev_output_tokens: Opt = None, original_batch_idxs: Opt = None
    ) -> Candidates:
        """Take one search step.

        Args:
            step: the number of words every hypothesis has, not counting its first symbol.
            lprobs: ``(bsz, beam, vocab)``, log-probabilities of the next word.
            scores: ``(bsz, beam, step)``, cumulative scores of the words so far; ``None`` or empty at step 0.
            prev_output_tokens: ``(bsz * beam, step + 1)``.
            original_batch_idxs: ``(bsz,)``, the ids of the sentences that are still in the batch.

        Returns:
            ``(scores, tokens, beams)``, each ``(bsz, candidates)`` in decreasing preference: cumulative score, word,
            and the beam it continues. Twice as many candidates as beams let every finished one be replaced.
        """
        raise NotImplementedError

    @torch.jit.export
    def set_src_lengths(self, src_lengths: Tensor) -> None:
        """Tell the strategy how long the sources in the batch are."""
        self.src_lengths = src_lengths

    @torch.jit.export
    def init_constraints(self, batch_constraints: Tensor | None, beam_size: int) -> None:
        """Begin a batch. Strategies with ``supports_constraints`` read the packed constraints here."""

    @torch.jit.export
    def prune_sentences(self, batch_idxs: Tensor) -> None:
        """Keep only these positions of the batch, in this order; the others are finished."""

    @torch.jit.export
    def update_constraints(self, active_hypos: Tensor) -> None:
        """Learn which candidates ``(bsz, beam)`` of the last step live on."""
