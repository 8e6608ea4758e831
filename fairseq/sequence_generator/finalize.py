"""Finished hypotheses: collecting them while the search goes on, building the result when it is over."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fairseq.sequence_generator.beam_state import BeamState

__all__ = ["Collector", "append_hypotheses", "hypothesis"]

Hypothesis = dict[str, Tensor]


def hypothesis(tokens: Tensor, score: Tensor, attention: Tensor | None, positional_scores: Tensor) -> Hypothesis:
    """One entry of the result."""
    return {
        "tokens": tokens,
        "score": score,
        "attention": torch.empty(0) if attention is None else attention,
        "alignment": torch.empty(0),
        "positional_scores": positional_scores,
    }


def final_scores(totals: Tensor, length: int, normalize: bool, penalty: float) -> Tensor:
    """Cumulative scores of hypotheses with ``length`` words, their end included, as they compete."""
    return totals / length**penalty if normalize else totals


def differences(cumulative: Tensor) -> Tensor:
    """Scores of single words ``(rows, length)`` from cumulative ones."""
    single = cumulative.clone()
    single[:, 1:] -= cumulative[:, :-1]
    return single


class Collector:
    """Takes finished hypotheses out of the beam in groups, and turns them into the result once.

    Args:
        bsz: sentences in the original batch.
        beam: hypotheses per sentence.
    """

    def __init__(self, bsz: int, beam: int, eos: int, normalize: bool, penalty: float) -> None:
        self.beam = beam
        self.eos = eos
        self.normalize = normalize
        self.penalty = penalty
        self.counts = np.zeros(bsz, dtype=np.int64)
        # Per group: step, sentences, words (rows, step + 1), cumulative scores (rows, step + 1), rows.
        self.groups: list[tuple[int, np.ndarray, Tensor, Tensor, Tensor]] = []

    def take(
        self, state: BeamState, step: int, ends: np.ndarray, rows: Tensor, scores: Tensor, last: bool
    ) -> np.ndarray:
        """Collect the candidates that ended, as long as their sentence wants more.

        Args:
            ends: NumPy bool ``(n, B)``.
            rows, scores: ``(n, candidates)``: the hypothesis each candidate continues, its cumulative score.
            last: no further step follows.

        Returns:
            NumPy bool ``(n,)``: sentences that are complete now.
        """
        wanted = (self.beam - self.counts[state.sentences])[:, None]
        taken = ends & (np.cumsum(ends, axis=1) <= wanted)
        self.counts[state.sentences] += taken.sum(axis=1)
        sentences, ranks = np.nonzero(taken)
        if len(sentences):
            flat = torch.from_numpy(sentences * rows.size(1) + ranks).to(rows.device, non_blocking=True)
            parents = rows.reshape(-1).index_select(0, flat)
            words = state.tokens[:, 1 : step + 1].index_select(0, parents)
            words = torch.cat([words, words.new_full((len(sentences), 1), self.eos)], dim=1)
            cumulative = state.scores[:, :step].index_select(0, parents)
            total = scores.reshape(-1).index_select(0, flat).to(cumulative.dtype).unsqueeze(1)
            cumulative = torch.cat([cumulative, total], dim=1)
            self.groups.append((step, state.sentences[sentences], words, cumulative, parents))
        return (self.counts[state.sentences] >= self.beam) | last

    def result(self, state: BeamState, src_lengths: Tensor, match_source_len: bool) -> list[list[Hypothesis]]:
        """All hypotheses, for each sentence of the original batch, best first."""
        found: list[list[tuple[float, Hypothesis]]] = [[] for _ in self.counts]
        attention: list[Any] = [None] * len(self.groups)
        if state.attention.steps and self.groups:
            attention = state.attention.trace_all([(group[0], group[4]) for group in self.groups])
        competing = []
        for step, sentences, _, cumulative, _ in self.groups:
            scores = final_scores(cumulative[:, -1], step + 1, self.normalize, self.penalty)
            if match_source_len:
                longer = src_lengths[torch.from_numpy(sentences).to(src_lengths.device)] < step
                scores = scores.masked_fill(longer, -math.inf)
            competing.append(scores)
        keys = torch.cat(competing).tolist() if competing else []
        at = 0
        for (_, sentences, words, cumulative, _), scores, seen in zip(self.groups, competing, attention):
            columns = zip(
                sentences.tolist(),
                words.unbind(),
                scores.unbind(),
                differences(cumulative).unbind(),
                [None] * len(sentences) if seen is None else seen.unbind(),
            )
            for sentence, tokens, score, single, attended in columns:
                found[sentence].append((keys[at], hypothesis(tokens, score, attended, single)))
                at += 1
        # Python's sort is stable: equal scores stay in the order in which they finished.
        return [[entry for _, entry in sorted(entries, key=lambda e: -e[0])] for entries in found]


def append_hypotheses(
    generator: Any,
    step: int,
    bbsz_idx: Tensor,
    eos_scores: Tensor,
    tokens: Tensor,
    scores: Tensor,
    finalized: list[list[Hypothesis]],
    finished: list[bool],
    attn: Tensor | None,
    src_lengths: Tensor,
) -> dict[int, int]:
    """Append ended hypotheses to ``finalized``, one by one.

    Returns:
        position in the original batch -> position in the current one, for the sentences that got something.
    """
    beam = generator.beam_size
    words = tokens.index_select(0, bbsz_idx)[:, 1 : step + 1]
    words = torch.cat([words, words.new_full((words.size(0), 1), generator.eos)], dim=1)
    cumulative = scores.index_select(0, bbsz_idx)[:, :step]
    cumulative = torch.cat([cumulative, eos_scores.to(cumulative.dtype).unsqueeze(1)], dim=1)
    attended = attn.index_select(0, bbsz_idx)[:, :, 1 : step + 2] if attn is not None else None
    single = differences(cumulative)
    competing = final_scores(cumulative[:, -1], step + 1, generator.normalize_scores, generator.len_penalty)
    # The batch shrinks as sentences finish: the k-th of those that remain is the k-th unfinished of the original.
    remaining = [i for i, done in enumerate(finished) if not done]
    touched: dict[int, int] = {}
    for i, row in enumerate(bbsz_idx.tolist()):
        position = row // beam
        sentence = remaining[position]
        touched[sentence] = position
        score = competing[i]
        if generator.match_source_len and step > src_lengths[position]:
            score = torch.tensor(-math.inf).to(score)
        if len(finalized[sentence]) < beam:
            seen = attended[i] if attended is not None else None
            finalized[sentence].append(hypothesis(words[i], score, seen, single[i]))
    return touched
