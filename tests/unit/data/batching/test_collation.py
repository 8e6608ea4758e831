import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fairseq.data import data_utils
from fairseq.data.language_pair_dataset import collate


def one_by_one(values, pad, eos, left_pad, move, width):
    rows = []
    for value in values:
        if move:
            value = [value[-1] if eos is None else eos, *value[:-1]]
        padding = [pad] * (width - len(value))
        rows.append([*padding, *value] if left_pad else [*value, *padding])
    return rows


@given(
    values=st.lists(st.lists(st.integers(2, 30), min_size=1, max_size=9), min_size=1, max_size=8),
    eos=st.none() | st.just(2),
    left_pad=st.booleans(),
    move=st.booleans(),
    pad_to_length=st.none() | st.integers(1, 12),
    multiple=st.sampled_from([1, 4, 8]),
    rows=st.none() | st.integers(1, 10),
)
@settings(max_examples=60, deadline=None)
def test_padding_equals_padding_one_by_one(values, eos, left_pad, move, pad_to_length, multiple, rows):
    width = max(max(map(len, values)), pad_to_length or 0)
    width = -(-width // multiple) * multiple
    expected = one_by_one(values, 1, eos, left_pad, move, width)
    expected += [[1] * width] * max(0, (rows or 0) - len(values))
    found = data_utils.collate_tokens(
        [torch.tensor(value) for value in values],
        1,
        eos,
        left_pad,
        move,
        pad_to_length=pad_to_length,
        pad_to_multiple=multiple,
        pad_to_bsz=rows,
    )
    assert found.tolist() == expected


def test_padding_keeps_the_type_of_the_items():
    values = [torch.tensor([1.5, 2.5]), torch.tensor([3.5])]
    assert data_utils.collate_tokens(values, 0).dtype == torch.float32


def test_moving_the_end_of_an_empty_item_is_refused():
    with pytest.raises(IndexError, match="empty sequence"):
        data_utils.collate_tokens(
            [torch.tensor([4]), torch.tensor([], dtype=torch.long)], 1, move_eos_to_beginning=True
        )


def test_pairs_are_sorted_by_source_length_and_shifted_for_the_decoder():
    samples = [
        {"id": 7, "source": torch.tensor([5, 2]), "target": torch.tensor([6, 7, 2])},
        {"id": 8, "source": torch.tensor([5, 6, 2]), "target": torch.tensor([8, 2])},
    ]
    batch = collate(samples, pad_idx=1, eos_idx=2)
    assert batch["id"].tolist() == [8, 7] and batch["ntokens"] == 5
    assert batch["net_input"]["src_tokens"].tolist() == [[5, 6, 2], [1, 5, 2]]
    assert batch["net_input"]["prev_output_tokens"].tolist() == [[2, 8, 1], [2, 6, 7]]


def test_no_samples_give_an_empty_batch():
    assert collate([], 1, 2) == {}
