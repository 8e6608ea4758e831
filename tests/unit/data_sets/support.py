"""Small data for these tests."""

import numpy as np
import torch

from fairseq.data import Dictionary, ListDataset


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
