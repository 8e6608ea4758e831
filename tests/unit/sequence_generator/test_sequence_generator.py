"""The loop of the generator, its public hooks, and what holds for every result."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import toys
from hypothesis import given, settings
from hypothesis import strategies as st

from fairseq import search
from fairseq.sequence_generator import EnsembleModel, SequenceGenerator
from fairseq.sequence_scorer import SequenceScorer
from fairseq.token_generation_constraints import pack_constraints

WORDS = toys.dictionary()


def texts(found: list[Any]) -> list[list[tuple[list[int], float]]]:
    return [[(h["tokens"].tolist(), round(float(h["score"]), 5)) for h in hypotheses] for hypotheses in found]


def generate(
    sample: Any = None, models: Any = None, cls: Any = SequenceGenerator, call: Any = None, **kwargs: Any
) -> Any:
    sample = toys.batch(WORDS, toys.SOURCES) if sample is None else sample
    generator = cls(models or [toys.model(WORDS)], WORDS, **{"beam_size": 3, "max_len_b": 12, **kwargs})
    return generator.generate(None, sample, **(call or {}))


def test_every_sentence_gets_as_many_hypotheses_as_beams_best_first() -> None:
    for hypotheses in generate():
        scores = [float(h["score"]) for h in hypotheses]
        assert len(scores) == 3 and scores == sorted(scores, reverse=True)
        assert all(h["tokens"][-1] == WORDS.eos() and h["tokens"].dtype == torch.long for h in hypotheses)


def test_single_scores_add_up_to_the_score() -> None:
    for hypotheses in generate(len_penalty=0.6):
        for h in hypotheses:
            total = float(h["positional_scores"].sum()) / len(h["tokens"]) ** 0.6
            assert float(h["score"]) == pytest.approx(total, abs=1e-5)


def test_the_scorer_finds_the_same_score_for_every_hypothesis() -> None:
    for models in ([toys.model(WORDS)], [toys.model(WORDS, seed) for seed in (5, 6)]):
        for source, hypotheses in zip(toys.SOURCES, generate(models=models)):
            for h in hypotheses:
                sample = toys.batch(WORDS, [source])
                sample["target"] = h["tokens"].unsqueeze(0)
                sample["net_input"]["prev_output_tokens"] = h["tokens"].roll(1).unsqueeze(0)
                scored = SequenceScorer(WORDS).generate(models, sample)[0][0]
                assert float(scored["score"]) == pytest.approx(float(h["score"]), abs=1e-4)
                assert torch.allclose(scored["positional_scores"], h["positional_scores"], atol=1e-4)


@settings(max_examples=15, deadline=None)
@given(
    sources=st.lists(st.lists(st.integers(4, 17), min_size=1, max_size=6), min_size=1, max_size=6),
    order=st.randoms(use_true_random=False),
    beam=st.integers(1, 4),
)
def test_neither_the_order_nor_the_size_of_a_batch_changes_a_sentence(sources: Any, order: Any, beam: int) -> None:
    settings = {"beam_size": beam, "max_len_a": 0.0, "max_len_b": 9}
    alone = [texts(generate(toys.batch(WORDS, [source]), **settings))[0] for source in sources]
    positions = list(range(len(sources)))
    order.shuffle(positions)
    together = texts(generate(toys.batch(WORDS, [sources[i] for i in positions]), **settings))
    assert together == [alone[i] for i in positions]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), n=st.integers(1, 3), beam=st.integers(1, 4))
def test_no_n_gram_comes_twice_when_that_is_forbidden(seed: int, n: int, beam: int) -> None:
    models = [toys.model(WORDS, seed)]
    for hypotheses in generate(models=models, beam_size=beam, no_repeat_ngram_size=n, min_len=5):
        for h in hypotheses:
            words = h["tokens"].tolist()[:-1]
            grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
            assert len(grams) == len(set(grams))


@settings(max_examples=15, deadline=None)
@given(
    phrases=st.lists(st.lists(st.integers(4, 17), min_size=1, max_size=2), min_size=1, max_size=2),
    representation=st.sampled_from(["ordered", "unordered"]),
)
def test_constraints_are_always_met(phrases: list[list[int]], representation: str) -> None:
    strategy = search.LexicallyConstrainedBeamSearch(WORDS, representation)
    packed = pack_constraints([[torch.tensor(p) for p in phrases]])
    sample = toys.batch(WORDS, [toys.SOURCES[0]])
    found = generate(sample, beam_size=5, search_strategy=strategy, call={"constraints": packed})[0]
    assert found
    for h in found:
        words = h["tokens"].tolist()
        at = 0
        for phrase in phrases:
            starts = [i for i in range(len(words)) if words[i : i + len(phrase)] == phrase]
            assert starts, f"{phrase} is not in {words}"
            if representation == "ordered":
                later = [i for i in starts if i >= at]
                assert later, f"{phrase} comes too early in {words}"
                at = later[0] + len(phrase)


def test_a_decoder_without_state_gives_the_same_as_an_incremental_one() -> None:
    whole = [toys.model(WORDS, incremental=False)]
    assert texts(generate(models=whole)) == texts(generate())
    first, second = generate(models=whole)[0][0], generate()[0][0]
    assert torch.equal(first["attention"], second["attention"])


def test_attention_follows_the_hypothesis_through_every_reordering() -> None:
    for source, hypotheses in zip(toys.SOURCES, generate(beam_size=4)):
        for h in hypotheses:
            sample = toys.batch(WORDS, [source])
            sample["target"] = h["tokens"].unsqueeze(0)
            sample["net_input"]["prev_output_tokens"] = h["tokens"].roll(1).unsqueeze(0)
            seen = SequenceScorer(WORDS).generate([toys.model(WORDS)], sample)[0][0]["attention"]
            width = seen.size(1)
            assert h["attention"].shape[1] == len(h["tokens"])
            assert torch.allclose(h["attention"][-width:], seen.t(), atol=1e-6)


def test_one_beam_never_reorders_until_a_sentence_leaves() -> None:
    model = toys.model(WORDS)
    generate(toys.batch(WORDS, [toys.SOURCES[0]]), models=[model], beam_size=1)
    assert model.decoder.reorders == 0


def test_a_prefix_is_followed_and_keeps_the_models_scores() -> None:
    prefix = torch.tensor([[5, 9], [6, WORDS.pad()], [7, WORDS.eos()]])
    found = generate(call={"prefix_tokens": prefix})
    assert all(h["tokens"][:2].tolist() == [5, 9] for h in found[0])
    assert all(int(h["tokens"][0]) == 6 for h in found[1])
    assert [h["tokens"].tolist() for h in found[2]] == [[7, 2]] * 3


def test_the_search_sees_the_ids_of_the_sentences_that_remain() -> None:
    class Watching(search.BeamSearch):
        seen: list[list[int]] = []

        def step(self, step: int, lprobs: Any, scores: Any, prev: Any = None, original_batch_idxs: Any = None) -> Any:
            self.seen.append(original_batch_idxs.tolist())
            assert lprobs.shape == (len(self.seen[-1]), 3, len(WORDS)) and scores.shape[2] == step
            assert prev.shape == (3 * len(self.seen[-1]), step + 1)
            return super().step(step, lprobs, scores, prev, original_batch_idxs)

    sample = toys.batch(WORDS, toys.SOURCES)
    sample["id"] = torch.tensor([70, 10, 40])
    assert texts(generate(sample, search_strategy=Watching(WORDS))) == texts(generate())
    assert Watching.seen[0] == [70, 10, 40]


def test_a_subclass_may_change_how_hypotheses_end() -> None:
    class Marked(SequenceGenerator):
        def finalize_hypos(
            self, step: int, bbsz_idx: Any, eos_scores: Any, tokens: Any, scores: Any, *rest: Any
        ) -> Any:
            assert tokens.size(1) > step + 1 and scores.size(1) > step
            done = super().finalize_hypos(step, bbsz_idx, eos_scores, tokens, scores, *rest)
            for hypotheses in rest[0]:
                for h in hypotheses:
                    h["marked"] = True
            return done

    found = generate(cls=Marked)
    assert all(h["marked"] for hypotheses in found for h in hypotheses)
    assert texts(found) == texts(generate())
    assert torch.allclose(found[2][1]["attention"], generate()[2][1]["attention"])


def test_a_subclass_may_stop_a_sentence_earlier() -> None:
    class First(SequenceGenerator):
        def is_finished(self, *args: Any) -> bool:
            return True

    assert [len(hypotheses) for hypotheses in generate(cls=First)] != [3, 3, 3]


def test_a_subclass_may_replace_the_loop() -> None:
    class Own(SequenceGenerator):
        def _generate(
            self, sample: Any, prefix_tokens: Any = None, constraints: Any = None, bos_token: Any = None
        ) -> Any:
            bsz = sample["net_input"]["src_tokens"].size(0)
            outs = self.model.forward_encoder(sample["net_input"])
            outs = self.model.reorder_encoder_out(outs, torch.arange(bsz).repeat_interleave(self.beam_size))
            tokens = torch.full((bsz * self.beam_size, 1), self.eos)
            lprobs, attention = self.model.forward_decoder(tokens, outs, [{}], self.temperature)
            return lprobs, attention

    lprobs, attention = generate(cls=Own)
    assert lprobs.shape == (9, len(WORDS)) and attention.shape[0] == 9
    assert torch.allclose(lprobs.exp().sum(1), torch.ones(9))


def test_an_own_ensemble_is_used_as_it_is() -> None:
    class Flat(EnsembleModel):
        def forward_decoder(self, tokens: Any, encoder_outs: Any, states: Any, temperature: float = 1.0) -> Any:
            lprobs, attention = super().forward_decoder(tokens, encoder_outs, states, temperature)
            return torch.full_like(lprobs, -math.log(lprobs.size(1))), attention

    found = generate(models=Flat([toys.model(WORDS)]))
    assert {round(float(h["positional_scores"][0]), 4) for hs in found for h in hs} == {round(-math.log(len(WORDS)), 4)}


def test_a_model_that_overflows_says_nothing_instead_of_nonsense() -> None:
    class Overflowing(EnsembleModel):
        def forward_decoder(self, tokens: Any, encoder_outs: Any, states: Any, temperature: float = 1.0) -> Any:
            lprobs, attention = super().forward_decoder(tokens, encoder_outs, states, temperature)
            lprobs[:, 7] = float("nan")
            return lprobs, attention

    found = generate(models=Overflowing([toys.model(WORDS)]))
    assert all(7 not in h["tokens"].tolist() and math.isfinite(float(h["score"])) for hs in found for h in hs)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"temperature": 0.0}, AssertionError, "--temperature must be greater than 0"),
        ({"min_len": 13}, AssertionError, "min_len cannot be larger than max_len"),
        ({"tokens_to_suppress": ["nowhere"]}, AssertionError, "nowhere"),
        ({"call": {"constraints": torch.zeros(3, 1).long()}}, NotImplementedError, "Target-side constraints"),
        ({"sample": {"net_input": {"pixels": torch.zeros(1)}}}, Exception, "expected src_tokens or source"),
    ],
)
def test_contradictions_are_named(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        generate(**arguments)


def test_sampled_words_stay_among_the_best_k() -> None:
    torch.manual_seed(3)
    lprobs = torch.log_softmax(torch.randn(2, 3, 18), -1)
    scores, tokens, beams = search.Sampling(WORDS, sampling_topk=2).step(1, lprobs, torch.zeros(2, 3, 1))
    best = lprobs.topk(2).indices
    assert all(int(tokens[i, j]) in best[i, j].tolist() for i in range(2) for j in range(3))
    assert torch.allclose(scores, lprobs.gather(2, tokens.unsqueeze(2)).squeeze(2))
    assert beams.tolist() == [[0, 1, 2]] * 2


def test_the_nucleus_holds_the_word_that_crosses_the_mass() -> None:
    probs = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().view(1, 1, 4)
    kept, ids = search.Sampling(WORDS, sampling_topp=0.7)._nucleus(probs)
    assert ids[0, 0].tolist() == [0, 1] and kept[0, 0].gt(0).tolist() == [True, True]


def test_diverse_groups_work_after_sentences_left_and_with_any_ids() -> None:
    sample = toys.batch(WORDS, toys.SOURCES)
    sample["id"] = torch.tensor([900, 4, 77])
    found = generate(sample, beam_size=4, search_strategy=search.DiverseBeamSearch(WORDS, 2, 0.5))
    assert [len(hypotheses) for hypotheses in found] == [4, 4, 4]


def test_groups_must_divide_the_beam() -> None:
    with pytest.raises(ValueError, match="requires --beam to be divisible"):
        generate(beam_size=3, search_strategy=search.DiverseBeamSearch(WORDS, 2, 0.5))


def test_generators_with_different_beams_can_share_a_model() -> None:
    model = toys.model(WORDS)
    sizes: list[int] = []
    model.decoder.set_beam_size = sizes.append
    wide = SequenceGenerator([model], WORDS, beam_size=3, max_len_b=4)
    narrow = SequenceGenerator([model], WORDS, beam_size=1, max_len_b=4)
    for generator in (wide, narrow, wide):
        generator.generate(None, toys.batch(WORDS, toys.SOURCES))
    assert sizes == [3, 3, 1, 1, 1, 3, 1]
