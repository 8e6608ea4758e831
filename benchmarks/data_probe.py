"""One question about the data layer, answered with whatever fairseq is imported: prints JSON with CPU seconds.

Run by ``data.py`` in this fairseq and in the one it is compared with, so it uses only names that both have.
"""

import json
import os
import resource
import sys
import time

import numpy as np
import torch

SENTENCES = 1_000_000


def peak_megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024e-6


class Lengths(torch.utils.data.Dataset):
    """Random sentences."""

    def __init__(self, number):
        self.number = number

    def __len__(self):
        return self.number


def sizes_of_pairs(number):
    random = np.random.RandomState(1)
    source, target = np.empty(number, dtype=np.int32), np.empty(number, dtype=np.int32)
    step = 1 << 22
    for begin in range(0, number, step):
        part = slice(begin, min(number, begin + step))
        count = part.stop - begin
        source[part] = random.randint(1, 150, count)
        target[part] = np.clip(source[part] + random.randint(-10, 10, count), 1, 200)
    return source, target


def batches(number):
    from fairseq.data import data_utils

    sizes = np.sort(sizes_of_pairs(number)[0]).astype(np.int64)
    indices = np.arange(number, dtype=np.int64)
    begin = time.process_time()
    data_utils.batch_by_size(
        indices, None, num_tokens_vec=sizes, max_tokens=4096, max_sentences=None, required_batch_size_multiple=8
    )
    return {"cpu": time.process_time() - begin}


def blocks(mode):
    from fairseq.data.token_block_utils_fast import _get_block_to_dataset_index_fast, _get_slice_indices_fast

    sizes = sizes_of_pairs(SENTENCES)[0].astype(np.int64)
    begin = time.process_time()
    slices = _get_slice_indices_fast(sizes, mode, 512, 1)
    _get_block_to_dataset_index_fast(sizes, slices)
    return {"cpu": time.process_time() - begin}


def collate(sentences):
    from fairseq.data import Dictionary, LanguagePairDataset

    words = Dictionary()
    for i in range(8000):
        words.add_symbol(str(i))
    random = np.random.RandomState(1)
    rows = [torch.from_numpy(random.randint(4, 8000, n)) for n in random.randint(10, 60, 2 * sentences)]
    for row in rows:
        row[-1] = words.eos()
    source, target = rows[:sentences], rows[sentences:]
    pairs = LanguagePairDataset(
        source, np.array([len(r) for r in source]), words, target, np.array([len(r) for r in target]), words
    )
    samples = [pairs[i] for i in range(sentences)]
    pairs.collater(samples)
    begin = time.process_time()
    for _ in range(20):
        pairs.collater(samples)
    return {"cpu": (time.process_time() - begin) / 20}


def write(prefix, sentences):
    """A data set for ``open_data``: sentences of 5 tokens."""
    from fairseq.data.indexed_dataset import MMapIndexedDatasetBuilder

    builder = MMapIndexedDatasetBuilder(prefix + ".bin", dtype=np.uint16)
    row = torch.arange(4, 9)
    for _ in range(sentences):
        builder.add_item(row)
    builder.finalize(prefix + ".idx")
    return {"cpu": 0.0}


def open_data(prefix):
    from fairseq.data.indexed_dataset import MMapIndexedDataset

    data = MMapIndexedDataset(prefix)
    del data
    begin = time.process_time()
    for _ in range(10):
        data = MMapIndexedDataset(prefix)
        data[len(data) // 2]
    return {"cpu": (time.process_time() - begin) / 10}


def epoch(number):
    from types import SimpleNamespace

    from fairseq.data import Dictionary, LanguagePairDataset
    from fairseq.tasks.fairseq_task import FairseqTask

    words = Dictionary()
    source, target = sizes_of_pairs(number)
    pairs = LanguagePairDataset(Lengths(number), source, words, Lengths(number), target, words)
    begin = time.process_time()
    iterator = FairseqTask(SimpleNamespace()).get_batch_iterator(
        pairs, max_tokens=4000, max_positions=(1024, 1024), required_batch_size_multiple=8, seed=1
    )
    len(iterator.next_epoch_itr(shuffle=True))
    return {"cpu": time.process_time() - begin, "memory": peak_megabytes()}


def main():
    question, argument = sys.argv[1], sys.argv[2:]
    values = [int(word) if word.isdigit() else word for word in argument]
    answer = globals()[question](*values)
    # Some packages print while they are imported; the answer is the last line.
    sys.stdout.write("\n" + json.dumps(answer) + "\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
