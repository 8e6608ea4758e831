"""The tutorial model: padding on either side, one step at a time, every number format."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from fairseq.data import Dictionary

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def plugin() -> Iterator[ModuleType]:
    from fairseq import utils

    utils.import_user_module(Namespace(user_dir=str(ROOT / "plugins" / "tutorial_lstm")))
    yield sys.modules["tutorial_lstm"]


@pytest.fixture
def task() -> SimpleNamespace:
    dictionary = Dictionary()
    for number in range(20):
        dictionary.add_symbol(f"w{number}")
    return SimpleNamespace(source_dictionary=dictionary, target_dictionary=dictionary)


@pytest.fixture
def model(plugin: ModuleType, task: SimpleNamespace) -> torch.nn.Module:
    from fairseq.models import MODEL_REGISTRY

    torch.manual_seed(1)
    args = Namespace(encoder_embed_dim=8, encoder_hidden_dim=6, decoder_embed_dim=8, decoder_hidden_dim=6)
    return MODEL_REGISTRY["simple_lstm"].build_model(args, task).eval()


SOURCE = [[5, 6, 7, 2], [9, 2]]
PREVIOUS = torch.tensor([[2, 10, 11], [2, 12, 13]])


def padded(rows: list[list[int]], left: bool) -> torch.Tensor:
    longest = max(len(row) for row in rows)
    return torch.tensor([[1] * (longest - len(r)) + r if left else r + [1] * (longest - len(r)) for r in rows])


def test_the_preset_fills_only_what_is_open(plugin: ModuleType) -> None:
    args = Namespace(encoder_embed_dim=7)
    plugin.model.tutorial_simple_lstm(args)
    assert vars(args) == {
        "encoder_embed_dim": 7, "encoder_hidden_dim": 256, "encoder_dropout": 0.1,
        "decoder_embed_dim": 256, "decoder_hidden_dim": 256, "decoder_dropout": 0.1,
    }  # fmt: skip


def test_padding_may_be_on_either_side_and_changes_nothing(model: torch.nn.Module) -> None:
    lengths = torch.tensor([4, 2])
    left = model(padded(SOURCE, left=True), lengths, PREVIOUS)[0]
    right = model(padded(SOURCE, left=False), lengths, PREVIOUS)[0]
    alone = model(torch.tensor([SOURCE[1]]), torch.tensor([2]), PREVIOUS[1:])[0]
    torch.testing.assert_close(left, right)
    torch.testing.assert_close(left[1:], alone)


def test_one_step_at_a_time_gives_what_all_steps_at_once_give(model: torch.nn.Module) -> None:
    encoder_out = model.encoder(padded(SOURCE, left=True))
    together = model.decoder(PREVIOUS, encoder_out)[0]
    state: dict = {}
    steps = [model.decoder(PREVIOUS[:, : n + 1], encoder_out, incremental_state=state)[0] for n in range(3)]
    assert all(step.size(1) == 1 for step in steps)
    torch.testing.assert_close(torch.cat(steps, dim=1), together)


def test_states_follow_their_hypotheses(model: torch.nn.Module) -> None:
    encoder_out = model.encoder(padded(SOURCE, left=True))
    state: dict = {}
    model.decoder(PREVIOUS[:, :1], encoder_out, incremental_state=state)
    order = torch.tensor([1, 0])
    model.decoder.reorder_incremental_state_scripting(state, order)
    moved = model.encoder.reorder_encoder_out(encoder_out, order)
    got = model.decoder(PREVIOUS[order, :2], moved, incremental_state=state)[0]
    expected = model.decoder(PREVIOUS, encoder_out)[0][order, 1:2]
    torch.testing.assert_close(got, expected)


def test_it_computes_in_bfloat16_too(model: torch.nn.Module) -> None:
    logits = model.to(torch.bfloat16)(padded(SOURCE, left=True), torch.tensor([4, 2]), PREVIOUS)[0]
    assert logits.dtype == torch.bfloat16 and logits.isfinite().all()


def test_different_sizes_of_the_two_lstms_are_refused_with_the_options_names(
    plugin: ModuleType, task: SimpleNamespace
) -> None:
    with pytest.raises(ValueError, match="--decoder-hidden-dim 3 must equal --encoder-hidden-dim 256"):
        plugin.model.SimpleLSTMModel.build_model(Namespace(decoder_hidden_dim=3), task)


def test_the_decoder_says_what_it_misses(model: torch.nn.Module) -> None:
    with pytest.raises(ValueError, match="encoder"):
        model.decoder(PREVIOUS)
