"""The smaller blocks beside the transformer."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import pytest
import torch
from torch import nn

from fairseq import modules
from fairseq.modules.base_layer import BaseLayer, _balanced_order
from fairseq.modules.checkpoint_activations import (
    CheckpointFunction,
    checkpoint_wrapper,
    pack_kwargs,
    split_non_tensors,
    unpack_kwargs,
    unpack_non_tensors,
    unwrap_checkpoint,
)
from fairseq.modules.fused import dropout_add as dropping
from fairseq.modules.fused import layers
from fairseq.modules.fused.dropout_add import dropout, dropout_add
from fairseq.modules.fused.layer_norm import OutputSavingLayerNorm
from fairseq.modules.transformer_sentence_encoder import TransformerSentenceEncoder, init_bert_params


@pytest.mark.parametrize("batch_first", [False, True])
def test_dropout_keeps_the_expectation_and_gradients_follow_the_mask(batch_first: bool) -> None:
    torch.manual_seed(0)
    x = torch.ones(40, 50, 64)
    x = (x.transpose(0, 1) if batch_first else x).requires_grad_()
    residual = torch.full((40, 50, 64), 3.0).transpose(0, 1) if batch_first else torch.full((40, 50, 64), 3.0)
    out = dropout_add(x, residual, 0.3) - residual
    assert abs(float(out.detach().mean()) - 1) < 0.01
    kept = out.detach() != 0
    assert abs(float(kept.float().mean()) - 0.7) < 0.01
    out.sum().backward()
    torch.testing.assert_close(x.grad, kept * (1 / 0.7), rtol=1e-4, atol=0)


def test_joining_dropout_sum_and_norm_changes_no_number(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(dropout=0.4)
    model.train()
    tokens = torch.randint(4, 20, (3, 7))
    joined = []

    def run(together: bool) -> tuple[torch.Tensor, list[torch.Tensor]]:
        def count(*args: Any) -> Any:
            joined.append(dropping.dropout_add_norm_(*args) if together else None)
            return joined[-1]

        monkeypatch.setattr(layers, "dropout_add_norm_", count)
        torch.manual_seed(1)
        model.zero_grad()
        out, _ = model(tokens, None, tokens)
        out.square().mean().backward()
        return out.detach(), [p.grad for p in model.parameters() if p.grad is not None]

    (out, grads), (plain_out, plain_grads) = run(True), run(False)
    assert sum(one is not None for one in joined) == 2 * 2 + 2 * 3  # the norms of two layers on each side
    assert torch.equal(out, plain_out)
    assert len(grads) == len(plain_grads)
    for grad, plain in zip(grads, plain_grads):
        assert torch.equal(grad, plain)


def test_outputs_that_somebody_looks_at_are_left_alone(build: Any) -> None:
    model = build(dropout=0.4)
    model.train()
    seen = []
    fc2 = model.encoder.layers[0].fc2
    fc2.register_forward_hook(lambda module, inputs, output: seen.extend((output, output.clone())))
    tokens = torch.randint(4, 20, (3, 7))
    model(tokens, None, tokens)
    assert torch.equal(seen[0], seen[1])


def test_dropout_is_repeated_by_the_same_seed_and_has_its_limits() -> None:
    x = torch.ones(10, 100)
    torch.manual_seed(1)
    first = dropout(x, 0.5)
    torch.manual_seed(1)
    assert torch.equal(first, dropout(x, 0.5))
    assert torch.equal(dropout_add(x, x, 0.0), 2 * x)
    assert torch.equal(dropout_add(x, x, 1.0), x)


def test_the_output_saving_norm_has_the_numbers_of_torch_s() -> None:
    torch.manual_seed(0)
    lean, plain = OutputSavingLayerNorm(32), nn.LayerNorm(32)
    lean.weight.data.uniform_(0.5, 2)
    lean.bias.data.normal_()
    plain.load_state_dict(lean.state_dict())
    x = torch.randn(7, 3, 32) * 3 + 2
    grad = torch.randn(7, 3, 32)
    results = []
    for norm in (lean, plain):
        leaf = x.clone().requires_grad_()
        out = norm(leaf)
        out.backward(grad)
        results.append((out.detach(), leaf.grad, norm.weight.grad, norm.bias.grad))
    for one, other in zip(*results):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_the_output_saving_norm_takes_the_ordinary_way_where_weights_are_small() -> None:
    norm = OutputSavingLayerNorm(4)
    x = torch.randn(2, 4, requires_grad=True)
    assert "NormFromOutput" in type(norm(x).grad_fn).__name__
    norm.weight.data[0] = 0
    assert "NormFromOutput" not in type(norm(x).grad_fn).__name__


def test_checkpointing_can_be_taken_back_and_refuses_to_be_doubled() -> None:
    block = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    keys = list(block.state_dict())
    assert checkpoint_wrapper(block) is block
    assert list(block.state_dict()) == keys
    with pytest.raises(ValueError, match="wrapped already"):
        checkpoint_wrapper(block)
    unwrap_checkpoint(block)
    assert not hasattr(block, "precheckpoint_forward")
    checkpoint_wrapper(block)


def test_the_checkpoint_function_repeats_random_numbers() -> None:
    linear = nn.Linear(8, 8)

    def run(x: torch.Tensor, *, flag: str) -> tuple[torch.Tensor, str]:
        return nn.functional.dropout(linear(x), 0.5, training=True), flag

    x = torch.randn(5, 8, requires_grad=True)
    names, flat = pack_kwargs(x, flag="yes")
    extra: dict = {"offload": False}
    torch.manual_seed(3)
    (out,) = CheckpointFunction.apply(run, extra, names, *flat)
    out.sum().backward()
    got, x.grad = x.grad, None
    linear.zero_grad()
    torch.manual_seed(3)
    expected, _ = run(x, flag="yes")
    expected.sum().backward()
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(got, x.grad)
    assert extra["packed_non_tensor_outputs"]["objects"] == ["yes"]


def test_arguments_survive_packing() -> None:
    names, flat = pack_kwargs(1, 2, c=3, d=4)
    assert unpack_kwargs(names, flat) == ([1, 2], {"c": 3, "d": 4})
    x = torch.ones(1)
    tensors, rest = split_non_tensors((x, None, 3))
    assert unpack_non_tensors(tensors, rest) == (x, None, 3)


def test_base_layers_deal_tokens_out_evenly() -> None:
    torch.manual_seed(0)
    scores = torch.randn(48, 4)
    order = _balanced_order(scores)
    assert sorted(order.tolist()) == list(range(48))
    got = sum(float(scores[chunk, expert].sum()) for expert, chunk in enumerate(order.split(12)))
    assert got > 0.9 * float(scores.max(1).values.sum())


def test_a_base_layer_begins_near_the_identity_and_trains() -> None:
    args = Namespace(
        decoder_embed_dim=8, decoder_ffn_embed_dim=16, activation_fn="relu", base_sublayers=2, base_shuffle=1
    )
    layer = BaseLayer(args)
    for block in layer.expert_network:
        block.ff2.bias.data.zero_()
    x = torch.randn(3, 2, 8, requires_grad=True)
    out, attn, state = layer(x, None, None)
    assert attn is None and state is None
    torch.testing.assert_close(out, x)
    out.square().sum().backward()
    assert layer.expert_network[0].ff2.weight.grad.abs().sum() > 0
    assert all(getattr(p, "expert", False) for p in layer.expert_network.parameters())


def test_bert_initialisation_zeroes_biases_and_padding() -> None:
    model = nn.Sequential(nn.Embedding(50, 64, padding_idx=1), nn.Linear(64, 64))
    model.apply(init_bert_params)
    assert float(model[0].weight[1].abs().sum()) == 0
    assert float(model[1].bias.abs().sum()) == 0
    assert 0.015 < float(model[1].weight.std()) < 0.025


def test_the_sentence_encoder_returns_states_and_the_first_token() -> None:
    encoder = TransformerSentenceEncoder(
        1, 30, 2, 16, 32, 4, encoder_normalize_before=True, apply_bert_init=True
    ).eval()
    tokens = torch.tensor([[0, 5, 6, 2], [0, 7, 2, 1]])
    states, sentence = encoder(tokens, segment_labels=torch.zeros_like(tokens))
    assert len(states) == 3
    torch.testing.assert_close(sentence, states[-1][0])
    assert len(encoder(tokens, last_state_only=True)[0]) == 1


def test_vgg_blocks_know_their_output_width() -> None:
    block = modules.VGGBlock(1, 8, 3, 2, 2, input_dim=10, layer_norm=True)
    out = block(torch.randn(2, 1, 20, 10))
    assert out.shape == (2, 8, 10, block.output_dim)
    assert block.total_output_dim == 8 * block.output_dim


def test_same_pad_cuts_the_extra_frame() -> None:
    x = torch.randn(1, 2, 9)
    assert modules.SamePad(4)(x).size(2) == 8
    assert modules.SamePad(3)(x).size(2) == 9
    assert modules.SamePad(4, causal=True)(x).size(2) == 6
    assert modules.SamePad2d(2)(torch.randn(1, 1, 5, 5)).shape == (1, 1, 4, 4)


def test_norms_compute_in_float32_and_return_the_input_s_type() -> None:
    x = (torch.randn(2, 4, 6) * 100).to(torch.bfloat16)
    for norm in (modules.Fp32GroupNorm(2, 4), modules.Fp32InstanceNorm(4), modules.Fp32BatchNorm(False, 4)):
        out = norm(x)
        assert out.dtype == torch.bfloat16
        assert abs(float(out.float().mean())) < 0.05
    turned = modules.Fp32InstanceNorm(4, transpose_last=True)(x.transpose(1, 2))
    torch.testing.assert_close(turned.transpose(1, 2), modules.Fp32InstanceNorm(4)(x))


def test_rotary_positions_make_scores_depend_on_distance_only() -> None:
    rotary = modules.RotaryPositionalEmbedding(8)
    q, k = torch.randn(1, 1, 1, 8).expand(6, 1, 1, 8), torch.randn(1, 1, 1, 8).expand(6, 1, 1, 8)
    cos, sin = rotary(q, seq_len=6)
    turned_q, turned_k = modules.rotary_positional_embedding.apply_rotary_pos_emb(q, k, cos, sin)
    scores = torch.einsum("ibhd,jbhd->ij", turned_q, turned_k)
    torch.testing.assert_close(scores.diagonal(1), scores[0, 1].expand(5), rtol=1e-4, atol=1e-5)


def test_an_averaged_module_moves_by_its_decay() -> None:
    model = nn.Linear(3, 3)
    ema = modules.EMAModule(model, modules.EMAModuleConfig(ema_decay=0.75, ema_fp32=True))
    before = ema.model.weight.clone()
    with torch.no_grad():
        model.weight.add_(1)
    ema.step(model)
    torch.testing.assert_close(ema.model.weight, before + 0.25)
    assert not ema.model.weight.requires_grad
    with pytest.raises(RuntimeError, match="ema_fp32"):
        modules.EMAModule(model, modules.EMAModuleConfig()).build_fp32_params()
