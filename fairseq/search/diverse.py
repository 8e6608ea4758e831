"""Searches that spread over different outputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fairseq.search.base import Candidates, Opt, Search
from fairseq.search.beam import BeamSearch
from fairseq.search.top import divide_flat, top_k

__all__ = ["DiverseBeamSearch", "DiverseSiblingsSearch"]


class DiverseBeamSearch(Search):
    """Groups of beams; a group is marked down for words that groups before it chose (Vijayakumar et al. 2016).

    Args:
        num_groups: divides the beam size; group g owns beams g, g + num_groups, ...
        diversity_strength: log-probability taken off per choice of the same word.
        diversity_discount: agreements of two groups add to that count; each step multiplies old ones by this.
        candidate_multiple: candidates per beam inside a group.
    """

    def __init__(
        self,
        tgt_dict: Any,
        num_groups: int,
        diversity_strength: float,
        diversity_discount: float = 1.0,
        candidate_multiple: int = 1,
    ) -> None:
        super().__init__(tgt_dict)
        self.num_groups, self.candidate_multiple = num_groups, candidate_multiple
        self.diversity_discount = diversity_discount
        # Negative: it is added to the scores.
        self.diversity_strength = -diversity_strength
        self.beam = BeamSearch(tgt_dict)
        # (bsz, groups, groups): agreements of two groups, by position in the batch.
        self.group_overlap = torch.empty(0)

    @torch.jit.export
    def prune_sentences(self, batch_idxs: Tensor) -> None:
        """Forget the agreements of finished sentences."""
        if self.group_overlap.numel() > 0:
            self.group_overlap = self.group_overlap.index_select(0, batch_idxs.to(self.group_overlap.device))

    @torch.jit.export
    def step(
        self, step: int, lprobs: Tensor, scores: Opt, prev_output_tokens: Opt = None, original_batch_idxs: Opt = None
    ) -> Candidates:
        """See ``Search.step``; candidates alternate between the groups.

        Raises:
            ValueError: the beam cannot be divided into the groups.
        """
        bsz, beam, _ = lprobs.shape
        groups = self.num_groups
        if beam % groups != 0:
            raise ValueError("DiverseBeamSearch requires --beam to be divisible by the number of groups")
        if step == 0 or self.group_overlap.size(0) != bsz:
            self.group_overlap = torch.zeros(bsz, groups, groups, device=lprobs.device)
        self.group_overlap = self.group_overlap * self.diversity_discount
        all_scores: list[Tensor] = []
        all_tokens: list[Tensor] = []
        all_beams: list[Tensor] = []
        for g in range(groups):
            own = lprobs[:, g::groups]
            totals = scores[:, g::groups] if step > 0 and scores is not None else None
            if g > 0:
                own = own + self._penalty(step, g, all_tokens, own)
            group_scores, tokens, beams = self.beam.step(
                step, own.contiguous(), totals, candidate_multiple=self.candidate_multiple
            )
            for other, chosen in enumerate(all_tokens):
                self.group_overlap[:, g, other] += tokens.eq(chosen).sum(dim=1)
            all_scores.append(group_scores)
            all_tokens.append(tokens)
            all_beams.append(beams * groups + g)
        return _interleave(all_scores), _interleave(all_tokens), _interleave(all_beams)

    def _penalty(self, step: int, group: int, chosen: list[Tensor], like: Tensor) -> Tensor:
        """``(bsz, 1, vocab)``, what the words of earlier groups cost this one."""
        counts = torch.zeros(like.size(0), like.size(2), dtype=like.dtype, device=like.device)
        for other, tokens in enumerate(chosen):
            weight = torch.ones(tokens.shape, dtype=like.dtype, device=like.device)
            if step > 0:
                weight += self.group_overlap[:, group, other, None].to(like.dtype)
            counts.scatter_add_(1, tokens, weight)
        return (counts * self.diversity_strength).unsqueeze(1)


def _interleave(parts: list[Tensor]) -> Tensor:
    """Candidates ``(bsz, k)`` of each group -> ``(bsz, k * groups)``, the groups in turn."""
    return torch.stack(parts, dim=2).view(parts[0].size(0), -1)


class DiverseSiblingsSearch(Search):
    """Beam search that marks down the second, third, ... child of the same hypothesis (Li et al. 2016).

    Args:
        diversity_rate: log-probability taken off per rank among the siblings.
    """

    def __init__(self, tgt_dict: Any, diversity_rate: float) -> None:
        super().__init__(tgt_dict)
        self.diversity_rate = diversity_rate
        self.beam = BeamSearch(tgt_dict)

    @torch.jit.export
    def step(
        self, step: int, lprobs: Tensor, scores: Opt, prev_output_tokens: Opt = None, original_batch_idxs: Opt = None
    ) -> Candidates:
        """See ``Search.step``."""
        if step == 0:
            return self.beam.step(step, lprobs, scores)
        if scores is None:
            raise ValueError(f"step {step} of a beam search needs the scores of the words before")
        bsz, beam, vocab_size = lprobs.shape
        k = min(beam * 2, beam * vocab_size - 1)
        per_beam = min(k, vocab_size)
        values, tokens = top_k(lprobs.reshape(bsz * beam, vocab_size), per_beam)
        ranks = torch.arange(1, per_beam + 1, device=lprobs.device, dtype=values.dtype)
        values = values.view(bsz, beam, per_beam) + scores[:, :, step - 1, None] - ranks * self.diversity_rate
        best, where = values.view(bsz, beam * per_beam).topk(k, dim=1)
        beams, _ = divide_flat(where, per_beam)
        return best, tokens.view(bsz, beam * per_beam).gather(1, where), beams
