"""The loss taken from features equals the loss taken from logits, and is only taken where the model allows it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fairseq.criterions import fused_loss, projected_loss
from fairseq.criterions.cross_entropy import CrossEntropyCriterion
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from fairseq.criterions.projected_loss import loss_without_logits
from fairseq.data import Dictionary
from fairseq.models import FairseqEncoder, FairseqEncoderDecoderModel, FairseqIncrementalDecoder

PAD = 1


@pytest.fixture(autouse=True)
def several_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projected_loss, "PIECE", 3 * 604)
    monkeypatch.setattr(fused_loss, "SMALL", 0)


def dictionary() -> Dictionary:
    words = Dictionary()
    for number in range(600):
        words.add_symbol(f"w{number}")
    return words


class Encoder(FairseqEncoder):
    def forward(self, src_tokens: Tensor, src_lengths: Any = None, **_: Any) -> Any:
        return src_tokens.float().mean(dim=1)


class Decoder(FairseqIncrementalDecoder):
    def __init__(self, words: Dictionary, bias: bool = True) -> None:
        super().__init__(words)
        self.embed = nn.Embedding(len(words), 6)
        self.output_projection = nn.Linear(6, len(words), bias=bias)

    def extract_features(  # type: ignore[override]
        self, prev_output_tokens: Tensor, encoder_out: Any = None, incremental_state: Any = None, **_: Any
    ) -> tuple[Tensor, None]:
        embedded = self.embed(prev_output_tokens)
        return torch.tanh(embedded + (0.01 * encoder_out[:, None, None]).to(embedded.dtype)), None


class Careful(Decoder):
    """Overrides forward, and so must be asked for its logits."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        features, extra = self.extract_features(*args, **kwargs)
        return 2 * self.output_layer(features), extra


def build(decoder: type[Decoder] = Decoder, **kwargs: Any) -> FairseqEncoderDecoderModel:
    torch.manual_seed(3)
    words = dictionary()
    return FairseqEncoderDecoderModel(Encoder(words), decoder(words, **kwargs))


def batch() -> dict[str, Any]:
    target = torch.tensor([[5, 9, 600, 2], [7, 2, PAD, PAD], [8, 9, 2, PAD]])
    inputs = {"src_tokens": torch.tensor([[4, 2], [5, 2], [6, 2]]), "src_lengths": torch.tensor([2, 2, 2])}
    inputs["prev_output_tokens"] = target.roll(1, 1)
    return {"net_input": inputs, "target": target, "ntokens": 9, "nsentences": 3}


def criterion(epsilon: float | None) -> Any:
    task = SimpleNamespace(target_dictionary=dictionary())
    if epsilon is None:
        return CrossEntropyCriterion(task, sentence_avg=False)
    return LabelSmoothedCrossEntropyCriterion(task, sentence_avg=False, label_smoothing=epsilon)


def reference(model: Any, sample: dict[str, Any], epsilon: float) -> Tensor:
    logits, _ = model(**sample["net_input"])
    lprobs = torch.log_softmax(logits, dim=-1)
    kept = sample["target"].ne(PAD)
    nll = -lprobs.gather(-1, sample["target"].unsqueeze(-1)).squeeze(-1)
    each = epsilon / (logits.size(-1) - 1)
    return (((1 - epsilon - each) * nll - each * lprobs.sum(-1)) * kept).sum()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("epsilon", [None, 0.0, 0.1])
def test_loss_and_gradients_are_those_of_the_formula(epsilon: float | None, bias: bool) -> None:
    model, sample = build(bias=bias), batch()
    expected = reference(model, sample, epsilon or 0.0)
    wanted = torch.autograd.grad(3 * expected, list(model.parameters()))
    loss, size, log = criterion(epsilon)(model, sample)
    got = torch.autograd.grad(3 * loss, list(model.parameters()))
    torch.testing.assert_close(loss, expected)
    assert size == 9 and log["ntokens"] == 9
    for one, other in zip(got, wanted):
        torch.testing.assert_close(one, other)


def test_logits_are_made_for_a_few_words_at_a_time_and_not_for_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    model, sample = build(), batch()
    seen = []
    linear = torch.nn.functional.linear

    def watched(*arguments: Tensor) -> Tensor:
        seen.append(linear(*arguments).shape)
        return linear(*arguments)

    monkeypatch.setattr(torch.nn.functional, "linear", watched)
    assert loss_without_logits(model, sample, PAD) is not None
    assert [tuple(shape) for shape in seen] == [(3, 604)] * 3


def test_nothing_is_kept_without_gradients() -> None:
    model, sample = build(), batch()
    with torch.no_grad():
        loss, _, _ = criterion(0.1)(model, sample)
    torch.testing.assert_close(loss, reference(model, sample, 0.1).detach())
    assert not loss.requires_grad


def test_bfloat16_weights_give_bfloat16_gradients() -> None:
    model, sample = build().to(torch.bfloat16), batch()
    loss, _, _ = criterion(None)(model, sample)
    loss.backward()
    assert model.decoder.output_projection.weight.grad.dtype == torch.bfloat16
    torch.testing.assert_close(loss, reference(model.float(), sample, 0.0), rtol=2e-2, atol=0)


@pytest.mark.parametrize("change", ["overridden", "hooked", "float16", "own_targets", "own_probs", "small", "wrapped"])
def test_a_model_with_a_say_in_its_logits_is_asked_for_them(change: str) -> None:
    model, sample = build(Careful if change == "overridden" else Decoder), batch()
    if change == "hooked":
        model.decoder.output_projection.register_forward_hook(lambda *_: None)
    elif change == "float16":
        model = model.half()
    elif change == "own_targets":
        model.__class__ = type("Own", (FairseqEncoderDecoderModel,), {"get_targets": lambda *_: None})
    elif change == "own_probs":
        model.decoder.__class__ = type("Own", (Decoder,), {"get_normalized_probs": lambda *_: None})
    elif change == "small":
        model.decoder.output_projection = nn.Linear(6, 12)
    elif change == "wrapped":
        model = nn.ModuleList([model])  # type: ignore[assignment]
    assert loss_without_logits(model, sample, PAD) is None


def test_an_overridden_forward_still_counts() -> None:
    model, sample = build(Careful), batch()
    loss, _, _ = criterion(None)(model, sample)
    torch.testing.assert_close(loss, reference(model, sample, 0.0))


@pytest.mark.parametrize("bias", [False, True])
def test_the_gradient_may_be_taken_twice_from_one_graph(bias: bool) -> None:
    model = build(bias=bias)
    found = loss_without_logits(model, batch(), PAD, 0.1)
    assert found is not None
    found[0].backward(retain_graph=True)
    once = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    found[0].backward()
    twice = [p.grad for p in model.parameters() if p.grad is not None]
    assert len(once) == len(twice) > 1
    for first, second in zip(once, twice):
        torch.testing.assert_close(second, 2 * first)
