"""Losses: fused and plain give the same numbers, models keep their say, options are found by name."""

from __future__ import annotations

import argparse
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fairseq.criterions import CRITERION_REGISTRY, FairseqCriterion, LegacyFairseqCriterion, build_criterion
from fairseq.criterions.fused_loss import plain_logits, smoothed_cross_entropy
from fairseq.criterions.label_smoothed_cross_entropy import label_smoothed_nll_loss
from fairseq.criterions.label_smoothed_cross_entropy_with_rdrop import duplicate_input
from fairseq.models import FairseqDecoder, FairseqLanguageModel
from fairseq.modules import AdaptiveSoftmax

PAD = 1
TASK = SimpleNamespace(target_dictionary=SimpleNamespace(pad=lambda: PAD))


class Table(FairseqDecoder):
    """Scores that are parameters: one row per position."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__(None)
        self.logits = nn.Parameter(logits)

    def forward(self, prev_output_tokens: Tensor, **kwargs: Any) -> Any:  # type: ignore[override]
        return self.logits, {"attn": [None]}


def model_of(logits: Tensor) -> FairseqLanguageModel:
    return FairseqLanguageModel(Table(logits))


def make_sample(batch: int = 3, length: int = 5, vocab: int = 11, seed: int = 0) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(2, vocab, (batch, length), generator=generator)
    target[0, -2:] = PAD
    return {
        "id": torch.arange(batch),
        "net_input": {"src_tokens": target, "src_lengths": target.ne(PAD).sum(1)},
        "target": target,
        "ntokens": int(target.ne(PAD).sum()),
        "nsentences": batch,
    }


def criterion_of(name: str, **options: Any) -> Any:
    return build_criterion(argparse.Namespace(criterion=name, **{"sentence_avg": False, **options}), TASK)


@pytest.mark.parametrize("epsilon", [0.0, 0.1])
@pytest.mark.parametrize("ignored", [PAD, -100])
def test_fused_loss_and_gradient_are_those_of_the_formula(epsilon: float, ignored: int) -> None:
    torch.manual_seed(0)
    target = torch.randint(0, 50, (40,))
    target[::7] = ignored
    fused = torch.randn(40, 50, requires_grad=True)
    plain = fused.detach().clone().requires_grad_()
    loss, nll = smoothed_cross_entropy(fused, target, epsilon, ignored)
    lprobs = F.log_softmax(plain, dim=-1)
    each = epsilon / 49
    keep = target.ne(ignored)
    wanted_nll = F.nll_loss(lprobs, target.masked_fill(~keep, 0), reduction="none")[keep].sum()
    wanted = (1 - epsilon - each) * wanted_nll - each * lprobs[keep].sum()
    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(nll, wanted_nll)
    (3 * loss).backward()
    (3 * wanted).backward()
    torch.testing.assert_close(fused.grad, plain.grad)
    assert not nll.requires_grad


def test_fused_loss_works_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, target = torch.randn(23, 9, requires_grad=True), torch.randint(0, 9, (23,))
    whole = smoothed_cross_entropy(logits, target, 0.2, reduce=False)[0]
    gradient = torch.autograd.grad(whole.sum(), logits)[0]
    monkeypatch.setattr("fairseq.criterions.fused_loss._CPU_PIECE", 9 * 5)
    pieces = smoothed_cross_entropy(logits, target, 0.2, reduce=False)[0]
    torch.testing.assert_close(pieces, whole)
    torch.testing.assert_close(torch.autograd.grad(pieces.sum(), logits)[0], gradient)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_summed_in_float32_and_get_a_gradient_of_their_dtype(dtype: torch.dtype) -> None:
    logits = torch.randn(600, 40).to(dtype).requires_grad_()
    target = torch.randint(0, 40, (600,))
    loss, _ = smoothed_cross_entropy(logits, target, 0.1)
    exact = smoothed_cross_entropy(logits.detach().double().float(), target, 0.1)[0]
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, exact, rtol=1e-5, atol=1e-3)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad.dtype == dtype


def test_the_softmax_of_a_model_or_decoder_of_ones_own_is_respected() -> None:
    logits = torch.randn(3, 5, 11)

    class OwnModel(FairseqLanguageModel):
        def get_normalized_probs(self, net_output: Any, log_probs: bool, sample: Any = None) -> Tensor:
            return torch.full_like(net_output[0], -2.0)

    class OwnDecoder(Table):
        def get_normalized_probs(self, net_output: Any, log_probs: bool, sample: Any = None) -> Tensor:
            return torch.full_like(net_output[0], -2.0)

    sample = make_sample()
    for model in (OwnModel(Table(logits)), FairseqLanguageModel(OwnDecoder(logits))):
        assert plain_logits(model, (logits, None)) is None
        assert criterion_of("cross_entropy")(model, sample)[0].item() == pytest.approx(2.0 * sample["ntokens"])
    assert plain_logits(model_of(logits), (logits, None)) is logits


def test_a_wrapper_that_passes_attributes_on_does_not_hinder_the_fused_loss() -> None:
    model = model_of(torch.randn(3, 5, 11))

    class Proxy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = model

        def __getattr__(self, name: str) -> Any:
            try:
                return super().__getattr__(name)
            except AttributeError:
                return getattr(super().__getattr__("module"), name)

    logits = torch.zeros(1)
    assert plain_logits(Proxy(), (logits, None)) is logits


@pytest.mark.parametrize("name", ["cross_entropy", "label_smoothed_cross_entropy"])
def test_unreduced_losses_add_up_to_the_reduced_one(name: str) -> None:
    criterion, model, sample = criterion_of(name, label_smoothing=0.1), model_of(torch.randn(3, 5, 11)), make_sample()
    reduced = criterion(model, sample)[0]
    each = criterion(model, sample, reduce=False)[0]
    assert each.size(0) == 15
    torch.testing.assert_close(each.sum(), reduced)


def test_an_ignored_prefix_counts_neither_in_the_loss_nor_in_the_accuracy() -> None:
    model, sample = model_of(torch.randn(3, 5, 11)), make_sample()
    cut = criterion_of("label_smoothed_cross_entropy", label_smoothing=0.1, ignore_prefix_size=2, report_accuracy=True)
    loss, _, logged = cut(model, sample)
    lprobs = F.log_softmax(model.decoder.logits[:, 2:], -1).reshape(-1, 11)
    wanted = label_smoothed_nll_loss(lprobs, sample["target"][:, 2:].reshape(-1), 0.1, PAD)[0]
    torch.testing.assert_close(loss, wanted)
    assert int(logged["total"]) == int(sample["target"][:, 2:].ne(PAD).sum())


def test_a_subclass_that_changes_the_probabilities_is_asked_for_them() -> None:
    from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion

    class Own(LabelSmoothedCrossEntropyCriterion):
        def get_lprobs_and_target(self, model: Any, net_output: Any, sample: Any) -> Any:
            return torch.full((4, 11), -1.0), torch.tensor([2, 3, 4, PAD])

    loss, _, _ = Own(TASK, False, 0.0)(model_of(torch.randn(3, 5, 11)), make_sample())
    assert loss.item() == pytest.approx(3.0)


def test_sample_size_counts_sentences_or_tokens() -> None:
    model, sample = model_of(torch.randn(3, 5, 11)), make_sample()
    assert criterion_of("cross_entropy")(model, sample)[1] == sample["ntokens"]
    assert criterion_of("cross_entropy", sentence_avg=True)(model, sample)[1] == 3


def test_rdrop_adds_the_divergence_of_two_passes_and_leaves_the_batch_alone() -> None:
    sample = make_sample()
    first, second = torch.randn(3, 5, 11), torch.randn(3, 5, 11)
    both = model_of(torch.cat([first, second]))
    for prefix in (0, 1):
        criterion = criterion_of(
            "label_smoothed_cross_entropy_with_rdrop", label_smoothing=0.1, rdrop_alpha=5.0, ignore_prefix_size=prefix
        )
        loss, _, logged = criterion(both, sample)
        p, q = (F.log_softmax(x[:, prefix:], -1) for x in (first, second))
        keep = sample["target"][:, prefix:].ne(PAD).unsqueeze(-1)
        kl = ((p.exp() * (p - q) + q.exp() * (q - p)) * keep).sum() / 2
        plain = sum(
            label_smoothed_nll_loss(x.reshape(-1, 11), sample["target"][:, prefix:].reshape(-1), 0.1, PAD)[0]
            for x in (p, q)
        )
        torch.testing.assert_close(logged["rdrop_kl_loss"], kl)
        torch.testing.assert_close(loss, plain + 5.0 * kl)
    assert sample["net_input"]["src_tokens"].size(0) == 3
    assert duplicate_input(sample)["net_input"]["src_tokens"].size(0) == 6


def test_alignment_loss_pulls_attention_to_the_links() -> None:
    attention = torch.rand(2, 3, 4, requires_grad=True)
    criterion = criterion_of("label_smoothed_cross_entropy_with_alignment", label_smoothing=0.0, alignment_lambda=0.5)
    links = torch.tensor([[0, 0], [3, 4], [1, 4]])
    weights = torch.tensor([1.0, 0.5, 0.5])
    sample = {"alignments": links, "align_weights": weights}
    loss = criterion.compute_alignment_loss(sample, (None, {"attn": [attention]}))
    wanted = -(attention[0, 0, 0].log() + 0.5 * attention[1, 1, 3].log() + 0.5 * attention[1, 1, 1].log())
    torch.testing.assert_close(loss, wanted)
    empty = {"alignments": links[:0], "align_weights": weights[:0]}
    assert criterion.compute_alignment_loss(empty, (None, {"attn": [attention]})) is None


class AdaptiveModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.decoder = nn.Module()
        self.decoder.adaptive_softmax = AdaptiveSoftmax(11, 8, [4, 7], dropout=0.0, factor=2)
        self.features = nn.Parameter(torch.randn(3, 5, 8))

    def forward(self, **unused: Any) -> Any:
        return self.features, None

    def get_targets(self, sample: Any, net_output: Any) -> Tensor:
        return sample["target"]


def test_adaptive_loss_is_the_negative_log_probability_of_the_targets() -> None:
    torch.manual_seed(1)
    model, criterion = AdaptiveModel(), criterion_of("adaptive_loss")
    target = torch.tensor([[2, 3, 4, PAD, PAD], [7, 9, 10, 2, 6], [2, 2, 2, 2, 2]])
    sample = {**make_sample(), "target": target, "ntokens": 13}
    loss, sample_size, _ = criterion(model, sample)
    lprobs = model.decoder.adaptive_softmax.get_log_prob(model.features, None)
    torch.testing.assert_close(lprobs.exp().sum(-1), torch.ones(3, 5))
    wanted = F.nll_loss(lprobs.view(-1, 11), target.view(-1), ignore_index=PAD, reduction="sum")
    torch.testing.assert_close(loss[0], wanted)
    assert int(sample_size) == 13
    each = criterion(model, sample, reduce=False)[0]
    torch.testing.assert_close(each.sum(), wanted)
    assert each[3] == 0


def test_adaptive_loss_refuses_torch_ddp_and_models_without_adaptive_softmax() -> None:
    with pytest.raises(Exception, match="ddp-backend=legacy_ddp"):
        criterion_of("adaptive_loss", ddp_backend="pytorch_ddp")
    with pytest.raises(AssertionError, match="adaptive softmax"):
        criterion_of("adaptive_loss", ddp_backend="legacy_ddp")(model_of(torch.zeros(1)), make_sample())


def test_composite_loss_averages_over_outputs_and_logs_as_the_one_inside() -> None:
    task = SimpleNamespace(target_dictionary=TASK.target_dictionary)
    task.build_criterion = lambda args: build_criterion(args, task)
    args = argparse.Namespace(criterion="composite_loss", underlying_criterion="cross_entropy", sentence_avg=False)
    criterion = build_criterion(args, task)
    logits, sample = torch.randn(3, 5, 11), make_sample()
    inner = model_of(logits)

    class Several(nn.Module):
        decoder = inner.decoder

        def forward(self, **unused: Any) -> Any:
            return [logits, 2 * logits], None

        def get_normalized_probs(self, *args: Any, **kwargs: Any) -> Tensor:
            return inner.get_normalized_probs(*args, **kwargs)

    sample["target"] = [sample["target"], sample["target"]]
    loss, _, _ = criterion(Several(), sample)
    target = sample["target"][0].view(-1)
    parts = [F.cross_entropy((k * logits).view(-1, 11), target, ignore_index=PAD, reduction="sum") for k in (1, 2)]
    torch.testing.assert_close(loss, sum(parts) / 2)
    assert args.criterion == "composite_loss"
    assert type(criterion).reduce_metrics.__self__ is type(criterion)
    args.underlying_criterion = "composite_loss"
    with pytest.raises(AssertionError, match="another criterion"):
        build_criterion(args, task)


def test_the_model_criterion_weighs_the_models_own_losses() -> None:
    class Own(nn.Module):
        def forward(self, **unused: Any) -> Any:
            return {"losses": {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor(4.0)}, "note": torch.tensor([5.0, 6.0])}

    criterion = criterion_of("model", loss_weights={"a": 2.0, "b": 0.5}, log_keys=["note"], can_sum=False)
    loss, sample_size, logged = criterion(Own(), make_sample())
    assert loss.item() == 8.0
    assert sample_size == 1
    assert (float(logged["loss_a"]), float(logged["loss_b"]), float(logged["note_1"])) == (6.0, 2.0, 6.0)
    assert criterion.logging_outputs_can_be_summed() is False
    with pytest.raises(KeyError, match="no weight for b"):
        criterion_of("model", loss_weights={"a": 1.0})(Own(), make_sample())
    with pytest.raises(Exception, match="Could not retrieve losses"):
        criterion_of("model")(model_of(torch.zeros(1)), make_sample())


def test_metrics_are_in_base_two_and_perplexity_follows_the_loss_per_token() -> None:
    from fairseq.logging import metrics

    log = {"loss": 20 * math.log(2), "nll_loss": 10 * math.log(2), "ntokens": 10, "sample_size": 5}
    for name, wanted in (
        ("cross_entropy", {"loss": 4.0, "nll_loss": 2.0, "ppl": 4.0}),
        ("label_smoothed_cross_entropy", {"loss": 4.0, "nll_loss": 1.0, "ppl": 2.0}),
    ):
        with metrics.aggregate(new_root=True) as aggregator:
            CRITERION_REGISTRY[name].reduce_metrics([log])
        values = aggregator.get_smoothed_values()
        assert {key: float(values[key]) for key in wanted} == pytest.approx(wanted)


def test_constructor_arguments_are_found_by_name() -> None:
    class Wants(FairseqCriterion):
        def __init__(self, task: Any, cfg: Any, weight: float, extra: int = 3) -> None:
            super().__init__(task)
            self.found = (cfg.weight, weight, extra)

    built = Wants.build_criterion(SimpleNamespace(weight=0.5), TASK)
    assert built.found == (0.5, 0.5, 3)
    assert built.padding_idx == PAD
    assert Wants.build_criterion(SimpleNamespace(weight=1), None).padding_idx == -100
    with pytest.raises(NotImplementedError, match="Unable to infer Criterion arguments"):
        Wants.build_criterion(SimpleNamespace(), TASK)

    class Variadic(FairseqCriterion):
        def __init__(self, *args: Any) -> None:
            super().__init__(args[0])

    with pytest.raises(NotImplementedError):
        Variadic.build_criterion(SimpleNamespace(), TASK)


def test_a_legacy_criterion_gets_the_namespace_and_its_old_aggregation_is_logged() -> None:
    from fairseq.logging import metrics

    class Old(LegacyFairseqCriterion):
        @staticmethod
        def aggregate_logging_outputs(logging_outputs: list[dict[str, Any]]) -> dict[str, Any]:
            return {"mine": sum(log["x"] for log in logging_outputs), "ntokens": 5}

    args = argparse.Namespace(anything=1)
    assert Old.build_criterion(args, TASK).args is args
    with metrics.aggregate(new_root=True) as aggregator:
        Old.reduce_metrics([{"x": 1}, {"x": 2}])
    assert aggregator.get_smoothed_values() == {"mine": 3}
    with pytest.raises(NotImplementedError):
        FairseqCriterion.reduce_metrics([{}])
