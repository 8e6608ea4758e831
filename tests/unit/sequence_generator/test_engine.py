"""Steps computed from weights: the results are those of the modules, and no plugin is passed over."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import toys
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fairseq import search
from fairseq.models.fairseq_model import BaseFairseqModel, FairseqLanguageModel
from fairseq.models.transformer import TransformerDecoder, TransformerEncoder, TransformerModel, base_architecture
from fairseq.modules import MultiheadAttention
from fairseq.sequence_generator import EnsembleModel, SequenceGenerator
from fairseq.sequence_generator.engine import ensemble as engine
from fairseq.sequence_generator.engine.batch_slots import BatchSlots
from fairseq.sequence_generator.engine.prefix_cache import PrefixCache
from fairseq.sequence_generator.engine.transformer import is_known_transformer
from fairseq.sequence_generator.int8 import Int8Linear, quantize_linear, rounded_up
from fairseq.sequence_scorer import SequenceScorer
from fairseq.token_generation_constraints import pack_constraints

WORDS = toys.dictionary()
TASK = Namespace(source_dictionary=WORDS, target_dictionary=WORDS)


def transformer(seed: int = 1, decoder: Any = None, encoder: Any = None, model: Any = None, **options: Any) -> Any:
    """A small transformer whose scores are far apart."""
    small = {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in {"embed_dim": 16, "ffn_embed_dim": 24, "layers": 2, "attention_heads": 2}.items()
    }
    args = Namespace(**{"dropout": 0.0, "max_source_positions": 50, "max_target_positions": 50, **small, **options})
    base_architecture(args)
    parts = {
        "build_decoder": classmethod(lambda cls, a, words, tokens: (decoder or TransformerDecoder)(a, words, tokens)),
        "build_encoder": classmethod(lambda cls, a, words, tokens: (encoder or TransformerEncoder)(a, words, tokens)),
    }
    torch.manual_seed(seed)
    built = type("Built", (model or TransformerModel,), parts).build_model(args, TASK)
    with torch.no_grad():
        for parameter in built.parameters():
            if parameter.dim() > 1:
                parameter.mul_(2.0)
            else:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return built.eval()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """One entry per batch: whether the engine ran it."""
    entries: list[bool] = []
    make = engine.EngineSteps.make.__func__  # type: ignore[attr-defined]

    def watched(cls: Any, *args: Any) -> Any:
        steps = make(cls, *args)
        entries.append(steps is not None)
        return steps

    monkeypatch.setattr(engine.EngineSteps, "make", classmethod(watched))
    yield entries


def without_engine(run: Callable[[], Any]) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine.EngineSteps, "make", classmethod(lambda cls, *args: None))
        return run()


def generate(models: Any, sources: Any = None, sample: Any = None, call: Any = None, **kwargs: Any) -> Any:
    sample = sample or toys.batch(WORDS, sources or toys.SOURCES)
    models = models if isinstance(models, (list, EnsembleModel)) else [models]
    generator = SequenceGenerator(models, WORDS, **{"beam_size": 4, "max_len_b": 14, **kwargs})
    return generator.generate(None, sample, **(call or {}))


def assert_same(first: Any, second: Any, attention: bool = True) -> None:
    for ours, theirs in zip(first, second):
        assert [h["tokens"].tolist() for h in ours] == [h["tokens"].tolist() for h in theirs]
        for a, b in zip(ours, theirs):
            assert torch.allclose(a["positional_scores"], b["positional_scores"], atol=1e-4)
            if attention:
                assert torch.allclose(a["attention"], b["attention"], atol=1e-4)


CONSTRAINTS = pack_constraints([[torch.tensor([6, 7]), torch.tensor([9])], [torch.tensor([10])], []])
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "post-norm": ({}, {}, {}),
    "pre-norm": ({"encoder_normalize_before": True, "decoder_normalize_before": True}, {}, {}),
    "learned positions": ({"decoder_learned_pos": True, "layernorm_embedding": True}, {}, {}),
    "tied, gelu": ({"share_decoder_input_output_embed": True, "activation_fn": "gelu"}, {}, {}),
    "narrow output": ({"decoder_output_dim": 8, "decoder_input_dim": 8}, {}, {}),
    "one beam": ({}, {"beam_size": 1}, {}),
    "long": ({}, {"beam_size": 5, "min_len": 40, "max_len_b": 45}, {}),
    "diverse": ({}, {"search_strategy": search.DiverseBeamSearch(WORDS, 2, 0.5)}, {}),
    "siblings": ({}, {"search_strategy": search.DiverseSiblingsSearch(WORDS, 0.5)}, {}),
    "phrases": (
        {},
        {"search_strategy": search.LexicallyConstrainedBeamSearch(WORDS, "unordered")},
        {"constraints": CONSTRAINTS},
    ),
    "prefix": ({}, {"temperature": 0.7}, {"prefix_tokens": torch.tensor([[5, 6], [7, 2], [1, 1]])}),
    "rules": ({}, {"no_repeat_ngram_size": 2, "unk_penalty": 1.0, "tokens_to_suppress": ["w3"], "min_len": 4}, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_results_are_those_of_the_modules(case: str, made: list[bool]) -> None:
    options, kwargs, call = CASES[case]
    model = transformer(**options)
    found = generate(model, call=call, **kwargs)
    assert made == [True]
    assert_same(found, without_engine(lambda: generate(model, call=call, **kwargs)))


def test_an_ensemble_and_a_language_model_vote_as_before(made: list[bool]) -> None:
    models = [transformer(seed) for seed in (1, 2)]
    language_model = FairseqLanguageModel(
        transformer(3, decoder=lambda args, words, tokens: TransformerDecoder(args, words, tokens, True)).decoder
    )
    for extra in ({}, {"lm_model": language_model, "lm_weight": 0.5}):
        found = generate(models, **extra)
        assert made[-1]
        assert_same(found, without_engine(lambda extra=extra: generate(models, **extra)))


def test_a_language_model_alone_continues_a_prefix(made: list[bool]) -> None:
    model = FairseqLanguageModel(
        transformer(3, decoder=lambda args, words, tokens: TransformerDecoder(args, words, tokens, True)).decoder
    )
    call = {"prefix_tokens": torch.tensor([[5, 6], [7, 8], [9, 4]])}
    found = generate(model, call=call)
    assert made == [True]
    assert_same(found, without_engine(lambda: generate(model, call=call)))


def test_weights_that_change_are_seen(made: list[bool]) -> None:
    model = transformer()
    for prepared in (False, True):
        if prepared:
            model.make_generation_fast_()
        before = generate(model)
        with torch.no_grad():
            for parameter in model.decoder.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
        after = generate(model)
        assert_same(after, without_engine(lambda: generate(model)))
        assert [h["tokens"].tolist() for h in before[0]] != [h["tokens"].tolist() for h in after[0]]
    assert all(made)


def test_optimizers_that_write_behind_autograds_back_are_seen_while_training() -> None:
    model = transformer()
    generate(model)
    for parameter in model.decoder.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    assert_same(generate(model), without_engine(lambda: generate(model)))


def test_eight_bit_weights_join_into_one_map_without_loss() -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(12, size) for size in (8, 5, 3)]
    x = torch.randn(6, 12)
    apart = [Int8Linear(layer) for layer in layers]
    joined = Int8Linear.side_by_side(apart)
    assert torch.equal(joined(x), torch.cat([layer(x) for layer in apart], dim=1))
    assert torch.allclose(joined(x), torch.cat([layer(x) for layer in layers], dim=1), atol=0.1)


def test_rows_that_are_added_to_share_a_kernel_change_nothing() -> None:
    torch.manual_seed(0)
    layer = Int8Linear(nn.Linear(12, 8))
    for count in (0, 1, 31, 33, 300):
        # Values all above zero: added zeros would show if the range of the inputs did not hold zero anyway.
        x = torch.rand(count, 12) + 1
        direct = torch.ops.quantized.linear_dynamic(x, layer._packed, reduce_range=True) if count else x[:, :8]
        assert torch.equal(layer(x), direct)
    assert [rounded_up(n) for n in (0, 1, 32, 33, 300, 1000)] == [0, 32, 32, 64, 320, 1024]
    assert all(rounded_up(n) <= max(n + 31, n * 9 / 8) for n in range(5000))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_runs_in_the_engine_and_stays_close(dtype: torch.dtype, made: list[bool]) -> None:
    exact = generate(transformer())
    model = transformer().to(dtype)
    model.make_generation_fast_()
    found = generate(model)
    assert made == [True, True]
    for ours, theirs in zip(found, exact):
        assert float(ours[0]["score"]) == pytest.approx(float(theirs[0]["score"]), abs=0.1)


def test_eight_bit_models_run_in_the_engine(made: list[bool]) -> None:
    model = transformer()
    quantize_linear(model)
    assert all(h["tokens"][-1] == WORDS.eos() for h in generate(model)[0]) and made == [True]


def test_slots_that_nobody_needs_are_left_behind() -> None:
    cache = PrefixCache([1], 1, 2, 3, torch.zeros(1))
    torch.manual_seed(0)
    history = torch.zeros(6, 0)
    for _ in range(60):
        first, end = cache.open(3)
        words = torch.rand(6, 1)
        seen = cache.write(0, first, end, words.view(2, 1, 3, 1, 1).expand(2, 1, 3, 2, 1))
        history = torch.cat([history, words], dim=1)
        visible = cache.mask[:, 0].eq(0)
        for row in range(6):
            own = seen[row // 3, 0, :, 0, 0][visible[row // 3, row % 3]]
            assert sorted(own.tolist()) == sorted(history[row].tolist())
        rows = torch.cat([torch.randint(0, 3, (3,)), torch.randint(3, 6, (3,))])
        history = history.index_select(0, rows)
        cache.follow(rows, None)
    assert cache.used < 120


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_sentences_that_leave_give_their_seats_to_others(data: Any) -> None:
    beam, count = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 9))
    slots, cache = BatchSlots(count, beam), PrefixCache([1], 1, count, beam, torch.zeros(1))
    history = torch.zeros(count * beam, 0)
    while count:
        first, end = cache.open(beam)
        words = torch.rand(count * beam, 1)
        seen = cache.write(0, first, end, slots.by_slots(words).view(count, 1, beam, 1, 1).expand(-1, 1, -1, 2, 1))
        history = torch.cat([history, words], dim=1)
        back = slots.rows_of_batch(beam)
        for row in range(count * beam):
            own = row if back is None else int(back[row])
            visible = cache.mask[own // beam, 0, own % beam].eq(0)
            assert sorted(seen[own // beam, 0, :, 0, 0][visible].tolist()) == sorted(history[row].tolist())
            assert back is None or int(slots.order[own // beam]) == row // beam
        kept = torch.tensor(sorted(data.draw(st.sets(st.integers(0, count - 1)))), dtype=torch.long)
        left, count = len(kept) < count, len(kept)
        chosen = torch.tensor(
            data.draw(st.lists(st.integers(0, beam - 1), min_size=count * beam, max_size=count * beam))
        )
        rows = (kept.unsqueeze(1) * beam + chosen.view(count, beam)).view(-1) if count else None
        if rows is not None:
            history = history.index_select(0, rows)
            rows, copies = slots.follow(rows, kept if left else None)
            cache.follow(rows, copies)


@settings(max_examples=10, deadline=None)
@given(
    sources=st.lists(st.lists(st.integers(4, 17), min_size=1, max_size=6), min_size=1, max_size=5),
    order=st.randoms(use_true_random=False),
    beam=st.integers(1, 4),
)
def test_neither_the_order_nor_the_size_of_a_batch_changes_a_sentence(sources: Any, order: Any, beam: int) -> None:
    model = transformer()
    kwargs = {"beam_size": beam, "max_len_b": 9}
    alone = [generate(model, [source], **kwargs)[0] for source in sources]
    positions = list(range(len(sources)))
    order.shuffle(positions)
    assert_same_texts(generate(model, [sources[i] for i in positions], **kwargs), [alone[i] for i in positions])


def assert_same_texts(first: Any, second: Any) -> None:
    for ours, theirs in zip(first, second):
        assert [h["tokens"].tolist() for h in ours] == [h["tokens"].tolist() for h in theirs]


def test_the_scorer_finds_the_same_score_for_every_hypothesis() -> None:
    models = [transformer(1), transformer(2)]
    for source, hypotheses in zip(toys.SOURCES, generate(models)):
        scores = [float(h["score"]) for h in hypotheses]
        assert scores == sorted(scores, reverse=True)
        for h in hypotheses:
            sample = toys.batch(WORDS, [source])
            sample["target"] = h["tokens"].unsqueeze(0)
            sample["net_input"]["prev_output_tokens"] = h["tokens"].roll(1).unsqueeze(0)
            scored = SequenceScorer(WORDS).generate(models, sample)[0][0]
            assert torch.allclose(scored["positional_scores"], h["positional_scores"], atol=1e-4)


# ---------------------------------------------------------------------------------------------- what plugins override
Calls = list[str]


def counted(base: type, name: str, calls: Calls) -> type:
    """A subclass that overrides one method, notes that it was called, and calls the base."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(name)
        return getattr(super(derived, self), name)(*args, **kwargs)

    derived = type(f"Own{base.__name__}", (base,), {name: method})
    return derived


