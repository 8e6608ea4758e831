"""The transformer as a whole: options that change its shape or its way, old checkpoints, scripting and exporting."""

from __future__ import annotations

import copy
from argparse import Namespace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from fairseq.models.feature_forward import feature_forward
from fairseq.models.transformer import TransformerConfig, TransformerModel
from fairseq.modules.transformer_layer import TransformerEncoderLayerBase

TOKENS = torch.tensor([[4, 5, 6, 7, 2], [8, 9, 2, 1, 1]])


def loss_and_grads(model: nn.Module, batch: dict) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad()
    loss = model(**batch)[0].square().mean()
    loss.backward()
    return loss.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def decode(model: nn.Module, batch: dict) -> torch.Tensor:
    """Run the decoder token by token."""
    encoder_out = model.encoder(batch["src_tokens"], batch["src_lengths"])
    tokens, state = batch["prev_output_tokens"], {}
    steps = [
        model.decoder(tokens[:, : i + 1], encoder_out=encoder_out, incremental_state=state)[0]
        for i in range(tokens.size(1))
    ]
    return torch.cat(steps, 1)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"encoder_normalize_before": True, "decoder_normalize_before": True},
        {"share_all_embeddings": True, "encoder_learned_pos": True, "decoder_learned_pos": True},
        {"cross_self_attention": True, "no_cross_attention": True},
        {"cross_self_attention": True},
        {"decoder_embed_dim": 8, "decoder_output_dim": 12, "decoder_attention_heads": 2, "layernorm_embedding": True},
    ],
)
def test_decoding_step_by_step_equals_one_pass(build: Any, batch: dict, options: dict) -> None:
    model = build(**options).eval()
    batch["prev_output_tokens"][1, -1] = 4  # no padding among what is decoded
    with torch.no_grad():
        torch.testing.assert_close(decode(model, batch), model(**batch)[0], rtol=1e-4, atol=1e-5)


def test_layer_drop_keeps_all_layers_in_evaluation(build: Any, batch: dict) -> None:
    dropped = build(encoder_layerdrop=0.99, decoder_layerdrop=0.99).eval()
    plain = build().eval()
    torch.testing.assert_close(dropped(**batch)[0], plain(**batch)[0])
    torch.manual_seed(0)
    states = dropped.train()(**batch)[1]["inner_states"]
    assert len(states) < 3


def test_layers_to_keep_builds_only_those(build: Any) -> None:
    model = build(encoder_layers=6, encoder_layers_to_keep="0,2,5", decoder_layers=4, decoder_layers_to_keep=[1, 3])
    assert len(model.encoder.layers) == 3
    assert len(model.decoder.layers) == 2


@pytest.mark.parametrize("offload", [False, True])
def test_checkpointed_activations_give_the_same_gradients(build: Any, batch: dict, offload: bool) -> None:
    plain = build(dropout=0.0)
    checkpointed = build(dropout=0.0, checkpoint_activations=True, offload_activations=offload)
    assert checkpointed.state_dict().keys() == plain.state_dict().keys()
    assert checkpointed.encoder.layers[0].forward.args  # wrapped
    loss, grads = loss_and_grads(plain, batch)
    other_loss, other_grads = loss_and_grads(checkpointed, batch)
    torch.testing.assert_close(loss, other_loss)
    for name, grad in grads.items():
        torch.testing.assert_close(grad, other_grads[name])


def test_quantisation_noise_changes_weights_in_training_only(build: Any, batch: dict) -> None:
    model = build(quant_noise_pq=0.5, quant_noise_pq_block_size=8, encoder_ffn_embed_dim=32, decoder_ffn_embed_dim=32)
    before = copy.deepcopy(model.state_dict())
    assert "encoder.quant_noise.weight" in before
    model.eval()(**batch)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    model.train()(**batch)
    assert not torch.equal(before["encoder.layers.0.fc1.weight"], model.encoder.layers[0].fc1.weight)


def test_sharing_all_embeddings_ties_three_matrices_and_says_what_does_not_fit(build: Any) -> None:
    model = build(share_all_embeddings=True)
    assert model.decoder.output_projection.weight is model.encoder.embed_tokens.weight
    with pytest.raises(ValueError, match="--encoder-embed-dim to match --decoder-embed-dim"):
        build(share_all_embeddings=True, decoder_embed_dim=8)
    with pytest.raises(ValueError, match="not compatible with --decoder-embed-path"):
        build(share_all_embeddings=True, decoder_embed_path="x")


def test_alignment_layer_and_heads_choose_what_is_returned(build: Any, batch: dict) -> None:
    model = build().eval()
    last = model(**batch)[1]["attn"][0]
    first = model(**batch, alignment_layer=0)[1]["attn"][0]
    one_head = model(**batch, alignment_layer=0, alignment_heads=1)[1]["attn"][0]
    assert last.shape == first.shape == one_head.shape == (2, 4, 5)
    assert not torch.equal(last, first)
    assert not torch.equal(first, one_head)
    # Padding gets nothing.
    assert bool((last[0, :, 0] == 0).all())


