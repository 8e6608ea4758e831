import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fairseq.data import data_utils, iterators
from fairseq.data.batching.batches import Batches


class Numbers(torch.utils.data.Dataset):
    """Gives (index, epoch that it was told), so that tests see what workers know."""

    def __init__(self, length):
        self.length = length
        self.epoch = 0

    def __getitem__(self, index):
        return int(index), self.epoch

    def __len__(self):
        return self.length

    def set_epoch(self, epoch):
        self.epoch = epoch


class Stream(torch.utils.data.IterableDataset):
    def __init__(self, length):
        self.length = length

    def __iter__(self):
        return iter(range(self.length))

    def set_epoch(self, epoch):
        self.epoch = epoch


def first_of(samples):
    return [sample[0] for sample in samples]


class Fetched(Numbers):
    """Holds only what was prefetched, as ``--dataset-impl cached`` does."""

    supports_prefetch = True

    def __init__(self, length):
        super().__init__(length)
        self.held = set()

    def prefetch(self, indices):
        self.held = set(indices)

    def __getitem__(self, index):
        assert index in self.held
        return super().__getitem__(index)


def test_the_first_batch_is_prefetched():
    iterator = iterators.EpochBatchIterator(Fetched(4), first_of, [[2, 0], [1, 3]])
    assert iterator.first_batch == [2, 0]
    assert list(iterator.next_epoch_itr(shuffle=False)) == [[2, 0], [1, 3]]


def make(batches, **kwargs):
    total = sum(len(batch) for batch in batches)
    return iterators.EpochBatchIterator(Numbers(total), first_of, batches, **kwargs)


def consecutive(sizes):
    ends = np.cumsum(sizes)
    return Batches(np.arange(ends[-1]), ends)


SIZES = st.lists(st.integers(1, 4), min_size=1, max_size=20)


@given(
    sizes=SIZES,
    seed=st.integers(0, 9),
    shards=st.integers(1, 3),
    epoch=st.integers(1, 3),
    stop=st.integers(0, 25),
    buffer_size=st.sampled_from([0, 2]),
)
@settings(max_examples=40, deadline=None)
def test_resuming_anywhere_gives_the_batches_that_were_left(sizes, seed, shards, epoch, stop, buffer_size):
    for shard in range(shards):
        options = {"seed": seed, "num_shards": shards, "shard_id": shard, "epoch": epoch, "buffer_size": buffer_size}
        whole = list(make(consecutive(sizes), **options).next_epoch_itr())
        stopped = make(consecutive(sizes), **options)
        running = stopped.next_epoch_itr()
        taken = [next(running) for _ in range(min(stop, len(whole)))]
        resumed = make(consecutive(sizes), **options)
        resumed.load_state_dict(stopped.state_dict())
        rest = resumed.next_epoch_itr()
        if len(taken) == len(whole):
            assert resumed.epoch == epoch + 1
        else:
            assert rest.n == len(taken) and taken + list(rest) == whole


@given(
    sizes=st.lists(SIZES, min_size=1, max_size=3),
    seed=st.integers(0, 9),
    shards=st.integers(1, 3),
    mult_rate=st.integers(1, 2),
    stop=st.integers(0, 25),
)
@settings(max_examples=40, deadline=None)
def test_resuming_anywhere_in_grouped_batches_gives_those_that_were_left(sizes, seed, shards, mult_rate, stop):
    total = sum(sum(part) for part in sizes)

    def make_grouped(shard):
        return iterators.GroupedEpochBatchIterator(
            Numbers(total), first_of, [consecutive(part) for part in sizes], seed=seed, num_shards=shards,
            shard_id=shard, mult_rate=mult_rate, epoch=1,
        )  # fmt: skip

    for shard in range(shards):
        whole = list(make_grouped(shard).next_epoch_itr())
        stopped = make_grouped(shard)
        running = stopped.next_epoch_itr()
        taken = [next(running) for _ in range(min(stop, len(whole)))]
        resumed = make_grouped(shard)
        resumed.load_state_dict(stopped.state_dict())
        if len(taken) < len(whole):
            assert taken + list(resumed.next_epoch_itr()) == whole


