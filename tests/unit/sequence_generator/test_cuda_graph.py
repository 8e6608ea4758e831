"""Steps in tensors that stay where they are: the results are those of the engine, and nothing else is written to."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine import CASES, WORDS, assert_same, counted, generate, transformer
from torch import Tensor

from fairseq.sequence_generator import SequenceGenerator
from fairseq.sequence_generator.engine import cuda_graph


@pytest.fixture
def with_graphs(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """``generate`` with fixed shapes."""

    def run(*args: Any, **kwargs: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(SequenceGenerator, "stepping", "cuda_graph")
            return generate(*args, **kwargs)

    return run


@pytest.fixture
def recorded_shapes(monkeypatch: pytest.MonkeyPatch) -> list[cuda_graph.Shape]:
    """Records on the CPU too: a recording is the operations as they were, on the tensors of then."""
    recorded: list[cuda_graph.Shape] = []

    class Recording:
        def __init__(self, operations: Any) -> None:
            self.replay = operations

    def record(self: Any, shape: cuda_graph.Shape, operations: Any) -> Any:
        recorded.append(shape)
        self.recordings[shape] = Recording(operations)
        return self.recordings[shape]

    make = cuda_graph.GraphCache.__init__
    monkeypatch.setattr(cuda_graph.GraphCache, "__init__", lambda self, active: make(self, True))
    monkeypatch.setattr(cuda_graph.GraphCache, "_record", record)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    return recorded


@pytest.mark.parametrize("case", CASES)
def test_results_are_those_of_the_engine(case: str, with_graphs: Any, recorded_shapes: list[Any]) -> None:
    options, kwargs, call = CASES[case]
    model = transformer(**options)
    model.make_generation_fast_()
    expected = generate(model, call=call, **kwargs)
    # The second time everything is played again.
    for _ in range(2):
        assert_same(with_graphs(model, call=call, **kwargs), expected)
    assert recorded_shapes


@settings(max_examples=8, deadline=None)
@given(
    sources=st.lists(st.lists(st.integers(4, 17), min_size=1, max_size=40), min_size=1, max_size=30),
    beam=st.integers(1, 5),
    limit=st.integers(3, 48),
)
def test_batches_of_any_size_share_the_memory(sources: Any, beam: int, limit: int) -> None:
    model = _SHARED
    kwargs = {"beam_size": beam, "max_len_b": limit}
    expected = generate(model, sources, **kwargs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SequenceGenerator, "stepping", "cuda_graph")
        assert_same(generate(model, sources, **kwargs), expected)


_SHARED = transformer()
_SHARED.make_generation_fast_()


def test_memory_moves_when_half_of_the_sentences_left(with_graphs: Any, recorded_shapes: list[Any]) -> None:
    torch.manual_seed(0)
    sources = [torch.randint(4, 18, (n % 30 + 1,)).tolist() for n in range(40)]
    # Sentence n is told to end after n // 2 words.
    prefix = torch.randint(4, 18, (40, 21)).masked_fill(torch.arange(21) > torch.arange(40)[:, None] // 2, WORDS.pad())
    prefix[torch.arange(40), torch.arange(40) // 2] = WORDS.eos()
    model = transformer()
    model.make_generation_fast_()
    kwargs = {"max_len_b": 30, "call": {"prefix_tokens": prefix}}
    expected = generate(model, sources, **kwargs)
    for _ in range(5):
        assert_same(with_graphs(model, sources, **kwargs), expected)
    assert {shape.sentences for shape in recorded_shapes} == {48, 24, 12}


def test_an_ensemble_has_buffers_each(with_graphs: Any, recorded_shapes: list[Any]) -> None:
    models = [transformer(seed) for seed in (1, 2)]
    for model in models:
        model.make_generation_fast_()
    assert_same(with_graphs(models), generate(models))


def test_weights_that_may_still_change_are_not_recorded(with_graphs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    flags: list[bool] = []
    make = cuda_graph.StaticBuffers.__init__

    def watched(self: Any, like: Tensor, may_record: bool) -> None:
        flags.append(may_record)
        make(self, like, may_record)

    monkeypatch.setattr(cuda_graph.StaticBuffers, "__init__", watched)
    model = transformer()
    with_graphs(model)
    model.make_generation_fast_()
    with_graphs(model)
    with_graphs(model)
    # The last batch found the buffers of the one before.
    assert flags == [False, True]


def test_a_device_that_cannot_record_is_named_once(
    with_graphs: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(self: Any, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError("not supported")

    class Stream:
        wait_stream = staticmethod(lambda other: None)
        __enter__ = __exit__ = lambda self, *args: None

    graph = type("Graph", (), {"capture_begin": fail, "capture_end": lambda self: None})
    make = cuda_graph.GraphCache.__init__
    monkeypatch.setattr(cuda_graph.GraphCache, "__init__", lambda self, active: make(self, True))
    for name in ("Stream", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", graph)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: 1)
    model = transformer()
    model.make_generation_fast_()
    expected = generate(model)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert_same(with_graphs(model), expected)
    assert len([r for r in caplog.records if "cannot be recorded" in r.message]) == 1


def test_a_model_with_steps_of_its_own_keeps_them(with_graphs: Any, caplog: pytest.LogCaptureFixture) -> None:
    from fairseq.models.transformer import TransformerDecoder

    calls: list[str] = []
    model = transformer(decoder=counted(TransformerDecoder, "forward", calls))
    with caplog.at_level(logging.WARNING):
        assert_same(with_graphs(model), generate(transformer()))
    assert calls and "steps of this model are its own" in caplog.text


def test_sizes_are_few_and_little_is_wasted() -> None:
    sizes = [cuda_graph.room_for(n, 8) for n in range(1, 400)]
    assert sorted(set(sizes)) == [8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]
    assert all(n <= size <= max(8, n * 1.5) for n, size in zip(range(1, 400), sizes))
    coarse = {cuda_graph.room_for(n, 128, 1024) for n in range(1, 3000)}
    assert sorted(coarse) == [128, 256, 512, 1024, 1536, 2048, 3072]


def test_a_hypothesis_that_overflows_does_not_reach_its_siblings(with_graphs: Any) -> None:
    model = transformer()
    kwargs = {"beam_size": 4, "max_len_b": 8}
    said = [h["tokens"].tolist() for h in generate(model, **kwargs)[0]]
    # A hypothesis with this token overflows; the best one does not have it.
    word = next(w for other in said[1:] for w in other if w not in said[0])
    with torch.no_grad():
        model.decoder.embed_tokens.weight[word] = float("nan")
    model.make_generation_fast_()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SequenceGenerator, "stepping", "modules")
        expected = generate(model, **kwargs)
    assert expected[0][0]["tokens"].tolist() == said[0]
    for found in (generate(model, **kwargs), with_graphs(model, **kwargs)):
        assert_same([h[:1] for h in found], [h[:1] for h in expected])
