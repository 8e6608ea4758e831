"""Rules on hand-made scores, attention history of beams, and layers in eight bits."""

from __future__ import annotations

import torch

from fairseq.ngram_repeat_block import NGramRepeatBlock
from fairseq.sequence_generator import logit_rules
from fairseq.sequence_generator.beam_state import AttentionHistory
from fairseq.sequence_generator.int8 import quantize_linear


def forbidden(lprobs: torch.Tensor) -> list[list[int]]:
    return [row.isinf().nonzero().flatten().tolist() for row in lprobs]


def test_a_repeated_context_forbids_what_followed_it() -> None:
    tokens = torch.tensor([[2, 5, 6, 7, 5, 6], [2, 5, 6, 7, 5, 8]])
    assert forbidden(NGramRepeatBlock(3)(tokens, torch.zeros(2, 10), 1, 2, 5)) == [[7], []]
    assert forbidden(NGramRepeatBlock(2)(tokens, torch.zeros(2, 10), 1, 2, 5)) == [[7], []]


def test_columns_that_are_not_filled_do_not_matter() -> None:
    tokens = torch.tensor([[2, 5, 6, 5, 1, 1, 1]])
    assert forbidden(NGramRepeatBlock(2)(tokens, torch.zeros(1, 10), 1, 1, 3)) == [[6]]


def test_used_words_are_forbidden_but_the_end_is_not() -> None:
    lprobs = torch.zeros(1, 8)
    logit_rules.forbid_used_words(lprobs, torch.tensor([[2, 5, 6]]), eos=2)
    assert forbidden(lprobs) == [[5, 6]]


def test_a_prefix_word_keeps_its_score_and_free_rows_keep_everything() -> None:
    lprobs = torch.log_softmax(torch.randn(2, 8), 1)
    before = lprobs.clone()
    logit_rules.force_prefix(lprobs, torch.tensor([5, 1]), pad=1)
    assert forbidden(lprobs[:1]) == [[0, 1, 2, 3, 4, 6, 7]]
    assert lprobs[0, 5] == before[0, 5] and torch.equal(lprobs[1], before[1])


def test_only_the_end_is_left_at_the_limit() -> None:
    lprobs = torch.zeros(1, 5)
    logit_rules.allow_only(lprobs, 2)
    assert forbidden(lprobs) == [[0, 1, 3, 4]]


def test_the_first_beam_is_copied_over_its_sentence_only() -> None:
    rows = torch.arange(6).unsqueeze(1)
    mask = torch.tensor([False, False, False, True, True, True])
    assert logit_rules.replicate_first_beam(rows, mask, 3).flatten().tolist() == [0, 1, 2, 3, 3, 3]


def test_tracing_all_groups_at_once_gives_what_tracing_each_does() -> None:
    torch.manual_seed(0)
    history = AttentionHistory()
    for step, rows in enumerate((6, 6, 4, 4)):
        history.append(torch.randn(rows, 5))
        following = (6, 4, 4)[step] if step < 3 else 0
        if following:
            history.follow(None if step == 2 else torch.randint(0, rows, (following,)))
    ends = [(1, torch.tensor([3, 0])), (3, torch.tensor([1])), (3, torch.tensor([2, 2]))]
    for (step, rows), traced in zip(ends, history.trace_all(ends)):
        assert torch.equal(traced, history.trace(rows, step))


def test_eight_bit_layers_stay_close_and_replace_plain_linear_layers_only() -> None:
    class Own(torch.nn.Linear):
        pass

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.Sequential(Own(32, 8)), torch.nn.Linear(8, 4, False))
    x = torch.randn(3, 5, 64)
    with torch.no_grad():
        exact = model[0](x)
        assert quantize_linear(model) == 2
        error = (model[0](x) - exact).abs().max() / exact.std()
    assert 0 < error < 0.15 and type(model[1][0]) is Own
    assert model(x).shape == (3, 5, 4)
