import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fairseq.data import Dictionary, ListDataset
from fairseq.data.data_utils import numpy_seed
from fairseq.data.span_mask_tokens_dataset import SpanMaskedTokensDataset

NUM_SENTINELS = 30


def vocabulary():
    words = Dictionary()
    for i in range(50):
        words.add_symbol(f"w{i}")
    for i in range(NUM_SENTINELS):
        words.add_symbol(f"<sentinel:{i}>")
    return words


def dataset(lengths, density=0.15, span=3.0, **options):
    random = np.random.RandomState(0)
    rows = [torch.from_numpy(np.append(random.randint(4, 54, n), 2)) for n in lengths]
    data = ListDataset(rows, np.array([len(row) for row in rows]))
    return SpanMaskedTokensDataset(data, vocabulary(), density, span, shuffle=False, **options)


@given(
    lengths=st.lists(st.integers(0, 60), min_size=1, max_size=4), density=st.floats(0.05, 0.95), span=st.floats(1, 6)
)
@settings(max_examples=60, deadline=None)
def test_source_and_target_together_are_the_sentence(lengths, density, span):
    data = dataset(lengths, density, span)
    first_sentinel = len(data.vocab) - NUM_SENTINELS
    for index in range(len(data)):
        sample = data[index]
        pieces = {}
        for side in ("source", "target"):
            tokens = sample[side].tolist()
            assert tokens[-1] == data.vocab.eos()
            for token in tokens[:-1]:
                if token >= first_sentinel:
                    pieces[side, token] = current = []
                elif (side, None) not in pieces and not any(key[0] == side for key in pieces):
                    pieces[side, None] = current = [token]
                else:
                    current.append(token)
        # The source is kept, hole, kept, hole ...; the target the holes' contents and holes where the source is kept.
        source = [pieces[key] for key in pieces if key[0] == "source"]
        target = [pieces[key] for key in pieces if key[0] == "target"]
        merged = source[0] if source else []
        for hidden, kept in zip(target, [*source[1:], []]):
            merged = [*merged, *hidden, *kept]
        assert merged == data.dataset[index].tolist()[:-1]


def test_as_much_is_hidden_as_asked_for_in_spans_of_that_length():
    data = dataset([100])
    with numpy_seed(1):
        mask = data.random_spans_noise_mask(100)
    assert mask.sum() == 15
    assert not mask[0]
    assert (np.diff(mask.astype(int)) == 1).sum() == 5
    assert data.create_sentinel_ids(np.array([False, True, True, False, True])).tolist() == [
        *[0, len(data.vocab) - 1, -1, 0, len(data.vocab) - 2]
    ]


def test_spans_change_with_the_epoch_and_not_with_the_asking():
    data = dataset([40, 40], seed=3)
    data.set_epoch(1)
    before = data[0]["source"].tolist()
    np.random.rand(3)
    assert data[0]["source"].tolist() == before
    data.set_epoch(2)
    assert data[0]["source"].tolist() != before


def test_batches_are_those_of_denoising():
    data = dataset([9, 20])
    batch = data.collater([data[0], data[1]])
    assert batch["net_input"]["src_tokens"].shape[0] == 2
    assert batch["net_input"]["prev_output_tokens"][:, 0].tolist() == [2, 2]
    assert data.ordered_indices().tolist() == [0, 1]
    with pytest.raises(ValueError, match="share"):
        dataset([5], density=1.5)
