"""Batches, iterators, data sets and noise against recorded results (``golden/data_sets.json``)."""

import importlib
import json
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

import fairseq.data as data
from fairseq.data import data_utils, iterators, noising
from fairseq.data.multi_corpus_dataset import MultiCorpusDataset

CASES = json.loads((Path(__file__).parent / "golden" / "data_sets.json").read_text(encoding="utf-8"))["cases"]


def of_kind(kind):
    cases = [case for case in CASES if case["kind"] == kind]
    assert cases
    return pytest.mark.parametrize("case", cases, ids=[case["id"] for case in cases])


def plain(value):
    if torch.is_tensor(value) or isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (tuple, list)):
        return [plain(part) for part in value]
    return value.item() if isinstance(value, np.generic) else value


def listed(items):
    tensors = [torch.LongTensor(item) for item in items]
    return data.ListDataset(tensors, np.array([len(item) for item in items]))


def dictionary(words):
    result = data.Dictionary()
    for word in words:
        result.add_symbol(word)
    return result


def raises(case):
    names = {"AssertionError": AssertionError, "RuntimeError": RuntimeError, "ValueError": ValueError}
    return pytest.raises(names[case["expect"]["raises"]])


@of_kind("batch_by_size")
def test_batches_are_the_recorded_ones(case):
    given = case["given"]
    sizes = np.array(given["sizes"])
    indices = np.array(given.get("indices", range(len(sizes))))
    vector = sizes[indices] if given.get("vec") else None

    def batches():
        found = data_utils.batch_by_size(indices, lambda i: sizes[i], num_tokens_vec=vector, **given["args"])
        return [list(map(int, batch)) for batch in found]

    if "raises" in case["expect"]:
        with raises(case):
            batches()
    else:
        assert batches() == case["expect"]


@of_kind("collate_tokens")
def test_padding_is_the_recorded_one(case):
    values = [torch.LongTensor(value) for value in case["given"]["values"]]
    assert data_utils.collate_tokens(values, **case["given"]["args"]).tolist() == case["expect"]


@of_kind("numpy_seed")
def test_seeds_are_mixed_as_recorded(case):
    given = case["given"]
    np.random.seed(5)
    for seeds, expected in zip(given["seeds"], case["expect"]):
        with data_utils.numpy_seed(*seeds):
            assert [np.random.permutation(given["n"]).tolist(), pytest.approx(np.random.rand())] == expected
    assert np.random.rand() == pytest.approx(case["expect"][-1])


@of_kind("buckets")
def test_length_buckets_are_the_recorded_ones(case):
    sizes = np.array(case["given"]["sizes"])
    buckets = data_utils.get_buckets(sizes, case["given"]["num"])
    assert {"buckets": plain(buckets), "sizes": plain(data_utils.get_bucketed_sizes(sizes, buckets))} == case["expect"]


class Numbers(torch.utils.data.Dataset):
    def __getitem__(self, index):
        return int(index)

    def __len__(self):
        return 100


def run_script(given):
    def fresh():
        batches = [list(batch) for batch in given["batches"]]
        return iterators.EpochBatchIterator(Numbers(), collate_fn=list, batch_sampler=batches, **given["args"])

    it = fresh()
    for what, *args in given["script"]:
        if what == "epoch":
            options = dict(args[1]) if len(args) > 1 else {}
            group, skip = options.pop("group", None), options.pop("skip_remainder", False)
            itr = it.next_epoch_itr(**options)
            if group:
                itr = iterators.GroupedIterator(itr, group, skip_remainder_batch=skip)
            taken = []
            while itr.has_next() and (args[0] is None or len(taken) < args[0]):
                taken.append(next(itr))
            yield {
                "epoch": it.epoch,
                "batches": taken,
                "n": itr.n,
                "end": it.end_of_epoch(),
                "in_epoch": it.iterations_in_epoch,
                "next": it.next_epoch_idx,
                "len": len(it),
                "left": itr.has_next(),
            }
        elif what == "state":
            yield {"state": it.state_dict()}
        else:
            state = it.state_dict() if what == "reload" else dict(args[0])
            it = fresh()
            it.load_state_dict(state)
            yield {"reloaded": it.epoch, "in_epoch": it.iterations_in_epoch, "next": it.next_epoch_idx}


