"""Recorded block masks: the same masks for the same draws."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fairseq.data import data_utils

CASES = json.loads((Path(__file__).parent / "golden" / "block_masks.json").read_text(encoding="utf-8"))


@pytest.fixture
def fixed_draws(monkeypatch: pytest.MonkeyPatch, case: dict[str, Any]) -> Iterator[None]:
    """torch.multinomial by inverse cumulative sums of numpy's numbers: its own draws differ between releases."""
    rng = np.random.RandomState(case["draw"])

    def multinomial(weights: torch.Tensor, num_samples: int, replacement: bool = False) -> torch.Tensor:
        rows = weights.double().reshape(-1, weights.size(-1))
        sums = (rows.cumsum(-1) / rows.sum(-1, keepdim=True)).contiguous()
        draws = torch.from_numpy(rng.random_sample((len(rows), num_samples)))
        picked = torch.searchsorted(sums, draws, right=True).clamp(max=rows.size(1) - 1)
        return picked.view(*weights.shape[:-1], num_samples)

    monkeypatch.setattr(torch, "multinomial", multinomial)
    yield


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['dims']}d-{case['seed']}")
def test_masks_are_those_recorded(case: dict[str, Any], fixed_draws: None) -> None:
    torch.manual_seed(case["seed"])
    function = data_utils.compute_block_mask_1d if case["dims"] == 1 else data_utils.compute_block_mask_2d
    mask = function(tuple(case["shape"]), **case["args"])
    assert mask.dtype == torch.bool
    assert ["".join(str(int(cell)) for cell in row) for row in mask] == case["rows"]


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("expand", [False, True])
@pytest.mark.parametrize("tiles", [False, True])
def test_every_row_masks_the_same_number(dims: int, inverse: bool, expand: bool, tiles: bool) -> None:
    function = data_utils.compute_block_mask_1d if dims == 1 else data_utils.compute_block_mask_2d
    for share in (0.0, 0.3, 0.8, 1.0):
        mask = function(
            (3, 49), share, 3, inverse_mask=inverse, expand_adjcent=expand, non_overlapping=tiles, mask_dropout=0.1
        )
        kept = int(49 * (1 - share))
        assert mask.sum(1).tolist() == [49 - kept if inverse else int(49 * share)] * 3


def test_patches_that_form_no_square_are_refused() -> None:
    with pytest.raises(ValueError, match="40 patches form no square"):
        data_utils.compute_block_mask_2d((2, 40), 0.5, 4)
    with pytest.raises(ValueError, match="mask_prob=1.5"):
        data_utils.compute_block_mask_1d((2, 40), 1.5, 4)


def test_the_other_span_masks_are_special_cases() -> None:
    given = {"seed": 3, "epoch": 2, "indices": torch.tensor([5, 9])}
    whole = data_utils.compute_mask_indices((2, 60), None, 0.4, 5, min_masks=2, require_same_masks=False, **given)
    np.testing.assert_array_equal(data_utils.compute_mask_indices_v2((2, 60), None, 0.4, 5, 2, False, **given), whole)
    np.testing.assert_array_equal(
        data_utils.compute_mask_indices_v3((2, 60), None, 0.4, 5, "static", 0.0, 2, False, 0, False, 0.0, **given),
        whole,
    )
    for row, index in zip(whole, (5, 9)):
        one = data_utils.compute_mask_indices_for_one(60, 0.4, 5, seed=3, epoch=2, index=index, min_masks=2)
        np.testing.assert_array_equal(one, row)
