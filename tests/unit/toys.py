"""A dictionary, a model whose scores are tables, and batches for it; no model code is involved."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from fairseq.data import Dictionary
from fairseq.models import FairseqDecoder, FairseqEncoder, FairseqEncoderDecoderModel, FairseqIncrementalDecoder


def dictionary(size: int = 14) -> Dictionary:
    words = Dictionary()
    for i in range(size):
        words.add_symbol(f"w{i}")
    return words


class TableEncoder(FairseqEncoder):
    """Hands the source on."""

    def forward(self, src_tokens: Tensor, src_lengths: Tensor | None = None, **kwargs: Any) -> Any:
        return {"source": src_tokens}

    def reorder_encoder_out(self, encoder_out: Any, new_order: Tensor) -> Any:
        return {"source": encoder_out["source"].index_select(0, new_order)}


class Tables:
    """Scores that depend on the step, the last word and the first source word."""

    def __init__(self, words: Dictionary, seed: int, gain: float) -> None:
        rng = np.random.RandomState(seed)
        size = len(words)
        self.pad = words.pad()
        self.by_step, self.by_last, self.by_source = (
            torch.from_numpy(gain * rng.standard_normal(shape).astype("float32"))
            for shape in ((7, size), (size, size), (size, size))
        )

    def __call__(self, prefix: Tensor, source: Tensor, first: int) -> tuple[Tensor, Tensor]:
        """Scores ``(rows, positions, vocab)`` and attention for the positions from ``first`` on."""
        real = source.ne(self.pad)
        lead = source.gather(1, real.long().argmax(1, keepdim=True)).squeeze(1)
        scores, attention = [], []
        for t in range(first, prefix.size(1)):
            scores.append(self.by_step[t % 7] + self.by_last[prefix[:, t]] + self.by_source[lead])
            weights = ((source.float() * (t + 1)) % 5.0 + 1.0).masked_fill(~real, 0.0)
            attention.append(weights / weights.sum(1, keepdim=True))
        return torch.stack(scores, 1), torch.stack(attention, 1)


class TableDecoder(FairseqIncrementalDecoder):
    """Keeps the prefix it has seen, to notice when its rows are not reordered like the hypotheses."""

    def __init__(self, words: Dictionary, seed: int, gain: float) -> None:
        super().__init__(words)
        self.tables = Tables(words, seed, gain)
        self.reorders = 0

    def forward(
        self, prev_output_tokens: Tensor, encoder_out: Any = None, incremental_state: Any = None, **kwargs: Any
    ) -> Any:
        if incremental_state is None:
            scores, attention = self.tables(prev_output_tokens, encoder_out["source"], 0)
            return scores, {"attn": [attention]}
        kept = self.get_incremental_state(incremental_state, "seen")
        seen = prev_output_tokens[:, -1:]
        if kept is not None:
            seen = torch.cat([kept["tokens"], seen], 1)
        assert torch.equal(seen, prev_output_tokens), "the state does not belong to these hypotheses"
        self.set_incremental_state(incremental_state, "seen", {"tokens": seen})
        last = prev_output_tokens.size(1) - 1
        scores, attention = self.tables(prev_output_tokens, encoder_out["source"], last)
        return scores, {"attn": [attention]}

    def reorder_incremental_state(self, incremental_state: Any, new_order: Tensor) -> None:
        self.reorders += 1
        kept = self.get_incremental_state(incremental_state, "seen")
        if kept is not None:
            self.set_incremental_state(incremental_state, "seen", {"tokens": kept["tokens"].index_select(0, new_order)})

    def max_positions(self) -> int:
        return 40


class WholeDecoder(FairseqDecoder):
    """A decoder of the old kind: no state, the whole prefix every time, attention as a bare tensor."""

    def __init__(self, words: Dictionary, seed: int, gain: float) -> None:
        super().__init__(words)
        self.tables = Tables(words, seed, gain)

    def forward(self, prev_output_tokens: Tensor, encoder_out: Any = None, **kwargs: Any) -> Any:
        return self.tables(prev_output_tokens, encoder_out["source"], 0)

    def max_positions(self) -> int:
        return 40


def model(words: Dictionary, seed: int = 5, gain: float = 0.8, incremental: bool = True) -> FairseqEncoderDecoderModel:
    decoder = (TableDecoder if incremental else WholeDecoder)(words, seed, gain)
    return FairseqEncoderDecoderModel(TableEncoder(words), decoder).eval()


def batch(words: Dictionary, sources: list[list[int]]) -> dict[str, Any]:
    """Left-padded sources with their ends."""
    width = max(len(s) for s in sources) + 1
    tokens = torch.full((len(sources), width), words.pad())
    for i, source in enumerate(sources):
        tokens[i, width - len(source) - 1 :] = torch.tensor([*source, words.eos()])
    lengths = torch.tensor([len(s) + 1 for s in sources])
    return {"id": torch.arange(len(sources)), "net_input": {"src_tokens": tokens, "src_lengths": lengths}}


SOURCES = [[4, 11, 5, 16], [10, 6], [14, 4, 6, 5, 12, 7]]
