"""What the host knows of tensors on a device; ``meta`` stands in for one, as its values cannot be asked for at all."""

from __future__ import annotations

import pytest
import torch

from fairseq import utils
from fairseq.models.transformer._parts import has_padding, padding_mask_of
from fairseq.utils.host import known_on_host, on_host, with_host

TOKENS = torch.tensor([[4, 5, 2], [6, 2, 1]])


def moved(tensor: torch.Tensor = TOKENS) -> torch.Tensor:
    return utils.move_to_device({"tokens": [tensor]}, "meta")["tokens"][0]


def test_whole_numbers_stay_known_and_floats_do_not() -> None:
    assert torch.equal(on_host(moved()), TOKENS)
    assert known_on_host(moved(torch.ones(2))) is None
    assert known_on_host(torch.ones(2, device="meta")) is None


def test_on_the_cpu_a_tensor_is_its_own_copy() -> None:
    here = torch.ones(2)
    assert on_host(here) is here
    assert torch.equal(with_host(torch.neg, here), -here)


def test_what_is_made_of_a_known_tensor_is_known() -> None:
    mask = with_host(lambda x: x.eq(1), moved())
    assert mask.device.type == "meta"
    assert torch.equal(on_host(mask), TOKENS.eq(1))


def test_a_change_in_place_makes_the_copy_worthless() -> None:
    tokens = moved()
    tokens.add_(1)
    assert known_on_host(tokens) is None
    assert known_on_host(with_host(lambda x: x.eq(1), tokens)) is None


@pytest.mark.parametrize(("pad", "padded"), [(1, True), (3, False)])
@pytest.mark.parametrize("look", [True, False])
def test_padding_is_known_without_asking_the_device(pad: int, padded: bool, look: bool) -> None:
    # A look at a tensor of meta would raise.
    assert has_padding(padding_mask_of(moved(), pad), look) is padded


def test_unknown_padding_is_assumed_where_nobody_may_look() -> None:
    assert has_padding(padding_mask_of(torch.zeros(2, 2, dtype=torch.int64, device="meta"), 1), look=False)


def test_inference_tensors_carry_nothing() -> None:
    with torch.inference_mode():
        assert known_on_host(moved()) is None
