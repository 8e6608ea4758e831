"""Multi-head attention: the fused and the visible way, caches, extra keys, old checkpoints."""

from __future__ import annotations

import pytest
import torch

from fairseq.modules import MultiheadAttention
from fairseq.modules.attention_masks import future_mask, is_future_mask

T, S, B, C, H = 5, 6, 3, 16, 4


def attention(seed: int = 0, **options: object) -> MultiheadAttention:
    torch.manual_seed(seed)
    return MultiheadAttention(C, H, **options)


def padding() -> torch.Tensor:
    mask = torch.zeros(B, S, dtype=torch.bool)
    mask[0, :2] = True
    mask[2, -1] = True
    return mask


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("extra", [{}, {"add_bias_kv": True}, {"add_zero_attn": True}])
def test_fused_attention_gives_the_numbers_of_the_visible_one(batch_first: bool, extra: dict) -> None:
    module = attention(encoder_decoder_attention=True, **extra).eval()
    query = torch.randn(B, T, C).transpose(0, 1) if batch_first else torch.randn(T, B, C)
    key = torch.randn(S, B, C)
    mask = torch.randn(T, S)
    fused, nothing = module(query, key, key, key_padding_mask=padding(), attn_mask=mask, need_weights=False)
    visible, weights = module(query, key, key, key_padding_mask=padding(), attn_mask=mask, need_weights=True)
    assert nothing is None
    torch.testing.assert_close(fused, visible)
    assert fused.stride() == query.stride()
    assert weights.shape == (B, T, S + len(extra))
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, T))
    assert bool((weights[0, :, :2] == 0).all())


def test_it_agrees_with_torch_s_own_multi_head_attention() -> None:
    module = attention(self_attention=True).eval()
    x = torch.randn(T, B, C)
    expected, expected_weights = torch.nn.functional.multi_head_attention_forward(
        x, x, x, C, H, torch.empty(0),
        torch.cat([module.q_proj.bias, module.k_proj.bias, module.v_proj.bias]),
        None, None, False, 0.0, module.out_proj.weight, module.out_proj.bias, False,
        use_separate_proj_weight=True, q_proj_weight=module.q_proj.weight, k_proj_weight=module.k_proj.weight,
        v_proj_weight=module.v_proj.weight,
    )  # fmt: skip
    out, weights = module(x, x, x)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(weights, expected_weights)


