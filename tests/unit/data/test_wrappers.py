import pickle

import numpy as np
import pytest
import torch
from small_data import dictionary, ids, listed

import fairseq.data as data
from fairseq.data.multi_corpus_dataset import MultiCorpusDataset


def base():
    return listed([5, 6, 7, 2], [8, 2], [9, 10, 2])


def pairs(**kwargs):
    source, target = base(), listed([6, 2], [7, 8, 2], [9, 2])
    words = dictionary()
    return data.LanguagePairDataset(source, source.sizes, words, target, target.sizes, words, **kwargs)


def test_every_exported_name_can_be_imported():
    missing = [name for name in data.__all__ if not hasattr(data, name)]
    assert missing == []


def test_data_sets_reach_workers_by_pickle():
    words = dictionary()
    blocks = data.TokenBlockDataset(base(), base().sizes, 4, pad=1, eos=2, include_targets=True)
    mono = data.MonolingualDataset(blocks, blocks.sizes, words, targets=["future"])
    masked, _ = data.MaskTokensDataset.apply_mask(base(), words, pad_idx=1, mask_idx=words.add_symbol("<mask>"))
    for dataset in (pairs(num_buckets=2), mono, masked, data.ConcatDataset([pairs(), pairs()])):
        copy = pickle.loads(pickle.dumps(dataset))
        assert len(copy) == len(dataset)
        first, second = copy[0], dataset[0]
        assert torch.equal(first["source"], second["source"]) if isinstance(first, dict) else torch.equal(first, second)


def test_a_subclass_may_set_the_sizes_of_pairs_itself():
    class Own(data.LanguagePairDataset):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.sizes = np.array([1, 2, 3])

    source = base()
    assert Own(source, source.sizes, dictionary()).sizes.tolist() == [1, 2, 3]
    assert pairs().sizes.tolist() == [[4, 2], [2, 3], [3, 2]]


def test_dictionaries_whose_special_symbols_differ_are_refused():
    other = data.Dictionary(bos="<b>", pad="<p>", extra_special_symbols=[])
    other.pad_index = 7
    with pytest.raises(AssertionError, match="pad has number"):
        data.LanguagePairDataset(base(), base().sizes, dictionary(), tgt_dict=other)


def test_unequal_sides_are_refused_with_both_lengths():
    source, target = base(), listed([4, 2])
    with pytest.raises(AssertionError, match="3 sources and 1 targets"):
        data.LanguagePairDataset(source, source.sizes, dictionary(), target, target.sizes, dictionary())


def test_sampled_wrappers_batch_their_own_numbers():
    resampled = data.ResamplingDataset(pairs(shuffle=False), size_ratio=3.0, seed=1)
    batches = resampled.batch_by_size(resampled.ordered_indices(), max_sentences=4)
    assert sorted(i for batch in ids(batches) for i in batch) == list(range(9))
    kept, ignored = resampled.filter_indices_by_size(np.arange(9), (3, 3))
    assert len(kept) + len(ignored) == 9 and all(resampled.size(i)[0] > 3 for i in ignored)


def test_sampling_changes_with_the_epoch_and_says_so():
    resampled = data.ResamplingDataset(base(), size_ratio=20.0, seed=1)
    before = [resampled[i].tolist() for i in range(60)]
    resampled.set_epoch(2)
    assert [resampled[i].tolist() for i in range(60)] != before
    assert not data.ConcatDataset([resampled, base()]).can_reuse_epoch_itr_across_epochs


def test_cached_items_are_forgotten_when_an_epoch_begins():
    words = dictionary(50)
    items = listed(*[list(range(4, 44))])
    masked, targets = data.MaskTokensDataset.apply_mask(items, words, 1, words.add_symbol("<mask>"), mask_prob=0.5)
    epochs = []
    for epoch in (1, 2):
        masked.set_epoch(epoch)
        targets.set_epoch(epoch)
        epochs.append(masked[0].tolist())
        changed = masked[0] != items[0]
        assert bool((targets[0][changed] == items[0][changed]).all())
    assert epochs[0] != epochs[1]


def test_nested_batches_may_hold_lists():
    nested = data.NestedDictionaryDataset(
        {"a": [data.RawLabelDataset([1, 2, 3]), data.IdDataset()], "n": data.NumSamplesDataset()}, sizes=[np.ones(3)]
    )
    batch = nested.collater([nested[0], nested[2]])
    assert [part.tolist() for part in batch["a"]] == [[1, 3], [0, 2]] and batch["n"] == 2


def test_a_leaf_that_is_no_data_set_is_named():
    with pytest.raises(ValueError, match="at a.b"):
        data.NestedDictionaryDataset({"a": {"b": 3}})


def test_mixed_corpora_keep_their_shares():
    sets = {"a": pairs(), "b": pairs()}
    mixed = MultiCorpusDataset(sets, [0.5, 0.5], seed=1)
    order = mixed.ordered_indices()
    assert len(order) == 6 and sum(index < 3 for index in order) == 3


def test_noise_never_moves_the_ends_of_an_item():
    words = dictionary(30)
    mask = words.add_symbol("<mask>")
    items = listed(*[[0, *range(4, 20), 2] for _ in range(5)])
    for length, replace in (("subword", 1), ("span-poisson", -1), ("span-poisson", 0)):
        noisy = data.DenoisingDataset(
            items, items.sizes, words, mask, None, False, 1, 0.3, 0.1, 0.2, 1.0, 1.0, None, replace, length, 3.0
        )
        torch.manual_seed(1)
        for number in range(5):
            source = noisy[number]["source"]
            assert (int(source[0]), int(source[-1])) == (0, 2)


@pytest.mark.parametrize(
    ("option", "message"), [((5, "subword"), "replace_length=5"), ((0, "page"), "mask-length=page")]
)
def test_unknown_noise_options_are_refused(option, message):
    items = listed([0, 4, 2])
    with pytest.raises(ValueError, match=message):
        data.DenoisingDataset(
            items, items.sizes, dictionary(), 5, None, False, 1, 0.1, 0, 0, 0, 0, None, option[0], option[1], 3.0
        )


def test_language_tokens_differ_by_corpus_within_a_batch():
    concat = data.TransformEosConcatLangPairDataset(
        [pairs(), pairs()], src_eos=2, tgt_bos=2, new_src_eos=[11, 12], new_tgt_bos=[13, 14]
    )
    batch = concat.collater([concat[0], concat[3]])
    assert batch["net_input"]["src_tokens"][:, -1].tolist() == [11, 12]
    assert batch["net_input"]["prev_output_tokens"][:, 0].tolist() == [13, 14]


def test_span_masks_follow_the_global_seed_without_one_of_their_own():
    from fairseq.data.data_utils import compute_mask_indices

    def draw(seed, **kwargs):
        np.random.seed(seed)
        return compute_mask_indices((2, 50), None, 0.4, 3, **kwargs).tolist()

    for kwargs in ({}, {"mask_type": "uniform", "mask_other": 1}, {"no_overlap": True, "min_space": 1}):
        assert draw(1, **kwargs) == draw(1, **kwargs)
        assert draw(1, **kwargs) != draw(2, **kwargs)