DECODER = [
    "forward", "extract_features", "extract_features_scriptable", "output_layer", "get_normalized_probs",
    "reorder_incremental_state", "reorder_incremental_state_scripting", "set_beam_size",
]  # fmt: skip


@pytest.mark.parametrize("name", DECODER)
def test_a_decoder_of_ones_own_is_asked(name: str, made: list[bool]) -> None:
    calls: Calls = []
    model = transformer(decoder=counted(TransformerDecoder, name, calls))
    found = generate(model)
    assert calls and made == [False]
    assert_same(found, generate(transformer()))


@pytest.mark.parametrize("name", ["reorder_encoder_out", "_reorder_encoder_out"])
def test_an_encoder_of_ones_own_reorders_its_output(name: str, made: list[bool]) -> None:
    calls: Calls = []
    assert_same(generate(transformer(encoder=counted(TransformerEncoder, name, calls))), generate(transformer()))
    assert calls and made == [False, True]


def test_an_encoder_may_change_what_it_computes(made: list[bool]) -> None:
    calls: Calls = []
    generate(transformer(encoder=counted(TransformerEncoder, "forward_embedding", calls)))
    assert calls == ["forward_embedding"] and made == [True]


def test_a_model_may_normalise_its_own_way(made: list[bool]) -> None:
    calls: Calls = []
    generate(transformer(model=counted(TransformerModel, "get_normalized_probs", calls)))
    assert calls and made == [False]


