"""The hypotheses under way.

Shapes:  n = sentences still in the batch, B = beam, N = n x B rows (B in a row share a sentence), S = source length.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

__all__ = ["AttentionHistory", "BeamState"]


class AttentionHistory:
    """Attention of every step, in the row order of its own step, with pointers to the rows of the step before.

    Following pointers back once, at the end, replaces reordering everything after every step.
    """

    def __init__(self) -> None:
        self.steps: list[Tensor] = []
        self.parents: list[Tensor | None] = []

    def append(self, attention: Tensor) -> None:
        """Remember ``(N, S)`` of the step that was just decoded."""
        self.steps.append(attention)

    def follow(self, rows: Tensor | None) -> None:
        """Say which row of the last step every row of the next one continues; ``None`` when nothing moved."""
        self.parents.append(rows)

    def trace(self, rows: Tensor, step: int) -> Tensor:
        """Attention ``(rows, S, step + 1)`` of hypotheses that stand in ``rows`` at ``step``."""
        columns = []
        for t in range(step, -1, -1):
            columns.append(self.steps[t].index_select(0, rows))
            if t > 0:
                rows = self._before(rows, t)
        return torch.stack(columns[::-1], dim=2)

    def trace_all(self, ends: list[tuple[int, Tensor]]) -> list[Tensor]:
        """``trace`` for several groups ``(step, rows)`` in one walk; steps must not decrease from group to group."""
        total = sum(rows.numel() for _, rows in ends)
        first = self.steps[0]
        source = first.size(1)
        result = first.new_zeros(total, ends[-1][0] + 1, source)
        waiting = list(ends)
        current: Tensor | None = None
        for t in range(ends[-1][0], -1, -1):
            while waiting and waiting[-1][0] == t:
                rows = waiting.pop()[1]
                current = rows if current is None else torch.cat([current, rows])
            if current is None:
                continue
            result[: current.numel(), t] = self.steps[t].index_select(0, current)
            if t > 0:
                current = self._before(current, t)
        groups: list[Tensor] = []
        start = 0
        for step, rows in reversed(ends):
            groups.append(result[start : start + rows.numel(), : step + 1].transpose(1, 2))
            start += rows.numel()
        return groups[::-1]

    def _before(self, rows: Tensor, step: int) -> Tensor:
        parents = self.parents[step - 1]
        return rows if parents is None else parents.index_select(0, rows)


class BeamState:
    """Words and cumulative scores of all hypotheses; the only code that moves them.

    Attributes:
        tokens: int64 ``(N, max_len + 2)``; column 0 is the first symbol, the rest words, then padding.
        scores: float ``(N, max_len + 1)``, cumulative.
        ignore: bool ``(n, B)``: beams that repeat a used-up candidate and may not finish again.
        all_live: whether ``ignore`` is known to be all false, so that it need not be read.
        sentences: NumPy ``(n,)``, positions in the original batch.
        batch_ids: int64 ``(n,)``, the caller's ids of the sentences.
        reorder: rows of the last step that the next one continues, ``None`` when nothing moved.
        kept: positions of the sentences that stayed when some left after the last step, else ``None``.
    """

    def __init__(self, batch_ids: Tensor, beam: int, max_len: int, first: int, pad: int, device: torch.device) -> None:
        bsz = batch_ids.numel()
        self.beam = beam
        self.tokens = torch.full((bsz * beam, max_len + 2), pad, dtype=torch.long, device=device)
        self.tokens[:, 0] = first
        self.scores = torch.zeros(bsz * beam, max_len + 1, device=device)
        self.ignore = torch.zeros(bsz, beam, dtype=torch.bool, device=device)
        self.all_live = True
        self.sentences = np.arange(bsz)
        self.batch_ids = batch_ids
        self.attention = AttentionHistory()
        self.reorder: Tensor | None = None
        self.kept: Tensor | None = None
        self._places = torch.arange(bsz)
        self._row_of = torch.arange(bsz, device=device).mul_(beam).unsqueeze(1)
        self._candidate_order: Tensor | None = None

    @property
    def bsz(self) -> int:
        """Sentences in the batch."""
        return len(self.sentences)

    def candidate_rows(self, beams: Tensor) -> Tensor:
        """Beams ``(n, candidates)`` within their sentences -> rows."""
        return beams + self._row_of[: beams.size(0)]

    def endings(self, tokens: Tensor, scores: Tensor, eos: int) -> Tensor:
        """Which candidates ``(n, candidates)`` end their hypothesis."""
        ends = tokens.eq(eos) & scores.ne(-math.inf)
        if not self.all_live:
            ends[:, : self.beam] &= ~self.ignore
        return ends

    def prune(self, keep: np.ndarray) -> Tensor:
        """Remove all sentences but those at the positions ``keep``; returns them as a tensor."""
        self._places = torch.from_numpy(keep)
        kept = self.kept = self._places.to(self.tokens.device, non_blocking=True)
        self.sentences = self.sentences[keep]
        self.batch_ids = self.pruned(self.batch_ids)
        self.ignore = self.ignore.index_select(0, kept)
        return kept

    def pruned(self, tensor: Tensor) -> Tensor:
        """What the last ``prune`` left of a tensor with one entry per sentence, wherever it is."""
        # Fetching positions back from a GPU would wait for it.
        return tensor.index_select(0, self._places.to(tensor.device, non_blocking=True))

    def choose(self, ends: Tensor | None) -> Tensor | None:
        """The candidates that live on, ``(n, B)``, best first; ``None`` for simply the first B.

        Args:
            ends: bool ``(n, candidates)``; ``None`` when it is known that none of the first B ends.

        Raises:
            AssertionError: a sentence has no candidate left.
        """
        if ends is None and self.all_live:
            return None
        if ends is None:
            raise ValueError("the endings must be given while some beams are ignored")
        count = ends.size(1)
        if self._candidate_order is None or self._candidate_order.numel() != count:
            self._candidate_order = torch.arange(count, device=ends.device)
        used = ends.clone()
        used[:, : self.beam] |= self.ignore
        rank, chosen = (used * count + self._candidate_order).topk(self.beam, dim=1, largest=False)
        self.ignore = rank.ge(count)
        # With two candidates per beam at least B live on; otherwise only looking tells. On a GPU looking waits.
        if count >= 2 * self.beam:
            self.all_live = self.ignore.device.type != "cpu" or not bool(self.ignore.any())
        else:
            self.all_live = False
            if bool(self.ignore.all(dim=1).any()):
                raise AssertionError("a sentence has no hypothesis left that could go on")
        return chosen

    def advance(self, step: int, rows: Tensor, tokens: Tensor, scores: Tensor) -> None:
        """Let every hypothesis continue ``rows`` with a word.

        Args:
            step: the step that was searched.
            rows: ``(n' B,)``, rows of the last step, before sentences were removed.
            tokens, scores: ``(n' B,)``, the words and the cumulative scores.
        """
        width = step + 1
        still = self.kept is None and (
            self.beam == 1 or (rows.device.type == "cpu" and bool(torch.equal(rows, self._row_of_all(rows))))
        )
        if self.kept is not None:
            self.tokens = self.tokens.index_select(0, rows)
            self.scores = self.scores.index_select(0, rows)
        elif not still:
            self.tokens[:, :width] = self.tokens[:, :width].index_select(0, rows)
            self.scores[:, :step] = self.scores[:, :step].index_select(0, rows)
        self.tokens[:, width] = tokens
        self.scores[:, step] = scores
        self.reorder = None if still else rows
        self.attention.follow(self.reorder)

    def _row_of_all(self, rows: Tensor) -> Tensor:
        return torch.arange(rows.numel(), device=rows.device)
