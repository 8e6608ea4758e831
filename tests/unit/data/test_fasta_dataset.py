"""Sequences in FASTA files."""

import pickle

import numpy as np
import pytest

from fairseq.data.dictionary import Dictionary
from fairseq.data.fasta_dataset import EncodedFastaDataset, FastaDataset
from fairseq.data.indexed_dataset import infer_dataset_impl, make_dataset

FASTA = ">first one\nACD\nE\n\n>second\r\nKL\r\n>empty\n"


@pytest.fixture
def prefix(tmp_path):
    (tmp_path / "p.fasta").write_bytes(FASTA.encode())
    return str(tmp_path / "p")


@pytest.mark.parametrize("cache_indices", [False, True, True])
def test_sequences_are_read_with_their_descriptions(cache_indices, prefix, tmp_path):
    for _ in range(2):  # the second time from the kept index, if there is one
        data = FastaDataset(prefix, cache_indices=cache_indices)
        assert [data[i] for i in range(len(data))] == [("first one", "ACDE"), ("second", "KL"), ("empty", "")]
        assert data.sizes.tolist() == [4, 2, 0]
    assert (tmp_path / "p.fasta.idx.npy").exists() == cache_indices
    assert pickle.loads(pickle.dumps(data))[1] == ("second", "KL")


def test_letters_are_encoded_one_by_one(prefix):
    dictionary = Dictionary()
    for letter in "ACDEK":
        dictionary.add_symbol(letter)
    data = make_dataset(prefix, infer_dataset_impl(prefix), dictionary=dictionary)
    assert isinstance(data, EncodedFastaDataset)
    assert [data[i].tolist() for i in range(3)] == [[4, 5, 6, 7, 2], [8, 3, 2], [2]]
    assert data.sizes.tolist() == [5, 3, 1]


def test_a_file_that_is_no_fasta_is_refused(tmp_path):
    (tmp_path / "p.fasta").write_text("ACDE\n")
    with pytest.raises(ValueError, match="begins with '>'"):
        FastaDataset(str(tmp_path / "p"))


def test_a_kept_index_of_another_file_is_refused(prefix, tmp_path):
    np.save(tmp_path / "p.fasta.idx.npy", np.array([[0, 5000], [4, 4]]))
    with pytest.raises(ValueError, match="remove it"):
        FastaDataset(prefix, cache_indices=True)
    (tmp_path / "p.fasta.idx.npy").write_bytes(b"")
    with pytest.raises(ValueError, match=r"idx\.npy is damaged"):
        FastaDataset(prefix, cache_indices=True)
    np.save(tmp_path / "p.fasta.idx.npy", np.array([object()]), allow_pickle=True)
    with pytest.raises(ValueError, match="pickle"):
        FastaDataset(prefix, cache_indices=True)
