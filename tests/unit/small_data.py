"""Small data for these tests."""

import numpy as np
import torch

from fairseq.data import Dictionary, ListDataset
from fairseq.data.indexed_dataset import make_builder


def dictionary(words=20):
    result = Dictionary()
    for number in range(words):
        result.add_symbol(f"w{number}")
    return result


def listed(*items):
    tensors = [torch.LongTensor(item) for item in items]
    return ListDataset(tensors, np.array([len(item) for item in items]))


def ids(batches):
    return [[int(index) for index in batch] for batch in batches]


def write_split(prefix, dictionary, lines):
    prefix.parent.mkdir(parents=True, exist_ok=True)
    builder = make_builder(f"{prefix}.bin", "mmap", vocab_size=len(dictionary))
    for line in lines:
        builder.add_item(dictionary.encode_line(line, add_if_not_exist=False))
    builder.finalize(f"{prefix}.idx")
