"""Random continuations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fairseq.search.base import Candidates, Opt, Search

__all__ = ["Sampling"]


class Sampling(Search):
    """Draw the next word of every hypothesis.

    Args:
        sampling_topk: draw among the k most likely words (Fan et al. 2018); -1 for all.
        sampling_topp: draw among the likely words that together reach this mass (Holtzman et al. 2020); -1 for all.
    """

    def __init__(self, tgt_dict: Any, sampling_topk: int = -1, sampling_topp: float = -1.0) -> None:
        super().__init__(tgt_dict)
        self.sampling_topk = sampling_topk
        self.sampling_topp = sampling_topp

    def _nucleus(self, lprobs: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities of the words that reach the mass, 0 for the rest, and their ids; best first."""
        probs, ids = lprobs.exp().sort(dim=-1, descending=True)
        # A word stays while the mass before it is short of p; so the first stays, and the one that crosses p.
        before = probs.cumsum(dim=-1) - probs
        keep = before < self.sampling_topp
        keep[..., 0] = True
        width = int(keep.sum(dim=-1).max())
        return probs[..., :width].masked_fill(~keep[..., :width], 0.0), ids[..., :width]

    @torch.jit.export
    def step(
        self, step: int, lprobs: Tensor, scores: Opt, prev_output_tokens: Opt = None, original_batch_idxs: Opt = None
    ) -> Candidates:
        """See ``Search.step``; one candidate per beam, scored by the model's own probability."""
        bsz, beam, _ = lprobs.shape
        if step == 0:
            lprobs = lprobs[:, :1]
        ids: Tensor | None = None
        if self.sampling_topp > 0:
            probs, ids = self._nucleus(lprobs)
        elif self.sampling_topk > 0:
            best, ids = lprobs.topk(min(self.sampling_topk, lprobs.size(2)))
            probs = best.exp()
        else:
            probs = lprobs.exp()
        width = probs.size(2)
        if step == 0:
            drawn = torch.multinomial(probs.reshape(bsz, width), beam, replacement=True).view(bsz, 1, beam)
        else:
            drawn = torch.multinomial(probs.reshape(bsz * beam, width), 1, replacement=True).view(bsz, beam, 1)
        tokens = drawn if ids is None else ids.gather(2, drawn)
        chosen = lprobs.gather(2, tokens).view(bsz, beam)
        tokens = tokens.view(bsz, beam)
        if step == 0:
            return chosen, tokens, torch.zeros_like(tokens)
        if scores is None:
            raise ValueError(f"step {step} of sampling needs the scores of the words before")
        beams = torch.arange(beam, device=tokens.device).expand(bsz, beam)
        return chosen + scores[:, :, step - 1], tokens, beams
