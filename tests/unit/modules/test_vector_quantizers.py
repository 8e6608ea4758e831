"""Codebooks: what is chosen, what flows back, and how rows are numbered."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from fairseq.modules import GumbelVectorQuantizer, KmeansVectorQuantizer

INPUT = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1))


def gumbel(combine: bool = False, time_first: bool = True, **options: Any) -> GumbelVectorQuantizer:
    torch.manual_seed(0)
    return GumbelVectorQuantizer(8, 4, (2, 0.5, 0.9), 2, combine, 6, time_first, **options)


@pytest.mark.parametrize("combine", [False, True])
def test_the_entry_with_the_highest_score_is_taken_in_evaluation(combine: bool) -> None:
    module = gumbel(combine).eval()
    result = module(INPUT, produce_targets=True)
    scores = module.weight_proj(INPUT).view(2, 5, 2, 4)
    assert torch.equal(result["targets"], scores.argmax(-1))
    entries = module.vars.view(-1, 4, 3)
    for group in range(2):
        expected = entries[0 if combine else group][result["targets"][..., group]]
        torch.testing.assert_close(result["x"][..., 3 * group : 3 * group + 3], expected)
    assert result["num_vars"] == 8
    rows = module.codebook()[module.to_codebook_index(result["targets"])]
    torch.testing.assert_close(rows, result["x"])


def test_training_draws_and_passes_gradients_to_scores_and_entries() -> None:
    module = gumbel(weight_proj_depth=2, weight_proj_factor=3).train()
    result = module(INPUT)
    result["x"].square().sum().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in module.parameters() if p.grad is not None)
    assert module.vars.grad is not None
    assert any(not torch.equal(result["x"], module(INPUT)["x"]) for _ in range(3))


def test_temperature_falls_to_its_end() -> None:
    module = gumbel()
    for updates, expected in ((0, 2), (2, 2 * 0.9**2), (1000, 0.5)):
        module.set_num_updates(updates)
        assert math.isclose(module(INPUT)["temp"], expected)
    assert GumbelVectorQuantizer(8, 4, "(2, 0.5, 0.9)", 2, False, 6, True).max_temp == 2


def test_time_may_come_last() -> None:
    module = gumbel(time_first=False).eval()
    assert torch.equal(module(INPUT.transpose(1, 2))["x"], gumbel().eval()(INPUT)["x"].transpose(1, 2))


def test_perplexity_counts_the_entries_in_use() -> None:
    module = gumbel().eval()
    torch.nn.init.zeros_(module.weight_proj.weight)
    result = module(INPUT)
    # One entry per group is taken, though all are equally likely.
    assert math.isclose(float(result["code_perplexity"]), 2, rel_tol=1e-4)
    assert math.isclose(float(result["prob_perplexity"].detach()), 8, rel_tol=1e-4)


def test_samples_come_from_the_codebook() -> None:
    module = gumbel()
    samples = module.sample_from_codebook(2, 3).view(6, 1, 6)
    assert bool((samples == module.codebook()).all(-1).any(-1).all())
    with pytest.raises(AssertionError, match="cannot draw 16 of the 16 rows"):
        module.sample_from_codebook(1, 16)


@pytest.mark.parametrize("time_first", [True, False])
@pytest.mark.parametrize("combine", [True, False])
def test_kmeans_takes_the_nearest_entry_and_lets_gradients_through(combine: bool, time_first: bool) -> None:
    torch.manual_seed(0)
    module = KmeansVectorQuantizer(8, 4, 2, combine, 8, time_first)
    torch.nn.init.normal_(module.embedding)
    inputs = (INPUT if time_first else INPUT.transpose(1, 2)).clone().requires_grad_()
    result = module(inputs, produce_targets=True)
    encoded = module.projection(inputs.transpose(1, 2) if time_first else inputs).transpose(1, 2).view(2, 5, 2, 1, 4)
    entries = module.expand_embedding.transpose(0, 1)
    assert torch.equal(result["targets"], (encoded - entries.detach()).norm(dim=-1).argmin(-1))
    taken = torch.stack([entries[group][result["targets"][..., group]] for group in range(2)], dim=2).flatten(2)
    torch.testing.assert_close(result["x"] if time_first else result["x"].transpose(1, 2), taken)
    distance = (encoded.flatten(2) - taken).square().mean()
    torch.testing.assert_close(result["kmeans_loss"], 1.25 * distance)
    result["x"].pow(3).sum().backward()
    assert inputs.grad is not None and float(inputs.grad.abs().sum()) > 0
    assert module.embedding.grad is None


def test_sizes_that_do_not_divide_are_refused() -> None:
    with pytest.raises(AssertionError, match="no multiple of the"):
        GumbelVectorQuantizer(8, 4, (2, 0.5, 0.9), 4, False, 6, True)
    with pytest.raises(AssertionError, match="no multiple of the"):
        KmeansVectorQuantizer(8, 4, 3, False, 8, True)
