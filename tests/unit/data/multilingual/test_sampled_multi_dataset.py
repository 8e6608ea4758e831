"""Several data sets as one. Recorded numbers are those of the released 0.12.2."""

from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fairseq.data import Dictionary, LanguagePairDataset, SampledMultiDataset, SampledMultiEpochDataset, data_utils
from fairseq.data.multilingual import multilingual_utils, sampling_method
from fairseq.data.multilingual.sampled_multi_dataset import CollateFormat, default_virtual_size_func


class Sentences:
    def __init__(self, number, offset):
        self.offset = offset
        self.sizes = np.array([1 + (7 * i + offset) % 9 for i in range(number)])

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, index):
        return torch.LongTensor([4 + (self.offset + index) % 16] * (self.sizes[index] - 1) + [2])


def pairs(number, offset, **options):
    words = Dictionary()
    for i in range(20):
        words.add_symbol(f"w{i}")
    source, target = Sentences(number, offset), Sentences(number, offset + 3)
    return LanguagePairDataset(source, source.sizes, words, target, target.sizes, words, **options)


def three(kind=SampledMultiDataset, **options):
    named = [("de-en", pairs(10, 0)), ("fr-en", pairs(30, 5)), ("ro-en", pairs(5, 2))]
    return kind(OrderedDict(named), **options)


def drawn(dataset):
    return [(number, int(sample["id"])) for number, sample in (dataset[i] for i in range(len(dataset)))]


def test_samples_are_drawn_as_recorded():
    dataset = three(sampling_ratios=[0.5, 0.3, 0.2])
    assert len(dataset) == 67
    assert dataset.virtual_size_per_dataset.tolist() == [34, 20, 13]
    found = drawn(dataset)
    assert found[:8] == [(0, i) for i in (9, 0, 1, 0, 4, 6, 4, 7)]
    assert found[34:40] == [(1, i) for i in (23, 21, 19, 10, 16, 0)]
    dataset.set_epoch(2)
    assert drawn(dataset)[:6] == [(0, i) for i in (6, 4, 4, 7, 1, 4)]


def test_without_shares_every_sample_is_there_once():
    assert drawn(three()) == [(k, i) for k, number in enumerate((10, 30, 5)) for i in range(number)]


def test_no_sample_comes_twice_while_there_are_enough():
    found = drawn(three(sampling_ratios=[0.5, 0.3, 0.2], virtual_size=20))
    assert len(set(found)) == 20


def test_epochs_of_a_round_are_parts_of_one_draw():
    options = {"sampling_ratios": [0.5, 0.3, 0.2], "virtual_size": 50, "virtual_epoch_size": 20}
    dataset = three(SampledMultiEpochDataset, **options)
    epochs = []
    for epoch in (1, 2, 3):
        dataset.set_epoch(epoch)
        epochs.append(drawn(dataset))
        assert dataset.sizes.tolist() == [list(dataset.size(i)) for i in range(len(dataset))]
    assert [len(epoch) for epoch in epochs] == [20, 20, 10]
    numbers = [number for epoch in epochs for number, _ in epoch]
    assert [numbers.count(k) for k in range(3)] == [25, 15, 10]
    dataset.set_epoch(1)
    assert dataset.load_next_shard
    assert [dataset.sizes.tolist()[:3], len(dataset)] == [[[9, 3], [2, 5], [9, 3]], 20]
    # Beginning in the middle of a round draws for that epoch.
    assert len(three(SampledMultiEpochDataset, epoch=3, **options)) == 10


def test_batches_of_different_data_sets_are_padded_to_one_width():
    dataset = three(sampling_ratios=[0.5, 0.3, 0.2])
    samples = [dataset[i] for i in (0, 40, 66, 3)]
    batch = dataset.collater(samples)
    assert batch["nsentences"] == 4
    assert batch["net_input"]["src_lengths"].tolist() == sorted((len(s["source"]) for _, s in samples), reverse=True)
    assert batch["ntokens"] == sum(len(s["target"]) for _, s in samples) == int(batch["target"].ne(1).sum())
    assert batch["target"].shape[1] == max(len(s["target"]) for _, s in samples)
    assert dataset.collater([]) is None
    single = three(sampling_ratios=[0.5, 0.3, 0.2], shared_collater=True).collater(samples)
    rows = [sorted(zip(b["id"].tolist(), b["target"].tolist())) for b in (single, batch)]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("spelling", [CollateFormat.ordered_dict, "ordered_dict"])
def test_batches_can_be_kept_apart_by_key(spelling):
    dataset = three(collate_format=spelling)
    batch = dataset.collater([dataset[0], dataset[12], dataset[1]])
    assert list(batch) == ["de-en", "fr-en", "ro-en"]
    assert batch["de-en"]["nsentences"] == 2
    assert batch["ro-en"] == {}
    assert three(collate_format=spelling, eval_key="fr-en").collater([dataset[12]])["nsentences"] == 1


def test_order_and_limits_are_those_of_sentence_pairs():
    dataset = three()
    with data_utils.numpy_seed(5):
        order = dataset.ordered_indices()
    sizes = dataset.sizes[order]
    assert sorted(order.tolist()) == list(range(45))
    assert sizes.tolist() == sorted(sizes.tolist())
    kept, ignored = dataset.filter_indices_by_size(order, (6, 7))
    assert (dataset.sizes[kept] <= [6, 7]).all()
    assert len(kept) + len(ignored) == 45
    assert dataset.num_tokens_vec(np.array([0, 1, 2])).tolist() == [4, 8, 9]
    assert dataset.num_tokens(0) == 4


@pytest.mark.parametrize(
    ("ratios", "expected"), [(None, 40), ([0.5, 0.5], 60), ([0.1, 0.9], 33), ([0.9, 0.1], 60)], ids=str
)
def test_an_epoch_is_long_enough_for_the_largest_data_set_within_limits(ratios, expected):
    assert default_virtual_size_func([range(10), range(30)], ratios) == expected


def test_weights_follow_the_method():
    sizes = [10, 20, 70]
    chosen = {}
    for method in ("uniform", "temperature", "concat", "RoundRobin"):
        args = SimpleNamespace(sampling_method=method, sampling_temperature=5)
        weigh = sampling_method.SamplingMethod.build_sampler(args, None).sampling_method_selector()
        chosen[method] = weigh and weigh(sizes)
    assert chosen["uniform"] == [1.0, 1.0, 1.0]
    assert chosen["temperature"] == pytest.approx([0.63095734, 0.72477966, 0.93114992])
    assert chosen["concat"] is None
    assert chosen["RoundRobin"] is None


def test_language_tokens_are_spelled_and_added_by_style():
    assert multilingual_utils.get_lang_tok("de", "multilingual") == "__de__"
    assert multilingual_utils.get_lang_tok("de_DE", "mbart", "mono_dae") == "[de_DE_dae]"
    assert multilingual_utils.get_lang_tok("de", "mbart", "mined") == "[de_mined]"
    words = Dictionary()
    multilingual_utils.augment_dictionary(words, ["de", "en_XX"], "mbart", ("main", "mono_dae"))
    assert words.symbols[4:] == ["[de]", "[en_XX]", "[de_dae]", "[en_XX_dae]", "<mask>"]
    plain = Dictionary()
    multilingual_utils.augment_dictionary(plain, ["de"], "multilingual")
    assert plain.symbols[4:] == ["__de__"]
