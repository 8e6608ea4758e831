"""Recurrent and convolutional families beyond the recorded numbers."""

from __future__ import annotations

import argparse
import copy
from pathlib import Path
from typing import Any, Dict, Optional

import pytest
import torch
from torch import Tensor, nn

from fairseq.data import Dictionary
from fairseq.models import ARCH_MODEL_REGISTRY, build_model
from fairseq.models.fconv.layers import attention_per_layer, extend_conv_spec, read_layers
from fairseq.models.lstm import LSTMDecoder

LSTM = {
    "encoder_embed_dim": 8,
    "decoder_embed_dim": 8,
    "decoder_out_embed_dim": 8,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "dropout": 0.0,
}
LIGHT = {
    "encoder_embed_dim": 8,
    "encoder_ffn_embed_dim": 8,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_kernel_size_list": [3],
    "decoder_kernel_size_list": [3],
}
FCONV = {
    "encoder_embed_dim": 8,
    "decoder_embed_dim": 8,
    "decoder_out_embed_dim": 8,
    "encoder_layers": "[(8, 3)] * 2",
    "decoder_layers": "[(8, 3)] * 2",
    "max_source_positions": 30,
    "max_target_positions": 30,
}


class Task:
    def __init__(self, words: int = 16) -> None:
        self.dictionary = Dictionary()
        for index in range(words):
            self.dictionary.add_symbol(f"w{index}")
        self.source_dictionary = self.target_dictionary = self.output_dictionary = self.dictionary


def build(arch: str, task: Any = None, **options: Any) -> Any:
    parser = argparse.ArgumentParser(argument_default=argparse.SUPPRESS)
    ARCH_MODEL_REGISTRY[arch].add_args(parser)
    args = argparse.Namespace(arch=arch, **vars(parser.parse_args([])))
    vars(args).update(copy.deepcopy(options))
    torch.manual_seed(0)
    return build_model(args, task or Task())


SOURCE = torch.tensor([[4, 5, 6, 2], [7, 8, 2, 1]])
LENGTHS = torch.tensor([4, 3])
TARGET = torch.tensor([[2, 9, 10], [2, 11, 12]])


# --------------------------------------------------------------------------------------------------------------- lstm
def test_lstm_encoder_does_not_care_about_the_padding_side() -> None:
    encoder = build("lstm", **LSTM).eval().encoder
    left = torch.tensor([[4, 5, 6, 2], [1, 7, 8, 2]])
    for a, b in zip(encoder(SOURCE, LENGTHS), encoder(left, LENGTHS)):
        torch.testing.assert_close(a, b)


def test_lstm_encodes_unsorted_batches_on_request() -> None:
    encoder = build("lstm", **LSTM, encoder_bidirectional=True).eval().encoder
    order = torch.tensor([1, 0])
    sorted_out = encoder.reorder_encoder_out(encoder(SOURCE, LENGTHS), order)
    unsorted_out = encoder(SOURCE[order], LENGTHS[order], enforce_sorted=False)
    for a, b in zip(sorted_out, unsorted_out):
        torch.testing.assert_close(a, b)


def test_lstm_attention_is_a_distribution_over_the_source_words() -> None:
    model = build("lstm", **LSTM).eval()
    _, attention = model(SOURCE, LENGTHS, TARGET)
    assert attention.shape == (2, 3, 4)
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, 3))
    assert attention[1, :, 3].abs().sum() == 0
    assert model.train()(SOURCE, LENGTHS, TARGET)[1] is None
    model.eval().make_generation_fast_(need_attn=False)
    assert model(SOURCE, LENGTHS, TARGET)[1] is None


def test_lstm_without_attention_still_feeds_its_output_back() -> None:
    model = build("lstm", **LSTM, decoder_attention="0").eval()
    assert model.decoder.attention is None
    encoder_out = model.encoder(SOURCE, LENGTHS)
    whole = model.decoder(TARGET, encoder_out=encoder_out)[0]
    state: dict[str, Any] = {}
    steps = [model.decoder(TARGET[:, : t + 1], encoder_out=encoder_out, incremental_state=state)[0] for t in range(3)]
    torch.testing.assert_close(torch.cat(steps, dim=1), whole)


