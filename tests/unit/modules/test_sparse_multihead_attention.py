"""Recorded patterns are those of the released 0.12.2."""

import math

import pytest
import torch

from fairseq.modules.sparse_multihead_attention import SparseMultiheadAttention
from fairseq.modules.sparse_transformer_sentence_encoder import SparseTransformerSentenceEncoder


def attention(**options):
    torch.manual_seed(0)
    settings = {"self_attention": True, "stride": 4, "expressivity": 2, **options}
    return SparseMultiheadAttention(8, 2, **settings).eval()


BOTH_WAYS = ["#####.###"] * 5 + ["..#######"] * 4
ONE_WAY = [
    "#........", "##.......", "###......", "####.....", "#####....", "..####...", "..#####..", "..######.", "..#######",
]  # fmt: skip


def drawn(mask):
    assert set(mask.flatten().tolist()) <= {0.0, -math.inf}
    return ["".join("#" if value == 0 else "." for value in row) for row in mask.tolist()]


@pytest.mark.parametrize(("is_bidirectional", "picture"), [(True, BOTH_WAYS), (False, ONE_WAY)])
def test_pattern_is_as_recorded(is_bidirectional, picture):
    module = attention(is_bidirectional=is_bidirectional)
    assert drawn(module.buffered_sparse_mask(torch.zeros(1), 9, 9)) == picture
    scores = torch.zeros(4, 9, 9)
    assert module.apply_sparse_mask(scores, 9, 9, 2) is scores
    assert drawn(scores[3]) == picture


def test_parts_of_the_pattern_are_as_recorded():
    module = attention()
    assert [module.compute_checkpoint(i) for i in range(10)] == [2, 2, 2, 2, 2, 6, 6, 6, 6, 10]
    assert module.compute_subset_summaries(8) == {2, 3, 4, 6, 7}
    assert module.compute_fixed_attention_subset(4, 10) == {0, 1, 2, 3, 4}
    assert module.compute_fixed_attention_subset(9, 10) == {8, 9}
    assert attention(is_bidirectional=False).compute_fixed_attention_subset(9, 10) == {2, 3, 4, 6, 7, 8, 9}


@pytest.mark.parametrize("is_bidirectional", [True, False])
@pytest.mark.parametrize("options", [{}, {"add_bias_kv": True}, {"add_zero_attn": True}])
def test_output_is_that_of_the_pattern_with_and_without_weights(is_bidirectional, options):
    module = attention(is_bidirectional=is_bidirectional, **options)
    x = torch.randn(9, 3, 8)
    padding = torch.zeros(3, 9, dtype=torch.bool)
    padding[1, 6:] = True
    fused, none = module(x, x, x, key_padding_mask=padding, need_weights=False)
    seen, weights = module(x, x, x, key_padding_mask=padding)
    assert none is None
    torch.testing.assert_close(fused, seen)
    hidden = module.buffered_sparse_mask(x, 9, 9).isinf()
    assert (weights[0][:, :9][hidden] == 0).all()
    assert (weights[0][:, :9][~hidden] > 0).all()
    assert (weights[1][:, 6:9] == 0).all()


def test_a_further_mask_hides_more():
    module = attention()
    x = torch.randn(9, 1, 8)
    future = torch.ones(9, 9, dtype=torch.bool).triu(1)
    _, weights = module(x, x, x, attn_mask=future)
    both = module.buffered_sparse_mask(x, 9, 9).isinf() | future
    assert ((weights[0] == 0) == both).all()


def test_decoding_step_by_step_gives_the_same():
    module = attention(is_bidirectional=False)
    x = torch.randn(11, 2, 8)
    whole, _ = module(x, x, x, need_weights=False)
    state: dict = {}
    steps = [module(x[i : i + 1], None, None, incremental_state=state, need_weights=False)[0] for i in range(11)]
    torch.testing.assert_close(torch.cat(steps), whole)


def test_a_short_sentence_in_a_long_batch_gives_numbers():
    module = attention()
    x = torch.randn(40, 2, 8)
    padding = torch.zeros(2, 40, dtype=torch.bool)
    padding[1, 1:] = True
    out, _ = module(x, x, x, key_padding_mask=padding, need_weights=False)
    assert out.isfinite().all()


def test_a_subclass_may_have_a_pattern_of_its_own():
    class Diagonal(SparseMultiheadAttention):
        def apply_sparse_mask(self, attn_weights, tgt_len, src_len, bsz):
            return attn_weights.masked_fill(~torch.eye(tgt_len, dtype=torch.bool), -math.inf)

    module = Diagonal(8, 2, self_attention=True).eval()
    x = torch.randn(5, 1, 8)
    assert module(x, x, x)[1][0].equal(torch.eye(5))


def test_expressivity_is_below_stride():
    with pytest.raises(AssertionError, match="got 4 of 4"):
        attention(expressivity=4)


def test_an_encoder_of_sparse_layers_learns_and_hides():
    torch.manual_seed(0)
    encoder = SparseTransformerSentenceEncoder(
        1, 30, num_encoder_layers=1, embedding_dim=8, ffn_embedding_dim=16, num_attention_heads=2, dropout=0.0,
        attention_dropout=0.0, activation_dropout=0.0, is_bidirectional=False, stride=4, expressivity=1,
    )  # fmt: skip
    tokens = torch.arange(4, 14).unsqueeze(0)
    states, sentence = encoder(tokens)
    assert sentence.shape == (1, 8)
    # Position 9 sees its block (from 8 on) and the summaries 3, 4, 7, 8: not position 5.
    grad = torch.autograd.grad(states[-1][9, 0].square().sum(), states[0], retain_graph=True)[0][:, 0].abs().sum(1)
    assert [i for i in range(10) if grad[i] > 0] == [3, 4, 7, 8, 9]
    states[-1].sum().backward()
    assert encoder.layers[0].self_attn.q_proj.weight.grad is not None