def test_head_weights_and_scores_have_their_documented_shapes() -> None:
    module = attention(self_attention=True).eval()
    x = torch.randn(T, B, C)
    _, by_head = module(x, x, x, need_head_weights=True)
    assert by_head.shape == (H, B, T, T)
    scores, values = module(x, x, x, before_softmax=True)
    assert scores.shape == (B * H, T, T)
    assert values.shape == (B * H, T, C // H)
    torch.testing.assert_close(scores.view(B, H, T, T).softmax(-1).transpose(0, 1), by_head)


def test_steps_with_a_cache_equal_one_pass_with_a_causal_mask() -> None:
    module = attention(self_attention=True).eval()
    x = torch.randn(T, B, C)
    whole, _ = module(x, x, x, attn_mask=future_mask(T, x), need_weights=False)
    state: dict = {}
    steps = [module(x[i : i + 1], None, None, incremental_state=state, need_weights=False)[0] for i in range(T)]
    torch.testing.assert_close(torch.cat(steps), whole)
    (cache,) = state.values()
    assert cache["prev_key"].shape == (B, H, T, C // H)


def test_a_causal_mask_is_recognised_by_its_memory_and_others_are_not() -> None:
    like = torch.zeros(1)
    assert is_future_mask(future_mask(7, like))
    assert not is_future_mask(future_mask(7, like).clone())
    assert not is_future_mask(future_mask(7, like)[:, :3])


def test_a_mask_made_in_inference_mode_serves_training_later() -> None:
    with torch.inference_mode():
        future_mask(333, torch.zeros(1, dtype=torch.float64))
    module = attention(self_attention=True).double()
    x = torch.randn(2, B, C, dtype=torch.float64, requires_grad=True)
    out, _ = module(x, x, x, attn_mask=future_mask(2, x), need_weights=False)
    out.sum().backward()
    assert x.grad is not None


def test_static_keys_are_computed_once_and_need_no_key_afterwards() -> None:
    module = attention(encoder_decoder_attention=True, kdim=8, vdim=8).eval()
    memory = torch.randn(S, B, 8)
    query = torch.randn(1, B, C)
    state: dict = {}
    first, _ = module(query, memory, memory, padding(), state, static_kv=True)
    again, _ = module(query, None, None, None, state, static_kv=True)
    torch.testing.assert_close(first, again)


def test_a_beam_shares_the_keys_of_its_sentence() -> None:
    beam = 2
    module = attention(encoder_decoder_attention=True).eval()
    memory = torch.randn(S, B, C).repeat_interleave(beam, 1)
    mask = padding().repeat_interleave(beam, 0)
    query = torch.randn(1, B * beam, C)
    apart, apart_weights = module(query, memory, memory, mask, {}, static_kv=True)
    module.set_beam_size(beam)
    state: dict = {}
    together, weights = module(query, memory, memory, mask, state, static_kv=True)
    fused, _ = module(query, memory, memory, mask, {}, static_kv=True, need_weights=False)
    torch.testing.assert_close(together, apart)
    torch.testing.assert_close(fused, apart)
    torch.testing.assert_close(weights, apart_weights)
    (cache,) = state.values()
    assert cache["prev_key"].size(0) == B
    # The middle sentence is finished: the keys of the others remain.
    module.reorder_incremental_state(state, torch.tensor([1, 0, 4, 4]))
    rest, _ = module(query[:, [1, 0, 4, 4]], None, None, None, state, static_kv=True)
    torch.testing.assert_close(rest, apart[:, [1, 0, 4, 4]])


class KeysOfItsOwn(MultiheadAttention):
    """Files the encoder's keys for every hypothesis, as the forward methods of published subclasses do."""

    def forward(self, query, key, value, incremental_state=None):  # type: ignore[no-untyped-def, override]
        saved = self._get_input_buffer(incremental_state)
        if "prev_key" not in saved:
            saved["prev_key"] = key.transpose(0, 1).unsqueeze(1)
        self._set_input_buffer(incremental_state, saved)
        return saved["prev_key"]


def test_keys_that_a_subclass_files_for_each_hypothesis_follow_their_hypotheses() -> None:
    module = KeysOfItsOwn(C, 2, encoder_decoder_attention=True)
    module.set_beam_size(2)
    memory = torch.randn(S, B, C).repeat_interleave(2, 1)
    state: dict = {}
    keys = module(None, memory, memory, state)
    order = torch.tensor([1, 0, 4, 4])  # the middle sentence is finished
    module.reorder_incremental_state(state, order)
    torch.testing.assert_close(module(None, None, None, state), keys[order])


def test_a_memory_that_grows_is_kept_for_each_hypothesis() -> None:
    module = attention(encoder_decoder_attention=True).eval()
    query, memory = torch.randn(1, 4, C), torch.randn(S, 4, C)
    apart, _ = module(query, memory, memory)
    module.set_beam_size(2)
    together, _ = module(query, memory, memory, None, {})
    torch.testing.assert_close(together, apart)


def test_a_training_batch_is_not_taken_for_a_beam() -> None:
    module = attention(encoder_decoder_attention=True)
    x, memory = torch.randn(T, 4, C), torch.randn(S, 4, C)
    before, _ = module(x, memory, memory)
    module.set_beam_size(2)
    after, _ = module(x, memory, memory)
    torch.testing.assert_close(before, after)


def test_caches_follow_their_hypotheses() -> None:
    module = attention(self_attention=True).eval()
    x = torch.randn(2, B, C)
    state: dict = {}
    module(x[:1], None, None, incremental_state=state)
    order = torch.tensor([2, 0, 0])
    module.reorder_incremental_state(state, order)
    moved, _ = module(x[1:], None, None, incremental_state=state, need_weights=False)
    whole, _ = module(torch.cat([x[:1, order], x[1:]]), None, None, attn_mask=future_mask(2, x), need_weights=False)
    torch.testing.assert_close(moved, whole[1:])


def test_a_subclass_that_masks_scores_is_asked() -> None:
    class FirstKeyOnly(MultiheadAttention):
        def apply_sparse_mask(self, attn_weights, tgt_len, src_len, bsz):  # type: ignore[no-untyped-def]
            attn_weights[:, :, 1:] = float("-inf")
            return attn_weights

    torch.manual_seed(0)
    module = FirstKeyOnly(C, H, self_attention=True).eval()
    x = torch.randn(T, B, C)
    out, _ = module(x, x, x, need_weights=False)
    torch.testing.assert_close(out[0], out[-1])


def test_the_joined_projection_of_old_checkpoints_is_split() -> None:
    module = attention(self_attention=True)
    joined = torch.randn(3 * C, C)
    state = {"a.in_proj_weight": joined, "a.in_proj_bias": torch.arange(3.0 * C)}
    module.upgrade_state_dict_named(state, "a")
    assert sorted(state) == sorted(f"a.{p}_proj.{kind}" for p in "qkv" for kind in ("weight", "bias"))
    torch.testing.assert_close(state["a.k_proj.weight"], joined[C : 2 * C])


def test_pruned_heads_leave_the_output_of_the_others() -> None:
    module = attention(self_attention=True).eval()
    with torch.no_grad():
        # Heads 1 and 3 contribute nothing.
        for head in (1, 3):
            module.v_proj.weight[head * 4 : head * 4 + 4] = 0
            module.v_proj.bias[head * 4 : head * 4 + 4] = 0
    x = torch.randn(T, B, C)
    before, _ = module(x, x, x, need_weights=False)
    kept = module._get_reserve_head_index(num_heads_to_keep=2)
    assert kept == [(0, 4), (8, 12)]
    module._adaptive_prune_heads(kept)
    after, _ = module(x, x, x, need_weights=False)
    torch.testing.assert_close(after, before)


def test_refusals_name_the_reason() -> None:
    with pytest.raises(AssertionError, match="divisible by num_heads"):
        MultiheadAttention(10, 3)
    with pytest.raises(AssertionError, match="same size"):
        MultiheadAttention(16, 4, kdim=8, self_attention=True)
    with pytest.raises(NotImplementedError, match="xFormers"):
        MultiheadAttention(16, 4, xformers_att_config="{}")
    with pytest.raises(AssertionError, match="query dim 8 != 16"):
        attention(self_attention=True)(torch.zeros(1, 1, 8), None, None)
