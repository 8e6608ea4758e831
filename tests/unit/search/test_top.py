"""The two-round selection."""

from __future__ import annotations

import math

import pytest
import torch

from fairseq.search.top import top_k


@pytest.mark.parametrize("width", [100, 2048, 5000, 40007])
@pytest.mark.parametrize("k", [1, 10])
def test_two_rounds_find_the_same_as_one(width: int, k: int) -> None:
    torch.manual_seed(width)
    values = torch.randn(4, width)
    values[1, : width // 2] = -math.inf
    found, where = top_k(values, k)
    assert torch.equal(found, values.topk(k, dim=1).values)
    assert torch.equal(values.gather(1, where), found)
