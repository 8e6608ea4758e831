"""Beam search that must say given phrases (Post & Vilar 2018; Hu et al. 2019)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from fairseq.search.base import Candidates, Opt, Search
from fairseq.search.beam import best_continuations
from fairseq.token_generation_constraints import ConstraintState, initial_state

__all__ = ["LexicallyConstrainedBeamSearch"]


class LexicallyConstrainedBeamSearch(Search):
    """Fill the beam evenly from banks: hypotheses with the same number of constraint words in place.

    Args:
        representation: ``ordered`` or ``unordered``, how the phrases of a sentence may follow each other.

    Attributes:
        constraint_states: per sentence, the states of its beams, or after ``step`` of its candidates.
    """

    def __init__(self, tgt_dict: Any, representation: str) -> None:
        super().__init__(tgt_dict)
        self.representation = representation
        self.num_cands = 0
        self.supports_constraints = True
        self.constraint_states: list[list[ConstraintState]] = []

    def __prepare_scriptable__(self) -> Search:
        return self._refuse_scripting("the states of its constraints are Python objects")

    def init_constraints(self, batch_constraints: Tensor | None, beam_size: int) -> None:
        """Read packed constraints ``(bsz, width)``; ``None`` constrains nothing."""
        self.constraint_states = []
        for row in batch_constraints.cpu() if batch_constraints is not None else ():
            self.constraint_states.append([initial_state(self.representation, row)] * beam_size)

    def prune_sentences(self, batch_idxs: Tensor) -> None:
        """Keep the states of these sentences."""
        if self.constraint_states:
            self.constraint_states = [self.constraint_states[i] for i in batch_idxs.tolist()]

    def update_constraints(self, active_hypos: Tensor) -> None:
        """Keep, per sentence, the states of the candidates that live on."""
        if self.constraint_states:
            self.constraint_states = [
                [states[i] for i in chosen] for states, chosen in zip(self.constraint_states, active_hypos.tolist())
            ]

    def step(
        self, step: int, lprobs: Tensor, scores: Opt, prev_output_tokens: Opt = None, original_batch_idxs: Opt = None
    ) -> Candidates:
        """See ``Search.step``; a hypothesis may end only when its constraints are met."""
        bsz, beam, vocab_size = lprobs.shape
        if not self.constraint_states:
            nothing = torch.zeros(bsz, 1, dtype=torch.long)
            self.init_constraints(nothing, beam)
        if step > 0:
            if scores is None:
                raise ValueError(f"step {step} of a beam search needs the scores of the words before")
            owing = [[not state.finished for state in states] for states in self.constraint_states]
            lprobs[:, :, self.eos].masked_fill_(torch.tensor(owing, device=lprobs.device), -math.inf)
            lprobs = lprobs + scores[:, :, step - 1, None]
        else:
            lprobs = lprobs[:, :1]
        self.num_cands = min(beam * 2, lprobs.size(1) * vocab_size - 1)
        best = best_continuations(lprobs, None, self.num_cands)
        rows = []
        for sentence in range(bsz):
            states, *row = self.step_sentence(
                step,
                sentence,
                lprobs[sentence],
                self.constraint_states[sentence],
                best[2][sentence],
                best[1][sentence],
                best[0][sentence],
            )
            self.constraint_states[sentence] = states
            rows.append(row)
        scores_out, tokens_out, beams_out = (torch.stack(parts) for parts in zip(*rows))
        return scores_out, tokens_out, beams_out

    def step_sentence(
        self,
        step: int,
        sentno: int,
        lprobs: Tensor,
        constraint_states: list[ConstraintState],
        beams_buf: Tensor,
        indices_buf: Tensor,
        scores_buf: Tensor,
    ) -> tuple[list[ConstraintState], Tensor, Tensor, Tensor]:
        """Choose the candidates of one sentence.

        Args:
            sentno: its position in the batch.
            lprobs: ``(beams looked at, vocab)``, cumulative.
            constraint_states: one per beam.
            beams_buf, indices_buf, scores_buf: ``(candidates,)``, the best continuations regardless of constraints.

        Returns:
            ``(states, scores, tokens, beams)`` of the candidates, best first.
        """
        proposals = list(zip(beams_buf.tolist(), indices_buf.tolist(), scores_buf.tolist()))
        proposals += self._helpful(step, lprobs, constraint_states)
        ranked = []
        for beam, token, score in proposals:
            state = constraint_states[beam].advance(token)
            missing = state.num_constraint_tokens - state.bank
            ranked.append((-100.0 * missing + score, beam, token, score, state))
        # Candidates out of reach are all equal, and their order decides how many of the others get into the beam. The
        # order of torch's sort is what recorded outputs were made with.
        ranked = [ranked[i] for i in torch.tensor([item[0] for item in ranked]).sort(descending=True)[1].tolist()]
        kept = [
            item
            for i, item in enumerate(ranked)
            if i == 0 or (item[1], item[2]) != (ranked[i - 1][1], ranked[i - 1][2])
        ]
        striped = []
        rank, bank = 0, -1
        for order, item in enumerate(kept):
            # Sorted by score a bank is one run, except among words out of reach: those start runs of their own.
            rank = rank + 1 if item[4].bank == bank else 0
            bank = item[4].bank
            striped.append((rank, -bank, order, item))
        striped.sort(key=lambda entry: entry[:3])
        chosen = [entry[3] for entry in striped[: self.num_cands]]
        while len(chosen) < self.num_cands:
            # A tiny vocabulary: repeat the last one as a candidate that can never win.
            last = chosen[-1]
            chosen.append((-math.inf, last[1], last[2], -math.inf, last[4]))
        states = [item[4] for item in chosen]
        scores = torch.tensor([item[3] for item in chosen], dtype=scores_buf.dtype, device=scores_buf.device)
        tokens = torch.tensor([item[2] for item in chosen], dtype=indices_buf.dtype, device=indices_buf.device)
        beams = torch.tensor([item[1] for item in chosen], dtype=beams_buf.dtype, device=beams_buf.device)
        return states, scores, tokens, beams

    def _helpful(
        self, step: int, lprobs: Tensor, constraint_states: list[ConstraintState]
    ) -> list[tuple[int, int, float]]:
        """Candidates that pure score would not propose: each beam's best word, and words that meet constraints."""
        proposals: list[tuple[int, int, float]] = []
        if step > 0:
            values, tokens = lprobs.max(dim=1)
            proposals += list(zip(range(lprobs.size(0)), tokens.tolist(), values.tolist()))
        wanted = [
            (beam, token)
            for beam, state in enumerate(constraint_states[: lprobs.size(0)])
            for token in sorted(state.next_tokens())
        ]
        if wanted:
            rows, columns = torch.tensor(wanted, device=lprobs.device).unbind(1)
            proposals += [(b, t, s) for (b, t), s in zip(wanted, lprobs[rows, columns].tolist())]
        return proposals
