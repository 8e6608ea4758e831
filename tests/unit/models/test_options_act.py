"""Every option of the text models does something: the table below has a row for each, and its numbers must change.

A model is told from another by its parameters' shapes, its output in evaluation, its output in training (a fixed seed:
dropout and noise show there), its gradients' norms and its longest input.
"""

from __future__ import annotations

import argparse
import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fairseq.data import Dictionary
from fairseq.models import ARCH_MODEL_REGISTRY, build_model
from fairseq.quantization_utils import quantize_model_scalar

SEED_OF_DROPOUT = 5


def words() -> Dictionary:
    dictionary = Dictionary()
    for index in range(28):
        dictionary.add_symbol("w" * (1 + index % 5) + str(index))
    return dictionary


TASK = SimpleNamespace(
    source_dictionary=words(), target_dictionary=words(), dictionary=words(), output_dictionary=words()
)
SOURCE = torch.tensor([[5, 6, 7, 8, 2], [9, 10, 11, 2, 1]])
TARGET = torch.tensor([[2, 12, 13, 14], [2, 15, 16, 17]])

SIDE = {"embed_dim": 16, "ffn_embed_dim": 24, "layers": 2, "attention_heads": 2}
NO_DROPOUT = {"dropout": 0.0}
TRANSFORMER = {
    **{f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in SIDE.items()},
    "max_source_positions": 32, "max_target_positions": 32, **NO_DROPOUT,
}  # fmt: skip
LM = {**{f"decoder_{name}": value for name, value in SIDE.items()}, "max_target_positions": 32, "tokens_per_sample": 32,
      "decoder_input_dim": 16, "decoder_output_dim": 16, **NO_DROPOUT}  # fmt: skip
LSTM = {"encoder_embed_dim": 8, "encoder_hidden_size": 8, "decoder_embed_dim": 8, "decoder_hidden_size": 8,
        "decoder_out_embed_dim": 8, "encoder_dropout_in": 0.0, "encoder_dropout_out": 0.0, "decoder_dropout_in": 0.0,
        "decoder_dropout_out": 0.0, "max_source_positions": 32, "max_target_positions": 32, **NO_DROPOUT}  # fmt: skip
FCONV = {"encoder_embed_dim": 8, "encoder_layers": "[(8, 3)]", "decoder_embed_dim": 8, "decoder_layers": "[(8, 3)]",
         "decoder_out_embed_dim": 8, "max_source_positions": 32, "max_target_positions": 32, **NO_DROPOUT}  # fmt: skip
SELF_ATT = {**FCONV, "encoder_attention": "False", "encoder_attention_nheads": 2, "decoder_attention": "True",
            "self_attention": "False", "multihead_attention_nheads": 2, "multihead_self_attention_nheads": 2,
            "input_dropout": 0.0, "gated_attention": "False", "downsample": "False", "pretrained": "False"}  # fmt: skip
LIGHT = {**TRANSFORMER, "encoder_kernel_size_list": [3], "decoder_kernel_size_list": [3], "encoder_conv_dim": 16,
         "decoder_conv_dim": 16, "attention_dropout": 0.0, "relu_dropout": 0.0, "input_dropout": 0.0,
         "weight_dropout": 0.0}  # fmt: skip
LIGHT_LM = {**LM, "decoder_kernel_size_list": [3], "decoder_conv_dim": 16, "attention_dropout": 0.0,
            "relu_dropout": 0.0, "input_dropout": 0.0, "weight_dropout": 0.0}  # fmt: skip

BASES: dict[str, dict[str, Any]] = {
    "transformer": TRANSFORMER,
    "transformer_align": {**TRANSFORMER, "alignment_layer": 1, "alignment_heads": 1},
    "transformer_lm": LM,
    "lstm": LSTM,
    "lstm_lm": {key: value for key, value in LSTM.items() if key.startswith(("decoder", "dropout", "max_t"))},
    "fconv": FCONV,
    "fconv_lm": {key: value for key, value in FCONV.items() if key.startswith(("decoder", "dropout", "max_t"))}
    | {"tokens_per_sample": 32},
    "fconv_self_att": SELF_ATT,
    "lightconv": LIGHT,
    "lightconv_lm": LIGHT_LM,
}