@pytest.mark.parametrize("residuals", [True, False])
def test_language_model_by_layers_equals_language_model_by_steps(residuals: bool) -> None:
    torch.manual_seed(0)
    task = Task()
    decoder = LSTMDecoder(
        task.dictionary, 6, 6, 6, num_layers=3, attention=False, encoder_output_units=0, residuals=residuals
    ).eval()
    by_layers = decoder(TARGET)[0]
    x = decoder.embed_tokens(TARGET).transpose(0, 1)
    zeros = [x.new_zeros(2, 6) for _ in range(3)]
    by_steps = decoder._run_steps(x, list(zeros), list(zeros), None, None)[0].transpose(0, 1)
    torch.testing.assert_close(decoder.output_layer(by_steps), by_layers)
    by_layers.sum().backward()
    assert all(p.grad is not None for p in decoder.layers.parameters())


class TwoSteps(nn.Module):
    """Decode two tokens with a reordering in between, as scripted generation does."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.encoder = model.encoder
        self.decoder = model.decoder

    def forward(self, src: Tensor, lengths: Tensor, prefix: Tensor, order: Tensor) -> Tensor:
        state = torch.jit.annotate(Dict[str, Dict[str, Optional[Tensor]]], {})
        encoder_out = self.encoder(src, lengths)
        self.decoder(prefix[:, :1], encoder_out=encoder_out, incremental_state=state)
        self.decoder.reorder_incremental_state_scripting(state, order)
        encoder_out = self.encoder.reorder_encoder_out(encoder_out, order)
        return self.decoder(prefix, encoder_out=encoder_out, incremental_state=state)[0]


@pytest.mark.parametrize(
    ("arch", "options"),
    [
        ("lstm", LSTM),
        ("lightconv", LIGHT),
        ("lightconv", {**LIGHT, "encoder_conv_type": "lightweight", "decoder_conv_type": "lightweight"}),
    ],
)
def test_scripted_models_generate_as_the_plain_ones(arch: str, options: dict[str, Any]) -> None:
    model = build(arch, **options).eval()
    inputs = (SOURCE, LENGTHS, TARGET[:, :2], torch.tensor([1, 1]))
    torch.testing.assert_close(torch.jit.script(model)(SOURCE, LENGTHS, TARGET)[0], model(SOURCE, LENGTHS, TARGET)[0])
    torch.testing.assert_close(torch.jit.script(TwoSteps(model))(*inputs), TwoSteps(model)(*inputs))


@pytest.mark.parametrize(
    ("arch", "options", "message"),
    [
        ("lstm", {"encoder_layers": 2, "decoder_layers": 1}, "--encoder-layers must match --decoder-layers"),
        ("lstm", {"share_all_embeddings": True, "decoder_embed_dim": 9}, "match --decoder-embed-dim"),
        ("lstm", {"share_decoder_input_output_embed": True, "decoder_out_embed_dim": 9}, "--decoder-out-embed-dim"),
        ("lstm_lm", {"decoder_attention": "1"}, "no source to attend to"),
        ("lightconv", {"share_all_embeddings": True, "decoder_embed_path": "x"}, "--decoder-embed-path"),
        ("fconv_self_att", {**FCONV, "pretrained": "True"}, "--pretrained-checkpoint"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arch: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(arch, **options)


def test_all_embeddings_are_shared_on_request() -> None:
    model = build("lstm", **LSTM, share_all_embeddings=True)
    assert model.encoder.embed_tokens is model.decoder.embed_tokens
    assert not hasattr(model.decoder, "fc_out")
    other = Task()
    other.target_dictionary = Task(5).dictionary
    with pytest.raises(ValueError, match="requires a joined dictionary"):
        build("lstm", other, **LSTM, share_all_embeddings=True)


@pytest.mark.parametrize("arch", ["lstm", "fconv", "lightconv"])
def test_word_vectors_begin_with_those_of_a_file(arch: str, tmp_path: Path) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text("1 8\nw3 " + " ".join(str(i) for i in range(8)) + "\n", encoding="utf-8")
    options = {"lstm": LSTM, "fconv": FCONV, "lightconv": LIGHT}[arch]
    task = Task()
    model = build(arch, task, **options, encoder_embed_path=str(path))
    row = model.encoder.embed_tokens.weight[task.dictionary.index("w3")]
    assert row.tolist() == [float(i) for i in range(8)]


def test_frozen_word_vectors_get_no_gradient() -> None:
    model = build("lstm", **LSTM, encoder_freeze_embed=True)
    model(SOURCE, LENGTHS, TARGET)[0].sum().backward()
    assert model.encoder.embed_tokens.weight.grad is None
    assert model.decoder.embed_tokens.weight.grad is not None


def test_an_adaptive_softmax_is_there_for_its_criterion_only() -> None:
    adaptive = build("lstm_lm", decoder_embed_dim=8, adaptive_softmax_cutoff="5,10", criterion="adaptive_loss")
    assert adaptive.decoder.adaptive_softmax is not None
    assert build("lstm_lm", decoder_embed_dim=8, criterion="cross_entropy").decoder.adaptive_softmax is None
    fconv = build(
        "fconv_lm",
        decoder_layers="[(8, 2)]",
        decoder_embed_dim=8,
        adaptive_softmax_cutoff="5,10",
        tokens_per_sample=9,
        criterion="adaptive_loss",
    )
    probs = fconv.get_normalized_probs(fconv(TARGET), log_probs=False)
    torch.testing.assert_close(probs.sum(-1), torch.ones(2, 3))


# -------------------------------------------------------------------------------------------------------------- fconv
def test_layer_specifications_are_completed_and_checked() -> None:
    assert extend_conv_spec([(4, 3), (4, 1, 0)]) == ((4, 3, 1), (4, 1, 0))
    with pytest.raises(Exception, match="expected 2 or 3"):
        extend_conv_spec([(4,)])
    assert list(read_layers("--x", "[(4, 3)] * 2 + [(5, 1)]")) == [(4, 3), (4, 3), (5, 1)]
    with pytest.raises(ValueError, match="--x"):
        read_layers("--x", "__import__('os').getcwd()")
    assert attention_per_layer(True, 2) == [True, True]
    with pytest.raises(ValueError, match="length equal to the number of layers"):
        attention_per_layer([True], 2)


@pytest.mark.parametrize("beam", [None, 2])
def test_fast_generation_changes_no_number_of_fconv(beam: int | None) -> None:
    model = build("fconv", **{**FCONV, "decoder_layers": "[(8, 3), (12, 2, 0), (8, 3, 2)]"}).eval()
    source, lengths = SOURCE.repeat_interleave(2, 0), LENGTHS.repeat_interleave(2, 0)
    target = TARGET.repeat_interleave(2, 0)

    def last_step() -> Tensor:
        encoder_out = model.encoder(source, lengths)
        state: dict[str, Any] = {}
        for t in range(3):
            out = model.decoder(target[:, : t + 1], encoder_out=encoder_out, incremental_state=state)[0]
        return out

    before, whole = last_step(), model(source, lengths, target)[0]
    torch.testing.assert_close(before[:, 0], whole[:, -1])
    model.make_generation_fast_(beamable_mm_beam_size=beam)
    assert not any("weight_g" in name for name in model.state_dict())
    torch.testing.assert_close(last_step(), before)


def test_layers_without_attention_count_as_zeros_in_the_average() -> None:
    model = build("fconv", **{**FCONV, "decoder_attention": "[True, False]"}).eval()
    _, attention = model(SOURCE, LENGTHS, TARGET)
    torch.testing.assert_close(attention.sum(-1), torch.full((2, 3), 0.5))


def test_fconv_takes_over_weights_from_before_version_two() -> None:
    model = build("fconv", **FCONV)
    state = model.state_dict()
    for name in [n for n in state if n.startswith("decoder.convolutions") and n.endswith("weight_g")]:
        state[name] = torch.ones(3, 1, 1)
    del state["decoder.version"]
    model.load_state_dict(state, strict=True)
    conv = model.decoder.convolutions[0]
    conv(torch.zeros(2, 1, 8))
    torch.testing.assert_close(conv.weight.flatten(1).norm(dim=1), torch.ones(3))


def test_fusion_runs_the_frozen_model_beside_the_trained_one() -> None:
    from fairseq.models.fconv_self_att import FConvDecoder, FConvEncoder, FConvModelSelfAtt

    task = Task()
    frozen = build("fconv", task, **FCONV).requires_grad_(False)
    encoder = FConvEncoder(task.dictionary, 8, 30, [(8, 3)])
    decoder = FConvDecoder(
        task.dictionary, 8, 8, 30, [(8, 3)], pretrained=True, trained_decoder=frozen.decoder, project_input=True
    )
    model = FConvModelSelfAtt(encoder, decoder, frozen.encoder)
    logits, _ = model(SOURCE, LENGTHS, TARGET)
    assert logits.shape == (2, 3, len(task.dictionary))
    logits.sum().backward()
    assert all(p.grad is None for p in frozen.parameters())
    assert model.pretrained
    reordered = model.encoder.reorder_encoder_out(model.encoder(SOURCE, LENGTHS), torch.tensor([1]))
    assert reordered["pretrained"]["encoder_out"][0].size(0) == 1


def test_weight_normalised_models_train_and_copy() -> None:
    model = build("fconv", **FCONV)
    model(SOURCE, LENGTHS, TARGET)[0].sum().backward()
    copied = copy.deepcopy(model)
    torch.testing.assert_close(copied.eval()(SOURCE, LENGTHS, TARGET)[0], model.eval()(SOURCE, LENGTHS, TARGET)[0])


# ---------------------------------------------------------------------------------------------------------- lightconv
def test_one_kernel_size_is_that_of_every_layer_and_wrong_lists_are_refused() -> None:
    model = build("lightconv", **LIGHT)
    assert [layer.conv.kernel_size for layer in model.encoder.layers] == [3, 3]
    with pytest.raises(AssertionError, match="encoder_kernel_size_list doesn't match encoder_layers"):
        build("lightconv", **{**LIGHT, "encoder_kernel_size_list": [3, 5, 7]})


@pytest.mark.parametrize("conv_type", ["dynamic", "lightweight"])
@pytest.mark.parametrize("before", [True, False])
def test_lightconv_ignores_what_stands_at_padding(conv_type: str, before: bool) -> None:
    model = build(
        "lightconv", **LIGHT, encoder_conv_type=conv_type, decoder_conv_type=conv_type, encoder_normalize_before=before
    ).eval()
    alone = model(SOURCE[1:, :3], LENGTHS[1:], TARGET[1:])[0]
    torch.testing.assert_close(model(SOURCE, LENGTHS, TARGET)[0][1:], alone)


def test_lightconv_lm_takes_characters_and_adaptive_input() -> None:
    options = {
        "decoder_embed_dim": 8,
        "decoder_ffn_embed_dim": 8,
        "decoder_layers": 1,
        "decoder_attention_heads": 2,
        "decoder_kernel_size_list": [3],
        "tokens_per_sample": 20,
    }
    characters = build("lightconv_lm", **options, character_embeddings=True, character_filters="[(1, 4)]")
    adaptive = build(
        "lightconv_lm",
        **options,
        adaptive_input=True,
        adaptive_input_cutoff="5,10",
        adaptive_softmax_cutoff="5,10",
        tie_adaptive_weights=True,
        adaptive_input_factor=2,
        adaptive_softmax_factor=2,
    )
    for model in (characters, adaptive):
        probs = model.get_normalized_probs(model.eval()(TARGET), log_probs=False)
        torch.testing.assert_close(probs.sum(-1), torch.ones(2, 3))
    with pytest.raises(AssertionError, match="--tie-adaptive-weights"):
        build("lightconv_lm", **options, tie_adaptive_weights=True)