@given(sizes=SIZES, seed=st.integers(0, 9), shards=st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_shards_share_out_every_batch_in_the_order_of_a_shuffled_list(sizes, seed, shards):
    plain = [list(map(int, batch)) for batch in consecutive(sizes)]
    with data_utils.numpy_seed(seed + 1):
        np.random.shuffle(plain)
    found = [
        list(make(consecutive(sizes), seed=seed, num_shards=shards, shard_id=s).next_epoch_itr()) for s in range(shards)
    ]
    assert len({len(batches) for batches in found}) == 1
    mixed = [batch for step in zip(*found) for batch in step]
    assert mixed[: len(plain)] == plain and all(batch == [] for batch in mixed[len(plain) :])


def test_a_list_of_lists_is_as_good_as_batches():
    plain = [[0, 1], [2], [3, 4, 5]]
    assert list(make(plain, seed=3).next_epoch_itr()) == list(make(consecutive([2, 1, 3]), seed=3).next_epoch_itr())


def test_batches_may_be_made_anew_for_every_epoch():
    iterator = iterators.EpochBatchIterator(Numbers(6), first_of, lambda dataset, epoch: [[epoch], [0]])
    epochs = [list(iterator.next_epoch_itr(shuffle=False)) for _ in range(3)]
    assert epochs == [[[1], [0]], [[2], [0]], [[3], [0]]]


def test_an_empty_data_set_is_explained():
    with pytest.raises(Exception, match="The dataset is empty"):
        make([]).first_batch  # noqa: B018


def test_a_position_behind_the_end_is_refused():
    iterator = make(consecutive([1, 1]))
    with pytest.raises(RuntimeError, match="Cannot resume training due to dataloader mismatch"):
        iterator.load_state_dict({"version": 2, "epoch": 1, "iterations_in_epoch": 2})


def epochs_seen(samples):
    return sorted({epoch for _, epoch in samples})


@pytest.mark.parametrize("reuse", [False, True])
def test_workers_know_the_epoch_also_when_they_live_on(reuse):
    iterator = iterators.EpochBatchIterator(
        Numbers(6), epochs_seen, consecutive([2, 2, 2]), num_workers=1, reuse_dataloader=reuse
    )
    found = [list(iterator.next_epoch_itr()) for _ in range(3)]
    assert found == [[[epoch]] * 3 for epoch in (1, 2, 3)]
    if reuse:
        assert iterator.dataloader._iterator is not None
    del iterator
    for _ in range(40):
        if not multiprocessing.active_children():
            break
        time.sleep(0.1)
    assert not multiprocessing.active_children()


def test_reading_ahead_gives_the_same_items_and_ends_its_thread():
    before = threading.active_count()
    iterator = iterators.BufferedIterator(2, list(range(10)))
    assert list(iterator) == list(range(10))
    abandoned = iterators.BufferedIterator(2, list(range(100)))
    assert next(abandoned) == 0
    del abandoned
    for _ in range(40):
        if threading.active_count() == before:
            break
        time.sleep(0.05)
    assert threading.active_count() == before


def test_an_error_while_reading_ahead_reaches_the_caller():
    def failing():
        yield 1
        raise OSError("disk gone")

    iterator = iterators.BufferedIterator(2, failing())
    assert next(iterator) == 1
    with pytest.raises(OSError, match="disk gone"):
        next(iterator)


def test_an_iterator_that_ends_early_says_where():
    counting = iterators.CountingIterator([1, 2], total=3)
    with pytest.raises(IndexError, match="expected to have length 3, but exhausted at position 2"):
        list(counting)


@pytest.mark.parametrize("buffer_size", [0, 3])
def test_a_stream_is_resumed_where_it_stopped(buffer_size):
    def fresh():
        return iterators.StreamingEpochBatchIterator(
            Stream(10), max_sentences=3, collate_fn=list, buffer_size=buffer_size
        )

    stopped = fresh()
    running = stopped.next_epoch_itr()
    assert [next(running), next(running)] == [[0, 1, 2], [3, 4, 5]]
    resumed = fresh()
    resumed.load_state_dict(stopped.state_dict())
    assert list(resumed.next_epoch_itr()) == [[6, 7, 8], [9]]
    assert resumed.next_epoch_idx == 2


def test_grouped_lists_of_batches_are_not_mixed_within_a_step():
    lists = [[[0], [1], [2], [3], [4]], [[10], [11], [12]]]
    found = []
    for shard in range(2):
        iterator = iterators.GroupedEpochBatchIterator(
            Numbers(20), first_of, lists, num_shards=2, shard_id=shard, epoch=1, mult_rate=1
        )
        found.append([batch[0] for batch in iterator.next_epoch_itr()])
    assert len(found[0]) == len(found[1]) == 3
    assert all((a < 10) == (b < 10) for a, b in zip(*found))


def test_a_program_may_end_while_a_thread_reads_ahead() -> None:
    program = """
import torch
from fairseq.data.iterators import BufferedIterator

class Slow:
    def __len__(self):
        return 1000
    def __iter__(self):
        while True:
            x = torch.randn(700, 700)
            yield x @ x @ x

next(BufferedIterator(2, Slow()))
kept = BufferedIterator(2, Slow())
next(kept)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")


def test_loader_workers_leave_nothing_in_the_temporary_folder(tmp_path: Path) -> None:
    program = """
import torch
from fairseq.data.iterators import EpochBatchIterator

class Numbers(torch.utils.data.Dataset):
    def __len__(self):
        return 100
    def __getitem__(self, index):
        return torch.ones(1000)

batches = [[i, i + 1] for i in range(0, 100, 2)]
kept = [
    EpochBatchIterator(Numbers(), torch.stack, batches, num_workers=2, buffer_size=size, reuse_dataloader=True)
    for size in (0, 2)
]
print(sum(len(next(iterator.next_epoch_itr())) for iterator in kept))
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=100, env=environment, check=True
    )
    assert (done.stdout, done.stderr, list(tmp_path.iterdir())) == ("4\n", "", [])