# Option -> the value that must make a difference, or (value, what else both models are given).
Row = Any
ADAPTIVE = {"adaptive_softmax_cutoff": "10,20", "criterion": "adaptive_loss"}
ADAPTIVE_INPUT = {"adaptive_input": True, "adaptive_input_cutoff": "10,20", "adaptive_input_factor": 2}
TIED = {**ADAPTIVE, **ADAPTIVE_INPUT, "adaptive_softmax_factor": 2.0}
CHARACTERS = {"character_embeddings": True, "character_filters": "[(1, 4), (2, 4)]", "character_embedding_dim": 4,
              "char_embedder_highway_layers": 1}  # fmt: skip
VALUES: dict[str, Row] = {
    "activation_dropout": 0.5,
    "activation_fn": "gelu",
    "adaptive_input": (True, {"adaptive_input_cutoff": "10,20", "adaptive_input_factor": 2}),
    "adaptive_input_cutoff": ("5,20", ADAPTIVE_INPUT),
    "adaptive_input_factor": (4, ADAPTIVE_INPUT),
    "adaptive_softmax_cutoff": ("10,20", {"criterion": "adaptive_loss"}),
    "adaptive_softmax_dropout": (0.5, ADAPTIVE),
    "adaptive_softmax_factor": (2.0, {**ADAPTIVE, "adaptive_softmax_factor": 4.0}),
    "alignment_heads": 2,
    "alignment_layer": 0,
    "attention_dropout": 0.5,
    "base_layers": 1,
    "base_shuffle": (True, {"base_layers": 1, "base_shuffle": False}),
    "base_sublayers": (2, {"base_layers": 1}),
    "char_embedder_highway_layers": (2, CHARACTERS),
    "character_embedding_dim": (6, CHARACTERS),
    "character_embeddings": (True, {**CHARACTERS, "character_embeddings": False}),
    "character_filters": ("[(1, 8)]", CHARACTERS),
    "cross_self_attention": True,
    "decoder_attention": "False",
    "decoder_attention_heads": 4,
    "decoder_conv_dim": 8,
    "decoder_conv_type": "lightweight",
    "decoder_dropout_in": 0.5,
    "decoder_dropout_out": 0.5,
    "decoder_embed_dim": 24,
    "decoder_ffn_embed_dim": 32,
    "decoder_freeze_embed": True,
    "decoder_glu": False,
    "decoder_hidden_size": 12,
    "decoder_input_dim": 12,
    "decoder_kernel_size_list": [5],
    "decoder_layerdrop": 0.9,
    "decoder_layers": 1,
    "decoder_layers_to_keep": "0",
    "decoder_learned_pos": True,
    "decoder_normalize_before": True,
    "decoder_out_embed_dim": 12,
    "decoder_output_dim": 12,
    "downsample": ("True", {"self_attention": "True", "project_input": "True"}),
    "dropout": 0.5,
    "encoder_attention": "True",
    "encoder_attention_heads": 4,
    "encoder_attention_nheads": (4, {"encoder_attention": "True"}),
    "encoder_bidirectional": True,
    "encoder_conv_dim": 8,
    "encoder_conv_type": "lightweight",
    "encoder_dropout_in": 0.5,
    "encoder_dropout_out": (0.5, {"encoder_layers": 2, "decoder_layers": 2}),
    "encoder_embed_dim": 24,
    "encoder_ffn_embed_dim": 32,
    "encoder_freeze_embed": True,
    "encoder_glu": False,
    "encoder_hidden_size": 12,
    "encoder_kernel_size_list": [5],
    "encoder_layerdrop": 0.9,
    "encoder_layers": 1,
    "encoder_layers_to_keep": "0",
    "encoder_learned_pos": True,
    "encoder_normalize_before": True,
    "full_context_alignment": True,
    "gated_attention": ("True", {"self_attention": "True"}),
    "input_dropout": 0.5,
    "layernorm_embedding": True,
    "max_source_positions": 16,
    "max_target_positions": 16,
    "merge_src_tgt_embed": True,
    "multihead_attention_nheads": 4,
    "multihead_self_attention_nheads": (4, {"self_attention": "True"}),
    "no_cross_attention": (True, {"cross_self_attention": True}),
    "no_decoder_final_norm": (True, {"decoder_normalize_before": True}),
    "no_scale_embedding": True,
    "no_token_positional_embeddings": True,
    "project_input": ("True", {"self_attention": "True"}),
    "quant_noise_pq": 0.5,
    "quant_noise_pq_block_size": (4, {"quant_noise_pq": 0.5}),
    "quant_noise_scalar": 0.5,
    "relu_dropout": 0.5,
    "residuals": (True, {"decoder_layers": 2}),
    "scale_attn": True,
    "scale_fc": True,
    "scale_heads": True,
    "scale_resids": True,
    "self_attention": "True",
    "share_all_embeddings": True,
    "share_decoder_input_output_embed": True,
    "share_input_output_embed": True,
    "tie_adaptive_proj": (True, {**TIED, "tie_adaptive_weights": True}),
    "tie_adaptive_weights": (True, TIED),
    "weight_dropout": 0.5,
    "weight_softmax": False,
}
DEFAULT = object()  # the option is not given
OF_ONE_MODEL: dict[tuple[str, str], Row] = {
    **{(arch, f"{side}_layers"): "[(8, 3), (8, 3)]" for arch in ("fconv", "fconv_lm", "fconv_self_att")
       for side in ("encoder", "decoder")},
    **{(arch, "adaptive_input"): (True, {"quant_noise_pq": 0.5}) for arch in ("transformer", "transformer_align")},
    **{(arch, "adaptive_softmax_cutoff"): ("10,20", {"criterion": "adaptive_loss", "adaptive_softmax_cutoff": "5,20"})
       for arch in ("lstm", "lstm_lm")},
    ("lstm", "dropout"): (0.5, {f"{side}_dropout_{place}": DEFAULT for side in ("encoder", "decoder")
                                for place in ("in", "out")}),
    ("lstm_lm", "dropout"): (0.5, {"decoder_dropout_in": DEFAULT, "decoder_dropout_out": DEFAULT}),
    ("lstm_lm", "decoder_layers"): 2,
    ("lstm", "decoder_attention"): "0",
    ("lstm_lm", "decoder_attention"): "1",
    ("lstm", "encoder_layers"): 2,
    ("lstm", "decoder_layers"): 2,
    ("fconv_lm", "decoder_attention"): "True",
}  # fmt: skip
REFUSED = {
    ("fconv", "decoder_embed_dim"): "--encoder-embed-dim to match",
    ("fconv", "encoder_embed_dim"): "--encoder-embed-dim to match",
    ("fconv_self_att", "decoder_embed_dim"): "--encoder-embed-dim to match",
    ("fconv_self_att", "encoder_embed_dim"): "--encoder-embed-dim to match",
    ("lightconv", "decoder_embed_dim"): "--encoder-embed-dim must match",
    ("lightconv", "encoder_embed_dim"): "--encoder-embed-dim must match",
    ("lstm", "encoder_layers"): "--encoder-layers must match --decoder-layers",
    ("lstm", "decoder_layers"): "--encoder-layers must match --decoder-layers",
    ("fconv_lm", "decoder_attention"): "no source to attend to",
    ("lstm_lm", "decoder_attention"): "no source to attend to",
    ("transformer", "tie_adaptive_weights"): "requires adaptive input",
    ("transformer_align", "tie_adaptive_weights"): "requires adaptive input",
    **{(arch, f"{side}_xformers_att_config"): "xFormers" for arch in ("transformer", "transformer_align")
       for side in ("encoder", "decoder")},
    ("transformer_lm", "decoder_xformers_att_config"): "xFormers",
}  # fmt: skip
# Numbers stay as they are, for a reason, or the option is tested with what it needs.
ELSEWHERE = {
    "char_inputs": "kept in saved options, the models do not read it",
    "checkpoint_activations": "saves memory: test_model.py",
    "offload_activations": "saves memory: test_model.py",
    "min_params_to_wrap": "of sharding: test_model_wrappers.py",
    "decoder_embed_path": "needs a file: test_families.py",
    "encoder_embed_path": "needs a file: test_families.py",
    "export": "torch's own layer norm, with the same numbers",
    "pretrained": "needs a checkpoint: test_families.py",
    "pretrained_checkpoint": "needs a checkpoint: test_families.py",
    ("fconv_lm", "decoder_out_embed_dim"): "accepted and warned about: always the embedding's width",
    ("lightconv_lm", "attention_dropout"): "there is no attention",
    ("lightconv_lm", "decoder_normalize_before"): "the architecture says true, whatever is given",
    ("transformer", "tie_adaptive_proj"): "only with adaptive input",
    ("transformer_align", "tie_adaptive_proj"): "only with adaptive input",
}


