"""Recorded numbers are those of the released 0.12.2."""

import numpy as np
import pytest
import torch

from fairseq.data.data_utils import numpy_seed
from fairseq.data.legacy import BertDictionary, BlockPairDataset, MaskedLMDataset

SIZES = (3, 4, 1, 5, 2, 1, 4, 4, 4, 2, 5, 3, 1)


class Sentences:
    """Every token is another number, from 100 on."""

    supports_prefetch = True

    def __init__(self, sizes):
        self.starts = 100 + np.concatenate(([0], np.cumsum(sizes)))

    def __getitem__(self, i):
        return torch.arange(self.starts[i], self.starts[i + 1])

    def prefetch(self, indices):
        self.fetched = list(indices)


def pairs(sizes, block_size, seed=0, **options):
    with numpy_seed(seed):
        data = BlockPairDataset(Sentences(sizes), BertDictionary(), np.array(sizes), block_size, **options)
    return data, [(first.tolist(), second.tolist(), follows) for first, second, follows in data]


def test_pairs_of_documents_are_as_recorded():
    with numpy_seed(5):
        data = BlockPairDataset(Sentences(SIZES), BertDictionary(), np.array(SIZES), 13, short_seq_prob=0.5)
    assert data.block_indices == [[0, 1], [3, 4], [6, 7, 8, 9, 10, 11]]
    assert data.sizes.tolist() == [10, 10, 9, 13, 7, 12, 8]
    rows = [(first.tolist(), second.tolist(), follows) for first, second, follows in data]
    assert rows == [
        ([100, 101, 102], [103, 104, 105, 106], 1),
        ([108, 109, 110, 111, 112], [128, 129], 0),
        ([113, 114], [103, 104, 105, 106], 0),
        ([116, 117, 118, 119], [120, 121, 122, 123, 124, 125], 1),
        ([128, 129], [113, 114], 0),
        ([130, 131, 132, 133, 134], [103, 104, 105, 106], 0),
        ([135, 136, 137], [113, 114], 0),
    ]


@pytest.mark.parametrize("seed", range(20))
def test_a_block_that_follows_is_the_next_text_of_the_same_document(seed):
    sizes = [*np.random.RandomState(seed).randint(2, 15, size=40), 1, 7, 9, 1]
    data, rows = pairs(sizes, 24, seed, short_seq_prob=0.5)
    text = np.arange(100, 100 + sum(sizes))
    document_of = np.repeat(np.cumsum(np.array(sizes) == 1), sizes)
    for size, (first, second, follows) in zip(data.sizes, rows):
        assert first
        assert second
        assert size == len(first) + len(second) + 3 <= 24
        assert all(block == text[block[0] - 100 : block[-1] - 99].tolist() for block in (first, second))
        assert (document_of[first[0] - 100] == document_of[second[0] - 100]) == bool(follows)
        if follows:
            assert first[-1] < second[0]
    assert {follows for *_, follows in rows} == {0, 1}


def test_text_after_the_last_break_and_empty_documents_are_left_out():
    data, _ = pairs([1, 3, 4, 1, 1, 5, 2, 1, 9], 100)
    assert data.block_indices == [[1, 2], [5, 6]]
    assert len(pairs([5], 100)[0]) == 0


def test_a_stream_is_cut_into_halves_and_paired():
    data, rows = pairs([5, 7, 3, 9, 2], 15, break_mode="none")
    blocks = [list(range(start, min(start + 6, 126))) for start in range(100, 126, 6)]
    assert [first for first, *_ in rows] == blocks[:-1]
    for number, (_, second, follows) in enumerate(rows):
        assert (second == blocks[number + 1]) == bool(follows)
        assert second in blocks
        assert second != blocks[number]
    assert len(data) == len(data.sizes) == 4


def test_a_single_document_has_no_other_to_draw_from():
    with pytest.raises(ValueError, match="1 documents or blocks in all"):
        pairs([5, 1], 100)
    with pytest.raises(ValueError, match="Invalid break_mode: sent"):
        pairs([5, 1], 100, break_mode="sent")
    with pytest.raises(ValueError, match="holds no two blocks"):
        pairs([5, 1], 4)


def test_items_of_both_blocks_are_fetched_and_masked_batches_made():
    data, rows = pairs(SIZES, 13)
    data.prefetch([0, 1])
    touched = {token for row in rows[:2] for block in row[:2] for token in block}
    assert {token for item in data.dataset.fetched for token in data.dataset[item].tolist()} >= touched
    assert data.dataset.fetched == sorted(set(data.dataset.fetched))
    words = data.dictionary
    words.add_symbol("word")
    masked = MaskedLMDataset(data, data.sizes, words, words.pad(), words.mask(), words.cls(), words.sep())
    batch = masked.collater([masked[i] for i in range(len(masked))])
    assert batch["sentence_target"].tolist() == [follows for *_, follows in rows]
    assert batch["net_input"]["src_tokens"].shape == (len(rows), max(data.sizes))
