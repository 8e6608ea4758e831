"""Recorded numbers are those of the released 0.12.2."""

import numpy as np
import pytest
import torch

from fairseq.data import TokenBlockDataset
from fairseq.data.data_utils import numpy_seed
from fairseq.data.legacy import BertDictionary, MaskedLMDataset


class Sentences:
    def __init__(self, *sizes):
        self.sizes = np.array(sizes)

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, i):
        return torch.LongTensor([7 + (i + j) % 20 for j in range(self.sizes[i] - 1)] + [2])


class Pairs:
    rows = (([7, 8, 9, 2], [17, 2], 0), ([8, 9, 10, 11, 2], [17, 2], 0), ([10, 11, 12, 13, 14], [8, 9, 10, 11], 1))
    sizes = np.array([6, 7, 9])

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        first, second, follows = self.rows[i]
        return torch.tensor(first), torch.tensor(second), follows


def masked(data, **options):
    words = BertDictionary()
    for i in range(20):
        words.add_symbol(f"w{i}")
    ids = (words.pad(), words.mask(), words.cls(), words.sep())
    return MaskedLMDataset(data, data.sizes, words, *ids, **options)


def single(**options):
    sentences = Sentences(5, 9, 1, 7, 12, 3)
    blocks = TokenBlockDataset(sentences, sentences.sizes, None, pad=1, eos=2, break_mode="eos")
    return masked(blocks, has_pairs=False, **options)


def test_single_blocks_are_masked_as_recorded():
    data = single()
    batch = data.collater([data[0], data[2], data[1]])
    assert batch["net_input"]["src_tokens"].tolist() == [
        [5, 7, 8, 4, 10, 2, 1, 1, 1, 1],
        [5, 2, 1, 1, 1, 1, 1, 1, 1, 1],
        [5, 8, 9, 10, 12, 12, 13, 14, 4, 2],
    ]
    assert batch["lm_target"][2].tolist() == [1, 1, 1, 1, 11, 1, 1, 1, 15, 1]
    assert batch["ntokens"] == 18
    assert batch["sentence_target"] is None
    assert data.collater([]) == {}


def test_pairs_are_masked_as_recorded():
    data = masked(Pairs())
    batch = data.collater([data[0], data[2], data[1]])
    assert batch["net_input"]["src_tokens"].tolist() == [
        [5, 7, 8, 9, 4, 6, 17, 2, 6, 1, 1, 1],
        [5, 10, 11, 4, 13, 14, 6, 8, 9, 10, 4, 6],
        [5, 8, 4, 10, 11, 2, 6, 17, 4, 6, 1, 1],
    ]
    assert batch["net_input"]["segment_labels"][0].tolist() == [0] * 6 + [1] * 6
    assert batch["sentence_target"].tolist() == [0, 1, 0]
    assert data.num_tokens(2) == data.size(2) == 12


def test_order_is_random_or_by_size():
    with numpy_seed(2):
        assert single().ordered_indices().tolist() == [4, 1, 3, 2, 5, 0]
    assert single(shuffle=False).ordered_indices().tolist() == [2, 5, 0, 3, 1, 4]


def test_other_data_and_shares_are_refused():
    with pytest.raises(AssertionError, match="TokenBlockDataset"):
        masked(Sentences(3), has_pairs=False)
    with pytest.raises(AssertionError, match="together"):
        single(masking_prob=0.9, random_token_prob=0.2)