def options_of(arch: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    ARCH_MODEL_REGISTRY[arch].add_args(parser)
    return {action.dest: action.default for action in parser._actions if action.dest != "help"}


def make(arch: str, options: dict[str, Any]) -> Any:
    parser = argparse.ArgumentParser(argument_default=argparse.SUPPRESS)
    ARCH_MODEL_REGISTRY[arch].add_args(parser)
    args = argparse.Namespace(arch=arch, **vars(parser.parse_args([])))
    vars(args).update(copy.deepcopy(options))
    torch.manual_seed(1)
    return quantize_model_scalar(build_model(args, TASK), args)


def run(model: Any) -> Any:
    if hasattr(model, "encoder"):
        return model(SOURCE, torch.tensor([5, 4]), TARGET)
    return model(TARGET, src_lengths=torch.tensor([4, 4]))


def traits(model: Any) -> tuple[Any, ...]:
    shapes = {name: tuple(value.shape) for name, value in model.state_dict(keep_vars=True).items()}
    with torch.no_grad():
        out = run(model.eval())
    attn = out[1].get("attn") if isinstance(out[1], dict) else None
    shown = [value for value in (attn if isinstance(attn, list) else [attn]) if isinstance(value, torch.Tensor)]
    model.train()
    torch.manual_seed(SEED_OF_DROPOUT)
    trained = run(model)[0]
    trained = trained[0] if isinstance(trained, (tuple, list)) else trained
    softmax = getattr(model.decoder, "adaptive_softmax", None)
    loss = trained.float().square().sum()
    if softmax is not None:
        loss = loss + sum(part.float().square().sum() for part in softmax(trained, TARGET)[0] if part is not None)
    loss.backward()
    # Where random numbers are used without a trace in the output, the next ones differ.
    draw = float(torch.rand(()))
    norms = {name: None if p.grad is None else float(p.grad.norm()) for name, p in model.named_parameters()}
    first = out[0][0] if isinstance(out[0], (tuple, list)) else out[0]
    attention = [value.tolist() for value in shown]
    return shapes, first.tolist(), attention, float(loss.detach()), draw, norms, model.max_positions()


def names_of(arch: str) -> set[str]:
    lengths = {f"max_{side}_positions" for side in ("source", "target") if f"max_{side}_positions" in BASES[arch]}
    return set(options_of(arch)) | (lengths if arch != "fconv_lm" else set())


CASES = sorted((arch, name) for arch in BASES for name in names_of(arch) if not {name, (arch, name)} & set(ELSEWHERE))


def test_the_table_has_a_row_for_every_option() -> None:
    named = set(VALUES) | {key for key in ELSEWHERE if isinstance(key, str)} | {name for _, name in REFUSED}
    assert not {name for arch in BASES for name in options_of(arch)} - named


@pytest.mark.filterwarnings("ignore:Initializing zero-element:UserWarning")
@pytest.mark.parametrize(("arch", "name"), CASES)
def test_an_option_makes_a_difference(arch: str, name: str) -> None:
    row = OF_ONE_MODEL.get((arch, name)) or VALUES.get(name, "some.json")
    value, more = row if isinstance(row, tuple) else (row, {})
    base = {key: given for key, given in {**BASES[arch], **more}.items() if given is not DEFAULT}
    if (arch, name) in REFUSED:
        with pytest.raises((ValueError, NotImplementedError), match=REFUSED[arch, name]):
            make(arch, {**base, name: value})
        return
    assert traits(make(arch, base)) != traits(make(arch, {**base, name: value}))