@of_kind("epoch_iterator")
def test_epochs_stops_and_resumptions_go_as_recorded(case):
    if "raises" in case["expect"]:
        with raises(case):
            list(run_script(case["given"]))
    else:
        assert list(run_script(case["given"])) == case["expect"]


@of_kind("token_block")
def test_blocks_are_the_recorded_ones(case):
    given, expect = case["given"], case["expect"]
    base = listed(given["tokens"])
    if "raises" in expect:
        with raises(case):
            data.TokenBlockDataset(base, base.sizes, pad=1, eos=2, **given["args"])
        return
    blocks = data.TokenBlockDataset(base, base.sizes, pad=1, eos=2, **given["args"])
    items = [plain(blocks[i]) for i in range(len(blocks))]
    assert {"length": len(blocks), "sizes": plain(blocks.sizes), "items": items} == expect


@of_kind("wrapper")
def test_wrappers_give_the_recorded_items(case):
    given, expect = case["given"], case["expect"]
    wrapped = listed(given["tokens"])
    for name, options in given["chain"]:
        options = dict(options)
        if options.pop("_sizes", None):
            options["sizes"] = np.array([len(tokens) for tokens in given["tokens"]])
        module = data if hasattr(data, name) else importlib.import_module(given["module"])
        wrapped = getattr(module, name)(wrapped, **options)
    if "epoch" in given:
        wrapped.set_epoch(given["epoch"])
    assert len(wrapped) == expect["length"]
    assert [plain(wrapped[i]) for i in range(len(wrapped))] == expect["items"]
    if "sizes" in expect:
        assert plain(wrapped.sizes) == expect["sizes"]
    if "order" in expect:
        np.random.seed(given.get("np_seed", 0))
        assert plain(wrapped.ordered_indices()) == expect["order"]
    if "collate" in expect:
        assert plain(wrapped.collater([wrapped[i] for i in range(3)])) == expect["collate"]
    for method in ("num_tokens", "size"):
        if method in expect:
            assert [int(getattr(wrapped, method)(i)) for i in range(len(wrapped))] == expect[method]


@of_kind("multi_corpus")
def test_mixtures_are_sampled_as_recorded(case):
    given = case["given"]
    words = dictionary(given["words"])
    sets = OrderedDict()
    for name, tokens in given["sets"]:
        base = listed(tokens)
        sets[name] = data.LanguagePairDataset(base, base.sizes, words)
    mixture = MultiCorpusDataset(sets, **given["args"])
    for epoch, expected in zip(given["epochs"], case["expect"]["epochs"]):
        mixture.set_epoch(epoch)
        order = mixture.ordered_indices()
        assert order.tolist() == expected["order"]
        assert [list(map(int, b)) for b in mixture.batch_by_size(order, max_sentences=3)] == expected["batches"]


@of_kind("mask_indices")
def test_span_masks_are_the_recorded_ones(case):
    given = case["given"]
    padding = torch.tensor(given["padding"], dtype=torch.bool) if given.get("padding") else None
    options = dict(given["args"], indices=torch.tensor(given["args"]["indices"]))
    mask = data_utils.compute_mask_indices(tuple(given["shape"]), padding, **options)
    if options.get("num_mask_ver") != 1:
        assert mask.astype(int).tolist() == case["expect"]


@of_kind("noising")
def test_word_noise_is_the_recorded_one(case):
    given = case["given"]
    noiser = getattr(noising, given["class"])(dictionary(given["words"]), **given.get("args", {}))
    np.random.seed(given["seed"])
    tokens = torch.tensor(given["x"]).t()
    found = noiser.noising(tokens, torch.tensor(given["lengths"]), **given.get("call", {}))
    if not isinstance(found, tuple):
        found = (found, None)
    assert [found[0].t().tolist(), plain(found[1])] == case["expect"]
