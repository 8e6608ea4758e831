"""Building blocks against plain computations."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fairseq.data import Dictionary
from fairseq.modules import (
    AdaptiveInput,
    AdaptiveSoftmax,
    BeamableMM,
    CharacterTokenEmbedder,
    ConvTBC,
    DownsampledMultiHeadAttention,
    DynamicConv,
    DynamicConv_scripatable,
    FairseqDropout,
    Fp32LayerNorm,
    GradMultiply,
    LayerDropModuleList,
    LayerNorm,
    LightweightConv,
    LinearizedConvolution,
    PositionalEmbedding,
    SinusoidalPositionalEmbedding,
    unfold1d,
)
from fairseq.modules.dynamicconv_layer import DynamicconvLayer
from fairseq.modules.dynamicconv_layer.dynamicconv_layer import dynamicconvFunction
from fairseq.modules.lightconv_layer import LightconvLayer
from fairseq.modules.lightconv_layer.lightconv_layer import lightconvFunction
from fairseq.modules.quant_noise import quant_noise
from fairseq.modules.scalar_bias import scalar_bias
from fairseq.modules.weight_norm import remove_weight_norm, weight_norm

PAD = 1
TOKENS = torch.tensor([[5, 6, 7, 2], [5, 2, PAD, PAD]])


# ---------------------------------------------------------------------------------------------------------- positions
@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize("left", [True, False])
def test_positions_count_words_whatever_the_padding_side(learned: bool, left: bool) -> None:
    table = PositionalEmbedding(20, 6, PAD, learned=learned)
    tokens = TOKENS.flip(1) if left else TOKENS
    out = table(tokens)
    rows = table.weight if learned else table.weights
    expected = torch.tensor([[2, 3, 4, 5], [1, 1, 2, 3] if left else [2, 3, 1, 1]])
    torch.testing.assert_close(out, rows[expected])
    assert rows[PAD].abs().sum() == 0


@pytest.mark.parametrize("learned", [True, False])
def test_decoding_step_by_step_sees_the_position_of_the_whole_prefix(learned: bool) -> None:
    table = PositionalEmbedding(20, 6, PAD, learned=learned)
    whole = table(TOKENS[:1])
    for length in range(1, 5):
        step = table(TOKENS[:1, :length], incremental_state={})
        torch.testing.assert_close(step[:, -1], whole[:, length - 1])


def test_sinusoids_are_two_blocks_and_the_table_grows_even_in_inference_mode() -> None:
    table = SinusoidalPositionalEmbedding(8, PAD, init_size=4)
    row = SinusoidalPositionalEmbedding.get_embedding(10, 8, None)[3]
    frequencies = torch.tensor([1.0, 1e4 ** (-1 / 3), 1e4 ** (-2 / 3), 1e-4])
    torch.testing.assert_close(row, torch.cat([(3 * frequencies).sin(), (3 * frequencies).cos()]))
    with torch.inference_mode():
        long = table(torch.full((1, 50), 7))
    assert long.shape == (1, 50, 8)
    weight = torch.ones(8, requires_grad=True)
    (table(torch.full((1, 50), 7)) * weight).sum().backward()
    assert SinusoidalPositionalEmbedding.get_embedding(3, 5, None)[:, -1].abs().sum() == 0


def test_sinusoids_are_not_saved_and_old_entries_are_dropped() -> None:
    table = SinusoidalPositionalEmbedding(8, PAD, init_size=4)
    assert table.state_dict() == {}
    table.load_state_dict({"_float_tensor": torch.zeros(1), "weights": torch.zeros(9, 8)}, strict=True)
    assert table.weights.shape == (4, 8)


def test_learned_positions_can_be_given_only_without_padding() -> None:
    positions = torch.tensor([[3, 4]])
    table = PositionalEmbedding(20, 6, None, learned=True)
    torch.testing.assert_close(table(TOKENS[:1, :2], positions=positions), table.weight[positions])
    with pytest.raises(AssertionError, match="padding_idx"):
        PositionalEmbedding(20, 6, PAD, learned=True)(TOKENS[:1, :2], positions=positions)


# -------------------------------------------------------------------------------------------------- small blocks
def test_layer_norm_in_float32_returns_the_dtype_of_its_input() -> None:
    x = torch.randn(3, 8)
    norm = Fp32LayerNorm(8)
    torch.testing.assert_close(norm(x), LayerNorm(8)(x))
    assert norm(x.bfloat16()).dtype == torch.bfloat16


def test_gradients_are_multiplied_and_values_are_not() -> None:
    x = torch.randn(3, requires_grad=True)
    y = GradMultiply.apply(x, 0.25)
    torch.testing.assert_close(y, x)
    y.sum().backward()
    torch.testing.assert_close(x.grad, torch.full((3,), 0.25))


def test_layers_are_dropped_in_training_only() -> None:
    layers = LayerDropModuleList(0.5, [nn.Linear(1, 1) for _ in range(50)])
    assert 5 < len(list(layers)) < 45
    layers.eval()
    assert len(list(layers)) == len(layers) == 50
    assert len(list(LayerDropModuleList(1.0, [nn.Linear(1, 1)]))) == 0


def test_a_scalar_bias_stands_in_front_and_has_no_gradient() -> None:
    x = torch.randn(2, 3, requires_grad=True)
    y = scalar_bias(x, 1, 4.0)
    assert y.shape == (2, 4)
    assert y[:, 0].tolist() == [4.0, 4.0]
    y.sum().backward()
    torch.testing.assert_close(x.grad, torch.ones(2, 3))


def test_weight_norm_keeps_the_value_the_names_and_lets_the_module_be_copied() -> None:
    linear = nn.Linear(4, 3)
    value = linear.weight.detach().clone()
    module = weight_norm(linear, dim=0)
    assert sorted(module.state_dict()) == ["bias", "weight_g", "weight_v"]
    assert module.weight_g.shape == (3, 1)
    module(torch.ones(1, 4)).sum().backward()
    assert module.weight_g.grad is not None
    torch.testing.assert_close(module.weight, value)
    copied = copy.deepcopy(module)
    with torch.no_grad():
        copied.weight_g.mul_(2)
    torch.testing.assert_close(copied(torch.ones(1, 4)) - copied.bias, 2 * (module(torch.ones(1, 4)) - module.bias))
    with pytest.raises(RuntimeError, match="already"):
        weight_norm(module)
    torch.testing.assert_close(remove_weight_norm(module).weight, value)
    with pytest.raises(ValueError, match="not found"):
        remove_weight_norm(module)


def test_beamable_product_is_the_plain_product_when_hypotheses_share_the_source() -> None:
    queries = torch.randn(6, 1, 5)
    keys = torch.randn(2, 5, 7).repeat_interleave(3, dim=0)
    module = BeamableMM(3).eval()
    torch.testing.assert_close(module(queries, keys), queries.bmm(keys))
    odd = torch.randn(5, 1, 5)
    torch.testing.assert_close(module(odd, keys[:5]), odd.bmm(keys[:5]))


# ---------------------------------------------------------------------------------------------------- quantisation
@pytest.mark.parametrize(
    ("module", "block"),
    [(nn.Linear(8, 6), 4), (nn.Embedding(6, 8), 4), (nn.Conv2d(8, 6, 1), 4), (nn.Conv2d(4, 6, 3), 9)],
)
def test_quantisation_noise_drops_whole_blocks_in_training(module: nn.Module, block: int) -> None:
    torch.manual_seed(0)
    module = quant_noise(module, 0.5, block)
    nn.init.ones_(module.weight)
    inputs: Any = torch.ones(1, 8)
    if isinstance(module, nn.Embedding):
        inputs = torch.tensor([0])
    elif isinstance(module, nn.Conv2d):
        inputs = torch.ones(1, module.in_channels, 3, 3)
    module.eval()(inputs)
    assert bool((module.weight == 1).all())
    module.train()(inputs)
    assert set(module.weight.unique().tolist()) == {0.0, 2.0}
    is_conv = isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1)
    blocks = module.weight.reshape(-1, 9 if is_conv else block)
    assert bool((blocks == blocks[:, :1]).all())


def test_quantisation_noise_checks_kinds_and_sizes() -> None:
    assert quant_noise(nn.LayerNorm(3), 0.0, 8)
    with pytest.raises(AssertionError, match="not for LayerNorm"):
        quant_noise(nn.LayerNorm(3), 0.1, 8)
    with pytest.raises(AssertionError, match="multiple of block size"):
        quant_noise(nn.Linear(10, 3), 0.1, 8)


# ---------------------------------------------------------------------------------------- adaptive and characters
def test_adaptive_softmax_scores_only_the_bands_of_the_targets_when_these_are_known() -> None:
    torch.manual_seed(0)
    softmax = AdaptiveSoftmax(20, 16, [8, 14], dropout=0.0, factor=2)
    features, target = torch.randn(2, 3, 16), torch.tensor([[3, 9, 5], [18, 2, 12]])
    every = softmax.get_log_prob(features, None)
    torch.testing.assert_close(every.exp().sum(-1), torch.ones(2, 3))
    some = softmax.get_log_prob(features, target)
    torch.testing.assert_close(some.gather(2, target.unsqueeze(2)), every.gather(2, target.unsqueeze(2)))
    assert sorted(softmax.state_dict())[:2] == ["head.weight", "tail.0.0.weight"]
    with pytest.raises(Exception, match="no longer supported"):
        softmax.upgrade_state_dict_named({}, "decoder.adaptive_softmax")
    with pytest.raises(AssertionError, match="cannot specify cutoff larger than vocab size"):
        AdaptiveSoftmax(10, 16, [8, 14], dropout=0.0)


def test_adaptive_input_and_softmax_share_vectors_and_projections() -> None:
    embed = AdaptiveInput(20, PAD, 16, 2, 16, [8, 14])
    softmax = AdaptiveSoftmax(20, 16, [8, 14], dropout=0.0, factor=2, adaptive_inputs=embed, tie_proj=True)
    assert softmax.tail[0][2].weight is embed.embeddings[1][0].weight
    assert softmax.tail[1][0].weight is embed.embeddings[2][1].weight
    tokens = torch.tensor([[PAD, 7, 8], [13, 14, 19]])
    out = embed(tokens)
    vector = embed.embeddings[1](torch.tensor([13 - 8]))
    torch.testing.assert_close(out[1, 0], vector[0])
    assert out[0, 0].abs().sum() == 0
    torch.testing.assert_close(softmax.get_log_prob(out, None).exp().sum(-1), torch.ones(2, 3))


def test_words_are_embedded_from_their_characters() -> None:
    dictionary = Dictionary()
    for word in ("cat", "cats", "a" * 60):
        dictionary.add_symbol(word)
    embed = CharacterTokenEmbedder(dictionary, [(1, 4), (2, 4)], 3, 6, highway_layers=1, max_char_len=10)
    words = torch.tensor([[dictionary.index("cat"), dictionary.eos(), dictionary.pad()]])
    out = embed(words)
    assert out.shape == (1, 3, 6)
    torch.testing.assert_close(out[0, 1], embed.symbol_embeddings[0])
    assert out[0, 2].abs().sum() == 0
    spelled = CharacterTokenEmbedder(None, [(1, 4), (2, 4)], 3, 6, highway_layers=1, char_inputs=True)
    spelled.load_state_dict(embed.state_dict())
    chars = torch.zeros(1, 1, 10, dtype=torch.long)
    chars[0, 0, :3] = torch.tensor([ord(c) + 1 for c in "cat"])
    torch.testing.assert_close(spelled(chars)[0, 0], out[0, 0])
    assert embed.padding_idx == dictionary.pad()
    with pytest.raises(AssertionError, match="vocab must be set"):
        CharacterTokenEmbedder(None, [(1, 4)], 3, 6, highway_layers=1)


# ------------------------------------------------------------------------------------------------------- convolutions
def naive_convolution(x: torch.Tensor, weight: torch.Tensor, padding_l: int) -> torch.Tensor:
    """``x`` (T, B, C), ``weight`` (T, B, H, K)."""
    time, channels = x.size(0), x.size(2)
    heads, width = weight.shape[2:]
    out = torch.zeros_like(x)
    for t in range(time):
        for k in range(width):
            if 0 <= t + k - padding_l < time:
                kernel = weight[t, :, :, k].repeat_interleave(channels // heads, dim=1)
                out[t] += kernel * x[t + k - padding_l]
    return out


def test_windows_are_shifted_copies() -> None:
    x = torch.arange(4.0).view(4, 1, 1)
    assert unfold1d(x, 3, 2, -1).squeeze().tolist() == [[-1, -1, 0], [-1, 0, 1], [0, 1, 2], [1, 2, 3]]
    assert unfold1d(x, 1, 0).shape == (4, 1, 1, 1)


@pytest.mark.parametrize("padding_l", [2, 1])
@pytest.mark.parametrize("softmax", [True, False])
def test_lightweight_convolution_is_a_shared_depthwise_one(padding_l: int, softmax: bool) -> None:
    conv = LightweightConv(8, 3, padding_l=padding_l, num_heads=4, weight_softmax=softmax, bias=True)
    nn.init.normal_(conv.bias)
    x = torch.randn(5, 2, 8)
    kernels = conv.weight[:, 0].softmax(-1) if softmax else conv.weight[:, 0]
    wanted = naive_convolution(x, kernels.expand(5, 2, 4, 3), padding_l) + conv.bias
    torch.testing.assert_close(conv(x), wanted)


@pytest.mark.parametrize("renorm", [True, False])
@pytest.mark.parametrize("padding_l", [4, 2])
@pytest.mark.parametrize("time", [7, 3])
def test_dynamic_convolution_computes_a_kernel_per_step(renorm: bool, padding_l: int, time: int) -> None:
    conv = DynamicConv(8, 5, padding_l=padding_l, num_heads=4, weight_softmax=True, renorm_padding=renorm)
    x = torch.randn(time, 2, 8)
    scores = conv.weight_linear(x).view(time, 2, 4, 5)
    if renorm:
        steps = torch.arange(time).unsqueeze(1) + torch.arange(5) - padding_l
        scores = scores.masked_fill(((steps < 0) | (steps >= time))[:, None, None], float("-inf"))
    torch.testing.assert_close(conv(x), naive_convolution(x, scores.softmax(-1), padding_l))


@pytest.mark.parametrize("build", [LightweightConv, DynamicConv, DynamicConv_scripatable])
def test_causal_convolutions_decode_step_by_step_and_follow_reordering(build: Any) -> None:
    conv = build(8, 3, padding_l=2, num_heads=2, weight_softmax=True).eval()
    x = torch.randn(6, 2, 8)
    whole = conv(x)
    state: dict[str, Any] = {}
    for t in range(3):
        torch.testing.assert_close(conv(x[t : t + 1], incremental_state=state)[0], whole[t])
    order = torch.tensor([1, 1])
    conv.reorder_incremental_state(state, order)
    step = conv(x[3:4].index_select(1, order), incremental_state=state)
    torch.testing.assert_close(step[0], whole[3].index_select(0, order))


def test_dynamic_convolution_with_its_own_input_projection_takes_no_query() -> None:
    for build in (DynamicConv, DynamicConv_scripatable):
        conv = build(8, 3, padding_l=2, num_heads=2, weight_softmax=True, in_proj=True)
        assert conv.in_proj
        x = torch.randn(4, 2, 8)
        assert conv(x).shape == x.shape
        with pytest.raises(AssertionError, match="query"):
            conv(x, query=x)


def test_checkpoints_with_and_without_the_unused_bias_load() -> None:
    scripted = DynamicConv_scripatable(8, 3, padding_l=2, num_heads=2)
    plain = DynamicConv(8, 3, padding_l=2, num_heads=2)
    assert set(scripted.state_dict()) - set(plain.state_dict()) == {"conv_bias"}
    plain.load_state_dict(scripted.state_dict(), strict=True)
    scripted.load_state_dict(plain.state_dict(), strict=True)


def test_the_layers_named_after_the_extension_compute_the_same() -> None:
    x = torch.randn(5, 2, 8)
    light = LightweightConv(8, 3, padding_l=2, num_heads=4, weight_softmax=True)
    layer = LightconvLayer(8, 3, padding_l=2, num_heads=4, weight_softmax=True)
    state = light.state_dict()
    layer.upgrade_state_dict_named(state, "")
    layer.load_state_dict(state)
    torch.testing.assert_close(layer(x), light(x))
    light.load_state_dict(layer.state_dict())
    dynamic = DynamicConv(8, 3, padding_l=2, num_heads=4, weight_softmax=True)
    named = DynamicconvLayer(8, 3, padding_l=2, num_heads=4, weight_softmax=True)
    named.load_state_dict(dynamic.state_dict())
    torch.testing.assert_close(named(x), dynamic(x))


@pytest.mark.parametrize("function", [lightconvFunction, dynamicconvFunction])
def test_functions_named_after_the_extension_have_right_gradients(function: Any) -> None:
    x = torch.randn(2, 4, 5, dtype=torch.double, requires_grad=True)
    shape = (2, 3) if function is lightconvFunction else (2, 2, 3, 5)
    weights = torch.randn(shape, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: function.apply(x, w, 2), (x, weights))


def test_time_first_convolution_is_the_usual_one() -> None:
    conv = ConvTBC(4, 6, 3, padding=1)
    x = torch.randn(7, 2, 4)
    wanted = F.conv1d(x.permute(1, 2, 0), conv.weight.permute(2, 1, 0), conv.bias, padding=1).permute(2, 0, 1)
    torch.testing.assert_close(conv(x), wanted)


@pytest.mark.parametrize("width", [1, 3])
def test_linearized_convolution_decodes_step_by_step_and_follows_reordering(width: int) -> None:
    conv = LinearizedConvolution(4, 6, width, padding=width - 1)
    x = torch.randn(5, 2, 4)
    whole = conv(x)
    assert whole.shape == (5, 2, 6)
    state: dict[str, Any] = {}
    for t in range(3):
        step = conv(x[: t + 1].transpose(0, 1), incremental_state=state)
        torch.testing.assert_close(step[:, 0], whole[t])
    order = torch.tensor([1, 0])
    conv.reorder_incremental_state(state, order)
    step = conv(x[3:4].transpose(0, 1).index_select(0, order), incremental_state=state)
    torch.testing.assert_close(step[:, 0], whole[3].index_select(0, order))
    old = {**conv.state_dict(), "_linearized_weight": torch.zeros(1)}
    conv.upgrade_state_dict_named(old, "")
    conv.load_state_dict(old, strict=True)


# ---------------------------------------------------------------------------------------------------------- attention
@pytest.mark.parametrize("downsample", [True, False])
@pytest.mark.parametrize("gated", [True, False])
def test_downsampled_self_attention_sees_strictly_earlier_steps_only(downsample: bool, gated: bool) -> None:
    attention = DownsampledMultiHeadAttention(10, 8, 2, gated=gated, downsample=downsample).eval()
    x = torch.randn(6, 3, 8)
    changed = x.clone()
    changed[4] += 1
    outputs = []
    for value in (x, changed):
        query = x.clone()
        out, _ = attention(query, value, value, mask_future_timesteps=True, use_scalar_bias=True)
        outputs.append(out)
    assert outputs[0].shape == (6, 3, 10)
    torch.testing.assert_close(outputs[0][:5], outputs[1][:5])
    assert (outputs[0][5] - outputs[1][5]).abs().max() > 1e-4


def test_downsampled_attention_leaves_padding_out() -> None:
    attention = DownsampledMultiHeadAttention(8, 8, 2).eval()
    query, source = torch.randn(3, 2, 8), torch.randn(5, 2, 8)
    is_pad = torch.zeros(2, 5, dtype=torch.bool)
    is_pad[1, 3:] = True
    out, weights = attention(query, source, source, key_padding_mask=is_pad)
    alone, _ = attention(query[:, 1:], source[:3, 1:], source[:3, 1:])
    torch.testing.assert_close(out[:, 1:], alone)
    assert weights.shape == (2, 3, 5)
    assert weights[1, :, 3:].abs().sum() == 0
    with pytest.raises(AssertionError, match="self-attention"):
        attention(query, source, source, mask_future_timesteps=True)


@pytest.mark.parametrize(
    "module", [FairseqDropout(0.1), PositionalEmbedding(9, 4, PAD), PositionalEmbedding(9, 4, PAD, learned=True)]
)
def test_blocks_of_scripted_models_script(module: nn.Module) -> None:
    module.eval()
    inputs = torch.randn(2, 3) if isinstance(module, FairseqDropout) else TOKENS
    torch.testing.assert_close(torch.jit.script(module)(inputs), module(inputs))
