"""What holds of every search, however steps are computed: by the modules, by the engine, or in fixed shapes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import toys
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine import WORDS, transformer

from fairseq import search
from fairseq.sequence_generator import SequenceGenerator
from fairseq.sequence_scorer import SequenceScorer
from fairseq.token_generation_constraints import pack_constraints

MODELS = [transformer(seed) for seed in (1, 2)]
for _model in MODELS:
    _model.make_generation_fast_()
STEPPING = pytest.mark.parametrize("stepping", ["modules", "engine", "cuda_graph"])
LINES = st.lists(st.lists(st.integers(4, 17), min_size=1, max_size=6), min_size=1, max_size=5)
few = settings(max_examples=6, deadline=None)


def generate(stepping: str, lines: list[list[int]], models: int = 1, call: Any = None, **kwargs: Any) -> Any:
    generator = SequenceGenerator(MODELS[:models], WORDS, **{"beam_size": 4, "max_len_b": 9, **kwargs})
    generator.stepping = stepping
    return generator.generate(None, toys.batch(WORDS, lines), **(call or {}))


@STEPPING
@few
@given(lines=LINES, models=st.integers(1, 2), beam=st.integers(1, 4), penalty=st.sampled_from([0.0, 0.6, 1.0, 1.7]))
def test_hypotheses_are_sorted_and_the_scorer_agrees(
    stepping: str, lines: Any, models: int, beam: int, penalty: float
) -> None:
    for source, found in zip(lines, generate(stepping, lines, models, beam_size=beam, len_penalty=penalty)):
        scores = [float(h["score"]) for h in found]
        assert len(found) == beam and scores == sorted(scores, reverse=True)
        for h in found:
            sample = toys.batch(WORDS, [source])
            sample["target"] = h["tokens"].unsqueeze(0)
            sample["net_input"]["prev_output_tokens"] = h["tokens"].roll(1).unsqueeze(0)
            scored = SequenceScorer(WORDS).generate(MODELS[:models], sample)[0][0]
            assert torch.allclose(scored["positional_scores"], h["positional_scores"], atol=1e-4)
            total = float(scored["positional_scores"].sum()) / len(h["tokens"]) ** penalty
            assert float(h["score"]) == pytest.approx(total, abs=1e-4)


@STEPPING
@few
@given(
    phrases=st.lists(st.lists(st.integers(4, 17), min_size=1, max_size=2), min_size=1, max_size=2),
    representation=st.sampled_from(["ordered", "unordered"]),
    beam=st.integers(3, 6),
)
def test_constraints_are_always_met(stepping: str, phrases: Any, representation: str, beam: int) -> None:
    strategy = search.LexicallyConstrainedBeamSearch(WORDS, representation)
    packed = pack_constraints([[torch.tensor(p) for p in phrases], []])
    call = {"constraints": packed}
    found = generate(stepping, toys.SOURCES[:2], beam_size=beam, search_strategy=strategy, call=call)[0]
    assert found
    for h in found:
        words, at = h["tokens"].tolist(), 0
        for phrase in phrases:
            starts = [i for i in range(len(words)) if words[i : i + len(phrase)] == phrase]
            assert starts, f"{phrase} is not in {words}"
            if representation == "ordered":
                later = [i for i in starts if i >= at]
                assert later, f"{phrase} comes too early in {words}"
                at = later[0] + len(phrase)


@STEPPING
@few
@given(lines=LINES, n=st.integers(1, 3), beam=st.integers(1, 4))
def test_no_n_gram_comes_twice_when_that_is_forbidden(stepping: str, lines: Any, n: int, beam: int) -> None:
    for found in generate(stepping, lines, beam_size=beam, no_repeat_ngram_size=n, min_len=6):
        for h in found:
            words = h["tokens"].tolist()[:-1]
            grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
            assert len(grams) == len(set(grams))


@STEPPING
@few
@given(lines=LINES, order=st.randoms(use_true_random=False), beam=st.integers(1, 4), cut=st.integers(0, 5))
def test_neither_the_order_nor_the_size_of_a_batch_changes_a_sentence(
    stepping: str, lines: Any, order: Any, beam: int, cut: int
) -> None:
    def texts(batch: list[list[int]]) -> list[list[list[int]]]:
        if not batch:
            return []
        return [[h["tokens"].tolist() for h in found] for found in generate(stepping, batch, beam_size=beam)]

    alone = [texts([line])[0] for line in lines]
    positions = list(range(len(lines)))
    order.shuffle(positions)
    shuffled = [lines[i] for i in positions]
    assert texts(shuffled[:cut]) + texts(shuffled[cut:]) == [alone[i] for i in positions]
