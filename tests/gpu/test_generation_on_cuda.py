"""Generation on a GPU: the engine and recorded steps give what the modules give, and a step waits once."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from fairseq import search, utils
from fairseq.sequence_generator import SequenceGenerator
from fairseq.sequence_generator.engine import cuda_graph

UNIT = Path(__file__).resolve().parents[1] / "unit"
sys.path[:0] = [str(UNIT), str(UNIT / "sequence_generator")]
import test_engine  # noqa: E402
import toys  # noqa: E402
from test_engine import CASES, WORDS, transformer  # noqa: E402

pytestmark = pytest.mark.gpu
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def sources(count: int = 40) -> list[list[int]]:
    torch.manual_seed(0)
    return [torch.randint(4, 18, (n % 25 + 1,)).tolist() for n in range(count)]


def on_gpu(dtype: torch.dtype = torch.float32, **options: Any) -> Any:
    model = transformer(**options).cuda().to(dtype)
    model.make_generation_fast_()
    return model


def generate(model: Any, stepping: str, lines: Any = None, call: Any = None, **kwargs: Any) -> Any:
    sample = utils.move_to_cuda(toys.batch(WORDS, lines or toys.SOURCES))
    models = model if isinstance(model, list) else [model]
    generator = SequenceGenerator(models, WORDS, **{"beam_size": 4, "max_len_b": 14, **kwargs})
    generator.stepping = stepping
    # Constraints are read on the host.
    call = {name: value if name == "constraints" else value.cuda() for name, value in (call or {}).items()}
    found = generator.generate(None, sample, **call)
    return [[{name: value.cpu() for name, value in h.items()} for h in hypotheses] for hypotheses in found]


@pytest.mark.parametrize("stepping", ["engine", "cuda_graph"])
@pytest.mark.parametrize("case", CASES)
def test_results_are_those_of_the_modules(case: str, stepping: str) -> None:
    options, kwargs, call = CASES[case]
    model = on_gpu(**options)
    expected = generate(model, "modules", call=call, **kwargs)
    # An end of sentence in a prefix ends all hypotheses with the score of the first; which of them come first, each
    # with the attention of its own words, is up to the device.
    attention = case != "prefix"
    # Recorded from the fourth step of a shape on, so that the second time is played from the first step.
    for _ in range(2):
        test_engine.assert_same(generate(model, stepping, call=call, **kwargs), expected, attention)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stepping", ["modules", "engine", "cuda_graph"])
def test_every_number_format_is_close_to_the_exact_one(dtype: str, stepping: str) -> None:
    exact = generate(on_gpu(), "modules", sources())
    model = on_gpu(DTYPES[dtype])
    for _ in range(2):
        found = generate(model, stepping, sources())
        for ours, theirs in zip(found, exact):
            assert ours[0]["score"].dtype is torch.float32
            tolerance = 1e-4 if dtype == "fp32" else 0.15
            assert float(ours[0]["score"]) == pytest.approx(float(theirs[0]["score"]), abs=tolerance)


def test_steps_are_recorded_and_played(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    played: list[int] = []
    record = cuda_graph.GraphCache._record

    def watched(self: Any, shape: Any, operations: Any) -> Any:
        graph = record(self, shape, operations)
        assert graph is not None
        played.append(1)
        return graph

    monkeypatch.setattr(cuda_graph.GraphCache, "_record", watched)
    model = on_gpu()
    with caplog.at_level(logging.WARNING):
        expected = generate(model, "modules", sources(), beam_size=5, max_len_b=45)
        for _ in range(3):
            test_engine.assert_same(generate(model, "cuda_graph", sources(), beam_size=5, max_len_b=45), expected)
    assert played and "cannot be recorded" not in caplog.text


def test_spaces_serve_batches_of_any_size() -> None:
    model = on_gpu()
    for count in (3, 40, 7, 100, 3, 40):
        lines = sources(count)
        expected = generate(model, "engine", lines)
        test_engine.assert_same(generate(model, "cuda_graph", lines), expected)


@pytest.mark.parametrize("stepping", ["modules", "engine", "cuda_graph"])
def test_a_step_waits_for_the_gpu_once(stepping: str) -> None:
    model = on_gpu()
    kwargs: dict[str, Any] = {"min_len": 30, "max_len_b": 30, "no_repeat_ngram_size": 3}
    generator = SequenceGenerator([model], WORDS, beam_size=4, **kwargs)
    generator.stepping = stepping
    sample = utils.move_to_cuda(toys.batch(WORDS, sources()))
    inside: list[str] = []
    step = search.BeamSearch.step

    for _ in range(2):
        generator.generate(None, sample)

    class Counting(search.BeamSearch):
        """Counts what waits between the fifth and the twenty-fifth step."""

        def step(self, number: int, *args: Any, **kwargs: Any) -> Any:
            if number in (5, 25):
                torch.cuda.set_sync_debug_mode("warn" if number == 5 else "default")
            return step(self, number, *args, **kwargs)

    generator.search = Counting(WORDS)
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            generator.generate(None, sample)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    inside = [str(entry.message) for entry in seen if "called a synchronizing" in str(entry.message)]
    # Modules also look whether the last words are padding: then they attend without a mask.
    assert 0 < len(inside) <= (40 if stepping == "modules" else 20), inside[:3]


def test_hypotheses_do_not_depend_on_the_batch() -> None:
    model, lines = on_gpu(), sources(12)
    alone = [generate(model, "engine", [line])[0] for line in lines]
    for stepping in ("engine", "cuda_graph"):
        for ours, theirs in zip(generate(model, stepping, lines), alone):
            assert ours[0]["tokens"].tolist() == theirs[0]["tokens"].tolist()


def test_a_hypothesis_that_overflows_does_not_reach_its_siblings() -> None:
    kwargs = {"beam_size": 4, "max_len_b": 8}
    said = [h["tokens"].tolist() for h in generate(on_gpu(), "modules", **kwargs)[0]]
    word = next(w for other in said[1:] for w in other if w not in said[0])
    model = on_gpu()
    with torch.no_grad():
        model.decoder.embed_tokens.weight[word] = float("nan")
    for stepping in ("modules", "engine", "cuda_graph"):
        assert generate(model, stepping, **kwargs)[0][0]["tokens"].tolist() == said[0]