def _patch_instance(model: Any, patch: Any, calls: Calls) -> None:
    forward = model.decoder.forward
    model.decoder.forward = lambda *args, **kwargs: (calls.append("x"), forward(*args, **kwargs))[1]


def _patch_class(model: Any, patch: Any, calls: Calls) -> None:
    forward = MultiheadAttention.forward

    def own(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append("x")
        return forward(self, *args, **kwargs)

    patch.setattr(MultiheadAttention, "forward", own)


def _patch_probs(model: Any, patch: Any, calls: Calls) -> None:
    whole = BaseFairseqModel.get_normalized_probs_scriptable

    def own(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append("x")
        return whole(self, *args, **kwargs)

    patch.setattr(BaseFairseqModel, "get_normalized_probs_scriptable", own)


def _hook(model: Any, patch: Any, calls: Calls) -> None:
    model.decoder.layers[0].fc1.register_forward_hook(lambda *args: calls.append("x"))


def _other_linear(model: Any, patch: Any, calls: Calls) -> None:
    class Adapter(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            calls.append("x")
            return super().forward(x)

    old = model.decoder.layers[1].self_attn.q_proj
    new = Adapter(old.in_features, old.out_features)
    new.load_state_dict(old.state_dict())
    model.decoder.layers[1].self_attn.q_proj = new


def _attention_class(model: Any, patch: Any, calls: Calls) -> None:
    attention = model.decoder.layers[0].self_attn
    attention.__class__ = counted(MultiheadAttention, "reorder_incremental_state", calls)


def _layer_class(model: Any, patch: Any, calls: Calls) -> None:
    layer = model.decoder.layers[0]
    layer.__class__ = counted(type(layer), "residual_connection", calls)


def _dropout(model: Any, patch: Any, calls: Calls) -> None:
    calls.append("x")
    model.decoder.layers[0].dropout_module.apply_during_inference = True


@pytest.mark.parametrize(
    "install",
    [
        _patch_instance, _patch_class, _patch_probs, _hook, _other_linear, _attention_class, _layer_class, _dropout,
    ],
)  # fmt: skip
def test_whoever_changes_a_part_is_asked(install: Any, made: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls = transformer(), Calls()
    expected = generate(model)
    install(model, monkeypatch, calls)
    found = generate(model)
    assert calls and made == [True, False]
    assert_same(found, expected)


def test_dropout_that_is_switched_on_alone_is_not_left_out() -> None:
    model = transformer().eval()
    assert is_known_transformer(model)
    model.decoder.layers[0].dropout_module.train()
    assert not is_known_transformer(model)


@pytest.mark.parametrize("name", ["forward_decoder", "reorder_incremental_state", "reorder_encoder_out"])
def test_an_ensemble_of_ones_own_is_asked(name: str, made: list[bool]) -> None:
    calls: Calls = []
    model = transformer()
    assert_same(generate(counted(EnsembleModel, name, calls)([model])), generate(model))
    assert calls and made == [False, True]


def test_a_search_of_ones_own_gets_the_public_arguments(made: list[bool]) -> None:
    seen: list[Any] = []

    class Own(search.BeamSearch):
        def step(  # type: ignore[override]
            self,
            step: int,
            lprobs: Tensor,
            scores: Any,
            prev_output_tokens: Any = None,
            original_batch_idxs: Any = None,
        ) -> Any:
            seen.append((lprobs.shape, tuple(prev_output_tokens.shape), original_batch_idxs.tolist()))
            assert bool((lprobs.exp().sum(-1) <= 1.0001).all())
            return super().step(step, lprobs, scores, prev_output_tokens, original_batch_idxs)

    model = transformer()
    sample = {**toys.batch(WORDS, toys.SOURCES), "id": torch.tensor([7, 3, 11])}
    assert_same(generate(model, sample=sample, search_strategy=Own(WORDS)), generate(model))
    assert made == [True, True]
    assert seen[0] == ((3, 4, len(WORDS)), (12, 1), [7, 3, 11]) and seen[1][1] == (12, 2)


def test_a_generator_of_ones_own_may_step_the_ensemble_itself() -> None:
    class Own(SequenceGenerator):
        def _generate(self, sample: Any, *args: Any, **kwargs: Any) -> Any:
            """Greedy search with the parts that plugins use."""
            states: Any = [{} for _ in range(self.model.models_size)]
            outs = self.model.forward_encoder(sample["net_input"])
            order = torch.arange(outs[0]["encoder_out"][0].size(1))
            outs = self.model.reorder_encoder_out(outs, order)
            tokens = torch.full((len(order), 1), self.eos)
            for _ in range(5):
                lprobs, _ = self.model.forward_decoder(tokens, outs, states, self.temperature)
                tokens = torch.cat([tokens, lprobs.argmax(-1, keepdim=True)], dim=1)
                self.model.reorder_incremental_state(states, order)
            return tokens[:, 1:]

    model = transformer()
    greedy = Own([model], WORDS, beam_size=1).generate(None, toys.batch(WORDS, toys.SOURCES))
    best = generate(model, beam_size=1, min_len=6)
    free = [i for i in range(3) if WORDS.eos() not in greedy[i] and WORDS.pad() not in greedy[i]]
    assert free and all(greedy[i].tolist() == best[i][0]["tokens"][:5].tolist() for i in free)
