"""The CRF against sums and maxima over all sentences."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from fairseq.modules.dynamic_crf_layer import DynamicCRF, logsumexp

B, T, V = 3, 4, 5
LENGTHS = [4, 2, 3]


@pytest.fixture
def given() -> tuple[DynamicCRF, Tensor, Tensor, Tensor]:
    torch.manual_seed(3)
    masks = torch.arange(T)[None, :] < torch.tensor(LENGTHS)[:, None]
    return DynamicCRF(V, low_rank=3, beam_size=64), torch.randn(B, T, V), torch.randint(0, V, (B, T)), masks


def _score(crf: DynamicCRF, emissions: Tensor, path: Any) -> float:
    first, second = crf.E1.weight.detach(), crf.E2.weight.detach()
    total = sum(float(emissions[t, y]) for t, y in enumerate(path))
    return total + sum(float(first[a] @ second[b]) for a, b in itertools.pairwise(path))


def _paths(candidates: list[list[int]]) -> list[tuple[int, ...]]:
    return list(itertools.product(*candidates))


def test_with_a_wide_beam_the_likelihood_is_exact(given: Any) -> None:
    crf, emissions, targets, masks = given
    found = crf(emissions, targets, masks)
    for b, length in enumerate(LENGTHS):
        scores = [_score(crf, emissions[b], path) for path in _paths([list(range(V))] * length)]
        expected = _score(crf, emissions[b], targets[b, :length].tolist()) - math.log(sum(map(math.exp, scores)))
        assert found[b].item() == pytest.approx(expected, abs=1e-4)


def test_a_narrow_beam_sums_over_the_best_symbols_and_the_target(given: Any) -> None:
    crf, emissions, targets, masks = given
    found = crf(emissions, targets, masks, beam=2)
    for b, length in enumerate(LENGTHS):
        candidates = []
        for t in range(length):
            target = int(targets[b, t])
            ranked = sorted(range(V), key=lambda y, b=b, t=t: -float(emissions[b, t, y]))
            candidates.append([target, next(y for y in ranked if y != target)])
        scores = [_score(crf, emissions[b], path) for path in _paths(candidates)]
        expected = _score(crf, emissions[b], targets[b, :length].tolist()) - math.log(sum(map(math.exp, scores)))
        assert found[b].item() == pytest.approx(expected, abs=1e-4) and found[b] <= 1e-5


@pytest.mark.parametrize("beam", [64, 2])
def test_the_best_path_is_that_of_a_full_search(given: Any, beam: int) -> None:
    crf, emissions, _, masks = given
    scores, tokens = crf.forward_decoder(emissions, masks, beam=beam)
    assert scores.shape == tokens.shape == (B, T)
    for b, length in enumerate(LENGTHS):
        best = emissions[b].topk(min(beam, V), dim=1)[1].tolist()[:length]
        path = max(_paths(best), key=lambda path, b=b: _score(crf, emissions[b], path))
        assert tokens[b, :length].tolist() == list(path)
        assert scores[b, :length].sum().item() == pytest.approx(_score(crf, emissions[b], path), abs=1e-4)
        assert scores[b, 0].item() == pytest.approx(float(emissions[b, 0, path[0]]), abs=1e-5)
        assert not scores[b, length:].any()
    whole = crf.forward_decoder(emissions, beam=beam)[1]
    assert torch.equal(whole[0], tokens[0])


def test_gradients_reach_emissions_and_both_tables_and_none_comes_from_padding(given: Any) -> None:
    crf, emissions, targets, masks = given
    emissions.requires_grad_()
    crf(emissions, targets, masks).sum().backward()
    assert emissions.grad is not None and not emissions.grad[~masks].any() and emissions.grad[masks].any()
    # Expected counts minus observed ones: they sum to zero at every position.
    torch.testing.assert_close(emissions.grad.sum(2), torch.zeros(B, T), rtol=0, atol=1e-5)
    assert crf.E1.weight.grad.any() and crf.E2.weight.grad.any()


def test_names_and_recorded_loss() -> None:
    crf = DynamicCRF(20, 4, 6)
    assert {name: tuple(value.shape) for name, value in crf.state_dict().items()} == {
        "E1.weight": (20, 4),
        "E2.weight": (20, 4),
    }
    assert crf.extra_repr() == "vocab_size=20, low_rank=4, beam_size=6"
    x = torch.tensor([[1e4, 1e4], [-1e4, -1e4]], dtype=torch.float16)
    assert logsumexp(x, dim=1).isfinite().all() and logsumexp(x).dtype == torch.float16
