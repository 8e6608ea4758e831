"""What models, encoders and decoders promise to the rest."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fairseq.incremental_decoding_utils import FairseqIncrementalState, with_incremental_state
from fairseq.models import (
    BaseFairseqModel,
    CompositeEncoder,
    FairseqDecoder,
    FairseqEncoder,
    FairseqEncoderDecoderModel,
    FairseqEncoderModel,
    FairseqIncrementalDecoder,
    FairseqLanguageModel,
    FairseqMultiModel,
)
from fairseq.modules import FairseqDropout
from fairseq.modules.weight_norm import weight_norm


class ToyEncoder(FairseqEncoder):
    def __init__(self, limit: int = 10) -> None:
        super().__init__("source words")
        self.limit = limit
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, src_tokens: Tensor, src_lengths: Any = None, **kwargs: Any) -> Tensor:
        return src_tokens * self.scale

    def reorder_encoder_out(self, encoder_out: Tensor, new_order: Tensor) -> Tensor:
        return encoder_out.index_select(0, new_order)

    def max_positions(self) -> int:
        return self.limit


class ToyDecoder(FairseqIncrementalDecoder):
    def __init__(self) -> None:
        super().__init__("target words")
        self.proj = nn.Linear(1, 4)

    def extract_features(self, prev_output_tokens: Tensor, encoder_out: Any = None, **kwargs: Any) -> Any:
        return prev_output_tokens.unsqueeze(-1).float(), None

    def forward(self, prev_output_tokens: Tensor, encoder_out: Any = None, **kwargs: Any) -> Any:
        return self.output_layer(self.extract_features(prev_output_tokens)[0]), None

    def output_layer(self, features: Tensor, **kwargs: Any) -> Tensor:
        return self.proj(features)


class Upgrading(nn.Module):
    def upgrade_state_dict_named(self, state_dict: dict[str, Any], name: str) -> None:
        state_dict[name + ".seen"] = True


class OldUpgrading(nn.Module):
    def upgrade_state_dict(self, state_dict: dict[str, Any]) -> None:
        state_dict["old"] = True


def test_parts_of_the_wrong_kind_are_refused() -> None:
    with pytest.raises(AssertionError):
        FairseqEncoderDecoderModel(nn.Linear(1, 1), ToyDecoder())  # type: ignore[arg-type]
    with pytest.raises(AssertionError):
        FairseqLanguageModel(ToyEncoder())  # type: ignore[arg-type]


def test_a_model_without_build_model_says_so() -> None:
    with pytest.raises(NotImplementedError, match="Model must implement the build_model method"):
        BaseFairseqModel.build_model(None, None)


def test_probabilities_are_float32_and_sum_to_one_for_half_precision_logits() -> None:
    model = FairseqLanguageModel(ToyDecoder())
    logits = torch.randn(2, 3, 50).half()
    probs = model.get_normalized_probs((logits, None), log_probs=False)
    lprobs = model.get_normalized_probs((logits, None), log_probs=True)
    assert probs.dtype == lprobs.dtype == torch.float32
    torch.testing.assert_close(probs.sum(-1), torch.ones(2, 3))
    torch.testing.assert_close(lprobs.exp(), probs)


def test_upgrades_reach_every_part_under_each_of_its_names() -> None:
    model = BaseFairseqModel()
    shared = Upgrading()
    model.one = nn.Sequential(shared)
    model.two = nn.Sequential(shared, OldUpgrading())
    state: dict[str, Any] = {}
    model.upgrade_state_dict(state)
    assert state == {"one.0.seen": True, "two.0.seen": True, "old": True}
    nested: dict[str, Any] = {}
    model.upgrade_state_dict_named(nested, "outer")
    assert "outer.two.0.seen" in nested


def test_numbers_of_updates_and_epochs_reach_the_parts() -> None:
    heard: list[int] = []

    class Listener(nn.Module):
        def set_num_updates(self, num_updates: int) -> None:
            heard.append(num_updates)

        def set_epoch(self, epoch: int) -> None:
            heard.append(-epoch)

    model = BaseFairseqModel()
    model.part = nn.Sequential(Listener())
    model.set_num_updates(3)
    model.set_epoch(2)
    assert heard == [3, -2]


def test_making_generation_fast_folds_weight_norm_and_ends_training() -> None:
    model = BaseFairseqModel()
    model.ours = weight_norm(nn.Linear(3, 2))
    model.theirs = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    x = torch.randn(4, 3)
    before = (model.ours(x), model.theirs(x))
    model.make_generation_fast_()
    names = sorted(name for name, _ in model.named_parameters())
    assert names == ["ours.bias", "ours.weight", "theirs.bias", "theirs.weight"]
    torch.testing.assert_close((model.ours(x), model.theirs(x)), before)
    assert not model.training
    model.make_generation_fast_()
    with pytest.raises(RuntimeError, match="cannot train after make_generation_fast"):
        model.train()
    model.eval()


def test_generation_options_reach_the_parts_by_name() -> None:
    got: dict[str, Any] = {}

    class Part(nn.Module):
        def make_generation_fast_(self, name: str, **kwargs: Any) -> None:
            got[name] = kwargs

    model = BaseFairseqModel()
    model.inner = nn.Sequential(Part())
    generation = SimpleNamespace(
        no_beamable_mm=False, beam=7, print_alignment=None, retain_dropout=True, retain_dropout_modules=["X"]
    )
    model.prepare_for_inference_(SimpleNamespace(generation=generation))
    options = got["inner.0"]
    assert options["beamable_mm_beam_size"] == 7
    assert not options["need_attn"]
    assert options["retain_dropout_modules"] == ["X"]


@pytest.mark.parametrize(("modules", "stays"), [(None, True), (["Toy"], True), (["ToyBase"], True), (["Other"], False)])
def test_dropout_stays_on_for_the_modules_that_were_named(modules: list[str] | None, stays: bool) -> None:
    dropout = FairseqDropout(0.5, module_name="ToyBase").eval()
    x = torch.ones(1000)
    assert dropout(x) is x
    dropout.make_generation_fast_("toy", retain_dropout=True, retain_dropout_modules=modules)
    assert bool((dropout(x) == 0).any()) is stays


def test_incremental_state_is_kept_apart_by_instance() -> None:
    @with_incremental_state
    class Keeper(nn.Module):
        pass

    assert Keeper.__bases__[0] is FairseqIncrementalState
    one, two = Keeper(), Keeper()
    state: dict[str, Any] = {}
    assert one.set_incremental_state(state, "x", {"v": None}) is state  # type: ignore[attr-defined]
    assert one.get_incremental_state(state, "x") == {"v": None}  # type: ignore[attr-defined]
    assert two.get_incremental_state(state, "x") is None  # type: ignore[attr-defined]
    assert one.set_incremental_state(None, "x", {}) is None  # type: ignore[attr-defined]


def test_reordering_visits_every_part_that_keeps_state() -> None:
    visited: list[list[int]] = []

    class Part(nn.Module):
        def reorder_incremental_state(self, incremental_state: Any, new_order: Tensor) -> None:
            visited.append(new_order.tolist())

    decoder = ToyDecoder()
    decoder.parts = nn.ModuleList([Part(), nn.Sequential(Part())])
    decoder.reorder_incremental_state_scripting({}, torch.tensor([1, 0]))
    assert visited == [[1, 0], [1, 0]]


def test_beam_size_is_told_once_per_change() -> None:
    told: list[int] = []

    class Part(nn.Module):
        def set_beam_size(self, beam_size: int) -> None:
            told.append(beam_size)

    decoder = ToyDecoder()
    decoder.part = Part()
    for size in (5, 5, 3):
        decoder.set_beam_size(size)
    assert told == [5, 3]


def test_encoder_input_of_generation_leaves_out_the_decoders_part() -> None:
    encoder = ToyEncoder()
    tokens = torch.ones(2, 3)
    out = encoder.forward_torchscript({"src_tokens": tokens, "src_lengths": tokens, "prev_output_tokens": tokens})
    torch.testing.assert_close(out, tokens)


def test_composite_encoder_runs_all_and_takes_the_strictest_limit() -> None:
    composite = CompositeEncoder({"a": ToyEncoder(5), "b": ToyEncoder(3)})
    out = composite(torch.tensor([[1.0], [2.0]]), None)
    assert set(out) == {"a", "b"}
    reordered = composite.reorder_encoder_out(out, torch.tensor([1, 0]))
    assert reordered["b"].flatten().tolist() == [2.0, 1.0]
    assert composite.max_positions() == 3
    assert sorted(composite.state_dict()) == ["a.scale", "b.scale"]


def test_multi_model_runs_every_pair() -> None:
    model = FairseqMultiModel({"x": ToyEncoder(4), "y": ToyEncoder(6)}, {"x": ToyDecoder(), "y": ToyDecoder()})
    out = model(torch.ones(1, 2), None, torch.ones(1, 3))
    assert {key: value[0].shape for key, value in out.items()} == {"x": (1, 3, 4), "y": (1, 3, 4)}
    assert model.max_positions() == {"x": (4, 1e6), "y": (6, 1e6)}
    assert model.encoder is model.models["x"].encoder
    with pytest.raises(ValueError, match="requires a joined dictionary"):
        FairseqMultiModel.build_shared_embeddings({"x": 1, "y": 2}, ["x", "y"], 4, nn.Embedding)


def test_encoder_model_normalises_its_encoder_output() -> None:
    model = FairseqEncoderModel(ToyEncoder())
    lprobs = model.get_normalized_probs({"encoder_out": torch.zeros(1, 4)}, log_probs=True)
    torch.testing.assert_close(lprobs.exp().sum(-1), torch.ones(1))
    with pytest.raises(NotImplementedError):
        model.get_normalized_probs({"encoder_out": [1]}, log_probs=True)


def test_decoder_forward_is_features_then_output_layer() -> None:
    class Plain(FairseqDecoder):
        def extract_features(self, prev_output_tokens: Tensor, encoder_out: Any = None, **kwargs: Any) -> Any:
            return prev_output_tokens + 1, {"extra": kwargs}

        def output_layer(self, features: Tensor, **kwargs: Any) -> Tensor:
            return features * 10

    scores, extra = Plain(None)(torch.tensor([1]), step=3)
    assert scores.tolist() == [20]
    assert extra == {"extra": {"step": 3}}