def test_no_attention_is_computed_in_generation_unless_asked_for(build: Any, batch: dict) -> None:
    model = build().eval()
    model.make_generation_fast_()
    layer = model.decoder.layers[0]
    assert layer.need_attn is False
    x = torch.randn(4, 2, 16)
    encoder_out = model.encoder(batch["src_tokens"])
    assert layer(x, encoder_out["encoder_out"][0], encoder_out["encoder_padding_mask"][0])[1] is None


def test_memory_layout_does_not_change_numbers(build: Any, batch: dict) -> None:
    """Hooks make layers work time-first; without them they work batch-first. Both must agree, gradients included."""
    plain, hooked = build(), build()
    for module in hooked.modules():
        if isinstance(module, (nn.Linear, nn.LayerNorm)):
            module.register_forward_hook(lambda *_: None)
    loss, grads = loss_and_grads(plain, batch)
    other_loss, other_grads = loss_and_grads(hooked, batch)
    torch.testing.assert_close(loss, other_loss)
    for name, grad in grads.items():
        torch.testing.assert_close(grad, other_grads[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["register_full_backward_hook", "register_full_backward_pre_hook"])
def test_whoever_watches_gradients_sees_them(build: Any, batch: dict, kind: str, dropout: float) -> None:
    """Operations that work in the memory of their input would make such a hook an error."""
    model, seen = build(dropout=dropout).train(), set()
    for name, module in model.named_modules():
        if name.rpartition(".")[2] in ("fc1", "fc2", "out_proj", "final_layer_norm"):
            getattr(module, kind)(lambda *_, name=name: seen.add(name))
    model(**batch)[0].sum().backward()
    assert {f"{side}.layers.0.fc{i}" for side in ("encoder", "decoder") for i in (1, 2)} <= seen


def test_a_replaced_forward_of_a_layer_s_part_is_called(build: Any, batch: dict) -> None:
    model, calls = build().train(), []
    for layer in (model.encoder.layers[0], model.decoder.layers[0]):
        for part in (layer.fc1, layer.fc2, layer.self_attn.out_proj):
            part.forward = lambda x, whole=part.forward: (calls.append(1), whole(x))[1]
    model(**batch)
    assert len(calls) == 6


def test_a_hook_on_a_layer_s_part_sees_time_first_tensors(build: Any, batch: dict) -> None:
    model, shapes = build(), []
    model.encoder.layers[0].fc1.register_forward_hook(lambda _, args, out: shapes.append(tuple(out.shape)))
    model(**batch)
    assert shapes == [(5, 2, 24)]


def test_an_overridden_residual_connection_is_used(dictionary: Any) -> None:
    class Doubled(TransformerEncoderLayerBase):
        def residual_connection(self, x: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
            return residual * 2 + x

    config = TransformerConfig.from_namespace(Namespace(encoder_embed_dim=8, encoder_attention_heads=2))
    torch.manual_seed(0)
    ours = TransformerEncoderLayerBase(config).eval()
    torch.manual_seed(0)
    theirs = Doubled(config).eval()
    x = torch.randn(3, 2, 8)
    assert not torch.equal(ours(x, None), theirs(x, None))


def test_old_checkpoints_load(build: Any, batch: dict) -> None:
    model = build(share_decoder_input_output_embed=True).eval()
    expected = model(**batch)[0]
    old = model.state_dict()
    del old["decoder.output_projection.weight"]
    norms = {"self_attn_layer_norm": 0, "encoder_attn_layer_norm": 1, "final_layer_norm": 2}
    for key in [k for k in old if k.startswith("decoder.layers.")]:
        for name, number in norms.items():
            if f".{name}." in key:
                old[key.replace(name, f"layer_norms.{number}")] = old.pop(key)
    for key in [k for k in old if ".self_attn.q_proj." in k]:
        q, k, v = (old.pop(key.replace("q_proj", f"{p}_proj")) for p in "qkv")
        old[key.replace("q_proj.", "in_proj_")] = torch.cat([q, k, v])
    old["encoder.embed_positions._float_tensor"] = torch.zeros(1)
    fresh = build(seed=1, share_decoder_input_output_embed=True).eval()
    fresh.load_state_dict(old)
    torch.testing.assert_close(fresh(**batch)[0], expected)


def test_checkpoints_from_before_the_final_norm_lose_it(build: Any) -> None:
    model = build(encoder_normalize_before=True, decoder_normalize_before=True)
    old = {
        k: v for k, v in model.state_dict().items() if not k.startswith(("encoder.layer_norm", "decoder.layer_norm"))
    }
    del old["encoder.version"]
    old["decoder.version"] = torch.tensor([2.0])
    model.load_state_dict(old)
    assert model.encoder.layer_norm is None
    assert model.decoder.layer_norm is None


def test_reordered_encoder_output_selects_sentences(build: Any, batch: dict) -> None:
    encoder = build().eval().encoder
    out = encoder(batch["src_tokens"], return_all_hiddens=True)
    order = torch.tensor([1, 1, 0])
    moved = encoder.reorder_encoder_out(out, order)
    torch.testing.assert_close(moved["encoder_out"][0], out["encoder_out"][0][:, order])
    torch.testing.assert_close(moved["src_lengths"][0], out["src_lengths"][0][order])
    assert len(moved["encoder_states"]) == 3
    assert moved["src_tokens"] == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("options", [{}, {"encoder_normalize_before": True, "activation_fn": "gelu"}])
def test_torchscript_gives_the_same_numbers(build: Any, batch: dict, options: dict) -> None:
    model = build(**options).eval()
    scripted = torch.jit.script(model)
    args = (batch["src_tokens"], batch["src_lengths"], batch["prev_output_tokens"])
    torch.testing.assert_close(scripted(*args)[0], model(*args)[0])


def test_the_encoder_can_be_exported(build: Any, batch: dict) -> None:
    encoder = build().eval().encoder
    program = torch.export.export(encoder, (batch["src_tokens"], batch["src_lengths"]), strict=False)
    out = program.module()(batch["src_tokens"], batch["src_lengths"])
    torch.testing.assert_close(out["encoder_out"][0], encoder(batch["src_tokens"])["encoder_out"][0])


def test_a_decoder_step_can_be_exported(build: Any, batch: dict) -> None:
    model = build().eval()
    encoder_out = model.encoder(batch["src_tokens"])

    class Step(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.decoder = model.decoder

        def forward(self, tokens: torch.Tensor, memory: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
            out = {"encoder_out": [memory], "encoder_padding_mask": [padding]}
            return self.decoder(tokens, encoder_out=out)[0]

    args = (batch["prev_output_tokens"], encoder_out["encoder_out"][0], encoder_out["encoder_padding_mask"][0])
    program = torch.export.export(Step(), args, strict=False)
    torch.testing.assert_close(program.module()(*args), model.decoder(args[0], encoder_out=encoder_out)[0])


def test_flat_and_nested_names_are_the_same_option() -> None:
    config = TransformerConfig.from_namespace(
        Namespace(encoder_embed_dim=32, decoder_embed_dim=8, decoder_output_dim="4", mine=1, encoder_mine=2)
    )
    assert (config.encoder.embed_dim, config.encoder_embed_dim) == (32, 32)
    # The width of embeddings follows that of the layers; the flag for the output has no type of its own.
    assert (config.decoder.input_dim, config.decoder.output_dim) == (8, 4)
    config.quant_noise_pq = 0.25
    assert config.quant_noise.pq == 0.25
    assert (config.mine, config.encoder_mine) == (1, 2)
    assert TransformerConfig.from_namespace(config) is config
    assert not hasattr(config, "encoder_nothing")
    with pytest.raises(AttributeError):
        config.nothing  # noqa: B018


def test_groups_of_a_yaml_file_are_stronger_than_what_the_architecture_fills_in(dictionary: Any) -> None:
    from omegaconf import OmegaConf

    from fairseq.models import build_model

    section = {
        "_name": "transformer",
        "encoder": {"embed_dim": 16, "layers": 1},
        "decoder": {"embed_dim": 8, "layers": 2},
    }
    task = SimpleNamespace(source_dictionary=dictionary, target_dictionary=dictionary)
    model = build_model(OmegaConf.create(section), task)
    assert model.encoder.embed_tokens.weight.size(1) == 16 and len(model.encoder.layers) == 1
    assert model.decoder.embed_tokens.weight.size(1) == 8 and len(model.decoder.layers) == 2


def test_the_model_keeps_the_flat_options(build: Any) -> None:
    model = build()
    assert isinstance(model.args, Namespace)
    assert model.cfg.encoder.embed_dim == model.args.encoder_embed_dim == 16
    assert isinstance(model, TransformerModel)


def test_a_loss_from_features_leaves_out_the_attention_that_nobody_sees(build: Any) -> None:
    model = build()
    forward, _ = feature_forward(model)
    inputs = {"src_tokens": TOKENS, "src_lengths": None, "prev_output_tokens": TOKENS}
    torch.manual_seed(2)
    features, extra = forward(**inputs)
    assert extra["attn"] == [None]
    torch.manual_seed(2)
    expected, extra = model(**inputs, features_only=True)
    assert extra["attn"][0] is not None
    torch.testing.assert_close(features, expected)
    assert forward(**inputs, alignment_layer=0)[1]["attn"][0] is not None


def test_whoever_may_look_at_the_attention_gets_it(build: Any) -> None:
    model = build()
    seen = []
    model.decoder.layers[-1].register_forward_hook(lambda _, __, output: seen.append(output[1]))
    feature_forward(model)[0](src_tokens=TOKENS, src_lengths=None, prev_output_tokens=TOKENS)
    assert seen[0] is not None

    class Own(type(model.decoder.layers[0])):  # type: ignore[misc]
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return super().forward(*args, **kwargs)

    model = build()
    model.decoder.layers[0].__class__ = Own
    assert model.arguments_without_attention() == {}
