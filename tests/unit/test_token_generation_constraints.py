"""Constraint states, by the rules of their two orders."""

from __future__ import annotations

import pytest
import torch

from fairseq.token_generation_constraints import (
    ConstraintNode,
    OrderedConstraintState,
    UnorderedConstraintState,
    pack_constraints,
    unpack_constraints,
)


def packed(phrases: list[list[int]]) -> torch.Tensor:
    return pack_constraints([[torch.tensor(p) for p in phrases]])[0]


def test_phrases_survive_packing() -> None:
    batch = [[torch.tensor([4, 5]), torch.tensor([6])], [], [torch.tensor([7])]]
    rows = pack_constraints(batch)
    assert rows.tolist() == [[2, 4, 5, 0, 6, 0], [0] * 6, [1, 7, 0, 0, 0, 0]]
    assert [[p.tolist() for p in unpack_constraints(row)] for row in rows] == [[[4, 5], [6]], [], [[7]]]


def test_a_token_that_separates_phrases_cannot_be_one() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        pack_constraints([[torch.tensor([4, 0])]])


def test_the_trie_counts_what_passes_through() -> None:
    root = ConstraintNode.create([[1, 2], [1, 2], [3]])
    assert ConstraintNode.print_graph(root) == "([None].False#3 ([1].False#2 [2].True#2) [3].True#1)"
    assert ConstraintNode.print_graph(ConstraintNode.create([[1, 2]])) == "([None].False#1 ([1].False#1 [2].True#1))"
    assert ConstraintNode.print_graph(ConstraintNode()) == "[None].False#0"
    assert dict(root.token_counts()) == {1: 2, 2: 2, 3: 1} and root.tokens() == {1, 2, 3}


def test_ordered_phrases_start_again_when_they_are_broken() -> None:
    state = OrderedConstraintState.create(packed([[4, 5], [6, 7]]))
    banks = []
    for token in (4, 9, 4, 5, 9, 6, 9, 4):
        state = state.advance(token)
        banks.append(state.bank)
    # Between phrases any word may stand; inside the second one, a wrong word costs everything.
    assert banks == [1, 0, 1, 2, 2, 3, 0, 1]


def test_unordered_phrases_keep_what_is_complete() -> None:
    state = UnorderedConstraintState.create(packed([[4, 5], [6]]))
    for token, bank, completed in ((6, 1, 1), (4, 2, 1), (9, 1, 1), (4, 2, 1), (5, 3, 2)):
        state = state.advance(token)
        assert (state.bank, state.num_completed) == (bank, completed)
    assert state.finished
