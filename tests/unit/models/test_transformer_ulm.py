"""The language model of speech units and its loss."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from fairseq.criterions.speech_ulm_criterion import (
    SpeechUnitLmCriterion,
    SpeechUnitLmCriterionConfig,
    mae_loss,
    nll_loss,
)
from fairseq.data.dictionary import Dictionary
from fairseq.models.transformer_ulm import SpeechUnitLanguageModelConfig, TransformerUnitLanguageModel

SIZES = {
    "decoder_layers": 1, "decoder_embed_dim": 16, "decoder_input_dim": 16, "decoder_output_dim": 16,
    "decoder_ffn_embed_dim": 16, "decoder_attention_heads": 2, "dropout": 0.0, "max_target_positions": 16,
}  # fmt: skip


def words(count: int) -> Dictionary:
    dictionary = Dictionary()
    for index in range(count):
        dictionary.add_symbol(f"u{index}")
    return dictionary


def make_task(discrete: bool) -> Any:
    units, durations, pitches = words(8), words(4), words(6)
    other = (len(durations), len(pitches)) if discrete else (1, 1)
    cfg = SimpleNamespace(
        discrete_duration=discrete, discrete_f0=discrete, ignore_duration_input=False, ignore_f0_input=False
    )
    return SimpleNamespace(
        cfg=cfg,
        source_dictionary=units,
        target_dictionary=units,
        source_duration_dictionary=durations if discrete else None,
        source_f0_dictionary=pitches if discrete else None,
        channel_names=["token", "duration", "f0"],
        channel_sizes=[len(units), *other],
    )


def make_model(task: Any, **options: Any) -> TransformerUnitLanguageModel:
    torch.manual_seed(0)
    cfg = OmegaConf.structured(SpeechUnitLanguageModelConfig(**{**SIZES, **options}))
    return TransformerUnitLanguageModel.build_model(cfg, task)


def make_sample(discrete: bool) -> dict[str, Any]:
    stream = torch.tensor([[4, 5, 6, 4], [5, 4, 1, 1]])
    real = torch.tensor([[0.5, 1.0, 2.0, 3.0], [1.0, 1.0, 0.0, 0.0]])
    other = stream if discrete else real
    padding = stream.eq(1)
    return {
        "net_input": {"src_tokens": stream, "dur_src": other, "f0_src": other, "src_lengths": torch.tensor([4, 2])},
        "target": stream, "dur_target": other, "f0_target": other,
        "mask": padding, "dur_mask": padding, "f0_mask": padding, "ntokens": 6, "nsentences": 2,
    }  # fmt: skip


@pytest.mark.parametrize("discrete", [False, True])
def test_the_loss_is_the_weighted_sum_of_three_streams_without_padding(discrete: bool) -> None:
    task = make_task(discrete)
    model = make_model(task).eval()
    cfg = SpeechUnitLmCriterionConfig(
        sentence_avg=False, loss_weights="1;0.5;0.25", discrete_duration=discrete, discrete_f0=discrete
    )
    sample = make_sample(discrete)
    loss, size, log = SpeechUnitLmCriterion(cfg, task)(model, sample)
    assert size == 6
    out = model(**sample["net_input"])
    real = ~sample["mask"]

    def expected(name: str, target: torch.Tensor, is_discrete: bool) -> torch.Tensor:
        if not is_discrete:
            return (out[name].squeeze(-1) - target)[real].abs().sum()
        return -out[name].log_softmax(-1).gather(-1, target.unsqueeze(-1)).squeeze(-1)[real].sum()

    parts = [
        expected("token", sample["target"], True),
        expected("duration", sample["dur_target"], discrete),
        expected("f0", sample["f0_target"], discrete),
    ]
    torch.testing.assert_close(loss, parts[0] + 0.5 * parts[1] + 0.25 * parts[2])
    torch.testing.assert_close(log["dur_loss"], parts[1].detach())


def test_losses_per_position_add_up() -> None:
    pred, target = torch.randn(2, 3, 5), torch.tensor([[0, 1, 2], [3, 4, 0]])
    mask = torch.tensor([[False, True, False], [False, False, True]])
    torch.testing.assert_close(nll_loss(pred, target, mask, reduce=False).sum(), nll_loss(pred, target, mask))
    assert mae_loss(pred[..., :1], target, mask, reduce=False)[0, 1] == 0


def test_weights_that_are_not_three_numbers_are_refused() -> None:
    for weights in ("1;2", "1;a;2"):
        cfg = SpeechUnitLmCriterionConfig(loss_weights=weights, discrete_duration=False, discrete_f0=False)
        with pytest.raises(ValueError, match="--loss-weights"):
            SpeechUnitLmCriterion(cfg, make_task(False))


@pytest.mark.parametrize("option", ["mask_unit_seg_prob", "mask_dur_prob", "mask_dur_seg_prob", "mask_f0_prob",
                                    "mask_f0_seg_prob"])  # fmt: skip
def test_each_masking_option_changes_the_input_in_training(option: str) -> None:
    lengths = {"mask_unit_seg_leng": 1, "mask_dur_seg_leng": 1, "mask_f0_seg_leng": 1}
    model = make_model(make_task(True), **{option: 0.5 if "seg" in option else 1.0}, **lengths).train()
    inputs = make_sample(True)["net_input"]
    masked = model.apply_dropout(inputs["src_tokens"], inputs["dur_src"], inputs["f0_src"])
    stream = {"u": 0, "d": 2, "f": 4}[option.removeprefix("mask_")[0]]
    changed = [index for index in (0, 2, 4) if bool(masked[index + 1].any())]
    assert changed == [stream]
    assert bool((masked[stream][masked[stream + 1]] == 3).all())


@pytest.mark.parametrize("name", ["ignore_duration_input", "ignore_f0_input"])
def test_ignored_inputs_do_not_matter(name: str) -> None:
    task = make_task(False)
    setattr(task.cfg, name, True)
    model = make_model(task).eval()
    inputs = make_sample(False)["net_input"]
    key = "dur_src" if "duration" in name else "f0_src"
    torch.testing.assert_close(model(**inputs)["token"], model(**{**inputs, key: inputs[key] + 1})["token"])
