"""What ``torch.jit.script`` makes of searches, ensembles, generators and language models gives what they give."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any, Callable

import pytest
import torch
from torch import Tensor, nn
from toys import dictionary

from fairseq import search
from fairseq.dataclass.configs import FairseqConfig
from fairseq.models import ARCH_MODEL_REGISTRY, FairseqDecoder, FairseqEncoderDecoderModel, build_model
from fairseq.modules import (
    BeamableMM,
    LinearizedConvolution,
    RotaryPositionalEmbedding,
    SamePad2d,
    TransposeLast,
)
from fairseq.ngram_repeat_block import NGramRepeatBlock
from fairseq.sequence_generator import EnsembleModel, SequenceGenerator, SequenceGeneratorWithAlignment

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

WORDS = dictionary(14)
TASK = SimpleNamespace(source_dictionary=WORDS, target_dictionary=WORDS, dictionary=WORDS, output_dictionary=WORDS)
ENCODER = {"encoder_embed_dim": 8, "encoder_ffn_embed_dim": 8, "encoder_layers": 2, "encoder_attention_heads": 2}
DECODER = {"decoder_embed_dim": 8, "decoder_ffn_embed_dim": 8, "decoder_layers": 2, "decoder_attention_heads": 2}
LSTM = {"encoder_embed_dim": 8, "decoder_embed_dim": 8, "decoder_out_embed_dim": 8, "dropout": 0.0}
WIDTHS = {"decoder_input_dim": 8, "decoder_output_dim": 8, "tokens_per_sample": 30, "max_target_positions": None}
OPTIONS: dict[str, dict[str, Any]] = {
    "transformer": {**ENCODER, **DECODER},
    "transformer_align": {**ENCODER, **DECODER, "alignment_layer": 0},
    "lstm": LSTM,
    "lightconv": {
        **ENCODER,
        **DECODER,
        "encoder_conv_dim": 8,
        "encoder_kernel_size_list": [3, 3],
        "decoder_kernel_size_list": [3, 3],
    },
    "transformer_lm": {**DECODER, **WIDTHS},
    "lstm_lm": {"decoder_embed_dim": 8, "decoder_hidden_size": 8, "decoder_out_embed_dim": 8},
    "lightconv_lm": {**DECODER, **WIDTHS, "decoder_conv_dim": 8, "decoder_kernel_size_list": [3, 3]},
}
TRANSLATORS = ["transformer", "transformer_align", "lstm", "lightconv"]
LANGUAGE_MODELS = ["transformer_lm", "lstm_lm", "lightconv_lm"]


def lively(arch: str, seed: int = 3) -> Any:
    """A model whose outputs depend on their inputs."""
    import argparse

    parser = argparse.ArgumentParser(argument_default=argparse.SUPPRESS)
    ARCH_MODEL_REGISTRY[arch].add_args(parser)
    args = argparse.Namespace(arch=arch, **vars(parser.parse_args([])))
    vars(args).update(OPTIONS[arch])
    model = build_model(args, TASK)
    torch.manual_seed(seed)
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.6)
    return model.eval()


SOURCE = torch.tensor([[4, 5, 6, 7, 2], [1, 10, 11, 12, 2], [1, 1, 8, 9, 2]])
INPUT = {"src_tokens": SOURCE, "src_lengths": torch.tensor([5, 4, 3])}
# Free from the start, bound for a while, and one that ends at once.
PREFIXES = [None, torch.tensor([[5, 6], [7, 1], [9, 2]])]


def assert_same(plain: Any, scripted: Any) -> None:
    assert len(plain) == len(scripted)
    for theirs, ours in zip(plain, scripted):
        assert [h["tokens"].tolist() for h in theirs] == [h["tokens"].tolist() for h in ours]
        for one, other in zip(theirs, ours):
            assert one.keys() == other.keys()
            for name in ("score", "positional_scores", "attention"):
                torch.testing.assert_close(one[name], other[name], rtol=1e-4, atol=1e-4)
            assert not other["score"].requires_grad


def compare(models: list[Any], strategy: Callable[[], Any] | None = None, **options: Any) -> Any:
    """Script a generator and run both; returns the scripted one."""
    options = {"beam_size": 4, "max_len_b": 9, **options}
    generator = SequenceGenerator(models, WORDS, search_strategy=strategy() if strategy else None, **options)
    scripted = torch.jit.script(generator)
    for prefix in PREFIXES:
        # Twice: the first runs are profiled, later ones optimised.
        for seed in (7, 8):
            torch.manual_seed(seed)
            plain = generator.forward({"net_input": INPUT}, prefix_tokens=prefix)
            torch.manual_seed(seed)
            assert_same(plain, scripted({"net_input": INPUT}, prefix))
    return scripted


STRATEGIES: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "beam": (lambda: search.BeamSearch(WORDS), {}),
    "groups": (lambda: search.DiverseBeamSearch(WORDS, 2, 0.5), {}),
    "siblings": (lambda: search.DiverseSiblingsSearch(WORDS, 0.4), {}),
    "length": (lambda: search.LengthConstrainedBeamSearch(WORDS, 1, 0, 1, 0), {"match_source_len": True}),
    "sampling": (lambda: search.Sampling(WORDS), {}),
    "top k": (lambda: search.Sampling(WORDS, 3), {}),
    "top p": (lambda: search.Sampling(WORDS, -1, 0.7), {}),
}


@pytest.mark.parametrize("name", sorted(STRATEGIES))
@pytest.mark.parametrize("prepared", [False, True])
def test_every_search_gives_the_same_tokens(name: str, prepared: bool) -> None:
    model = lively("transformer")
    if prepared:
        model.prepare_for_inference_(FairseqConfig())
    strategy, options = STRATEGIES[name]
    torch.jit.script(strategy())
    compare([model], strategy, **options)


@pytest.mark.parametrize("arch", TRANSLATORS)
def test_every_family_gives_the_same_tokens(arch: str) -> None:
    model = lively(arch)
    compare([model])
    model.prepare_for_inference_(FairseqConfig())
    compare([model], beam_size=1)


@pytest.mark.parametrize(
    "options",
    [
        {"no_repeat_ngram_size": 2},
        {"no_repeat_ngram_size": 1},
        {"tokens_to_suppress": ("w3",), "unk_penalty": 1.0, "temperature": 1.3, "len_penalty": 0.7, "min_len": 3},
        {"normalize_scores": False, "max_len_a": 0.5, "max_len_b": 2, "eos": 5},
    ],
)
def test_every_rule_applies(options: dict[str, Any]) -> None:
    compare([lively("transformer")], **options)


def test_an_ensemble_of_families_votes_with_a_language_model() -> None:
    models = [lively("transformer"), lively("lstm", seed=4), lively("lightconv", seed=5)]
    compare(models)
    for arch in LANGUAGE_MODELS:
        compare(models[:2], lm_model=lively(arch, seed=6), lm_weight=0.7)


@pytest.mark.parametrize("arch", LANGUAGE_MODELS)
def test_language_models_are_scripted_and_continue_text(arch: str) -> None:
    model = lively(arch)
    for prepared in (False, True):
        if prepared:
            model.prepare_for_inference_(FairseqConfig())
        scripted = torch.jit.script(model)
        plain, again = model(SOURCE[:, 2:]), scripted(SOURCE[:, 2:], None)
        torch.testing.assert_close(again[0], plain[0])
        probs = scripted.get_normalized_probs((again[0], None), True)
        torch.testing.assert_close(probs, model.get_normalized_probs(plain, log_probs=True))
        compare([model])


def test_a_scripted_generator_is_saved_and_loaded() -> None:
    scripted = compare([lively("transformer")])
    file = io.BytesIO()
    torch.jit.save(scripted, file)
    file.seek(0)
    loaded = torch.jit.load(file)
    assert_same(scripted({"net_input": INPUT}), loaded({"net_input": INPUT}))
    # Lengths are counted where they are not given.
    assert_same(scripted({"net_input": {"src_tokens": SOURCE}}), loaded({"net_input": {"src_tokens": SOURCE}}))


def test_the_models_are_as_before_after_scripting() -> None:
    model = lively("transformer")
    target = torch.tensor([[2, 4], [2, 5], [2, 6]])
    before = model(SOURCE, INPUT["src_lengths"], target)[0]
    compare([model], beam_size=3)
    torch.testing.assert_close(model(SOURCE, INPUT["src_lengths"], target)[0], before)


def test_an_ensemble_steps_on_its_own() -> None:
    ensemble = EnsembleModel([lively("transformer"), lively("lstm", seed=4)])
    scripted = torch.jit.script(ensemble)
    states: Any = [{}, {}]
    plain = ensemble.forward_decoder(torch.full((3, 1), 2), ensemble.forward_encoder(INPUT), states, 1.5)
    outs = scripted.forward_encoder(INPUT)
    again = scripted.forward_decoder(torch.full((3, 1), 2), outs, scripted.new_states(), 1.5)
    torch.testing.assert_close(again, plain)
    assert scripted.max_decoder_positions() == ensemble.max_decoder_positions()


@pytest.mark.parametrize(
    ("module", "inputs"),
    [
        (RotaryPositionalEmbedding(8), (torch.zeros(3, 2, 8),)),
        (BeamableMM(2), (torch.ones(4, 1, 3), torch.ones(4, 3, 2))),
        (SamePad2d(4), (torch.ones(1, 1, 3, 3),)),
        (TransposeLast(), (torch.ones(2, 3),)),
        (NGramRepeatBlock(2), (torch.tensor([[4, 5, 4]]), torch.zeros(1, 8), 1, 1, 2)),
        (LinearizedConvolution(2, 2, 3, padding=2), (torch.ones(4, 1, 2),)),
    ],
)
def test_modules_that_can_be_scripted(module: nn.Module, inputs: Any) -> None:
    module.eval()
    for _ in range(2):
        torch.testing.assert_close(torch.jit.script(module)(*inputs), module(*inputs))


def test_a_search_of_a_bare_dictionary_is_scripted() -> None:
    from fairseq.data import Dictionary

    scripted = torch.jit.script(search.BeamSearch(Dictionary()))
    lprobs = torch.log_softmax(torch.arange(16.0).view(2, 2, 4), dim=2)
    plain = search.BeamSearch(Dictionary()).step(0, lprobs, None)
    torch.testing.assert_close(scripted.step(0, lprobs, None), plain)


class OwnGenerator(SequenceGenerator):
    def is_finished(self, *args: Any, **kwargs: Any) -> bool:
        return True


class OwnProbabilities(FairseqEncoderDecoderModel):
    def get_normalized_probs(self, net_output: Any, log_probs: bool, sample: Any = None) -> Tensor:
        return net_output[0]


def test_what_cannot_be_scripted_says_why() -> None:
    model = lively("transformer")
    with pytest.raises(NotImplementedError, match="LexicallyConstrainedBeamSearch cannot be scripted"):
        torch.jit.script(search.LexicallyConstrainedBeamSearch(WORDS, "ordered"))
    prefix = search.PrefixConstrainedBeamSearch(WORDS, lambda sentence, tokens: [4])
    with pytest.raises(NotImplementedError, match="PrefixConstrainedBeamSearch cannot be scripted"):
        torch.jit.script(SequenceGenerator([model], WORDS, search_strategy=prefix))
    with pytest.raises(NotImplementedError, match="SequenceGeneratorWithAlignment cannot be scripted"):
        torch.jit.script(SequenceGeneratorWithAlignment([model], WORDS))
    with pytest.raises(NotImplementedError, match="OwnGenerator cannot be scripted: it overrides is_finished"):
        torch.jit.script(OwnGenerator([model], WORDS))
    with pytest.raises(NotImplementedError, match="it overrides get_normalized_probs"):
        torch.jit.script(EnsembleModel([OwnProbabilities(model.encoder, model.decoder)]))
    with pytest.raises(NotImplementedError, match="no incremental decoder"):
        torch.jit.script(EnsembleModel([FairseqEncoderDecoderModel(model.encoder, FairseqDecoder(WORDS))]))
    scripted = torch.jit.script(SequenceGenerator([model], WORDS, max_len_b=5))
    with pytest.raises(Exception, match="takes no constraints"):
        scripted._generate({"net_input": INPUT}, None, torch.zeros(3, 1, dtype=torch.long))
