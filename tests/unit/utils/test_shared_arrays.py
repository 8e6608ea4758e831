import os
import pickle

import numpy as np
import pytest

from fairseq.data import ListDataset, TokenBlockDataset, plasma_utils
from fairseq.utils.shared_arrays import ArrayFolder


def test_views_of_equal_arrays_are_one_file(tmp_path):
    folder = tmp_path / "shared"
    first = plasma_utils.PlasmaView(np.arange(5), "data/train", ("sizes", 1), str(folder))
    second = plasma_utils.PlasmaView(np.arange(5), "data/train", ("sizes", 1), str(folder))
    other = plasma_utils.PlasmaView(np.arange(5) + 1, "data/train", ("sizes", 1), str(folder))
    assert first.object_id == second.object_id != other.object_id
    assert len(os.listdir(folder)) == 2
    assert isinstance(second.array, np.memmap)
    assert second.array.tolist() == [0, 1, 2, 3, 4]
    assert len(pickle.loads(pickle.dumps(first))) == 5
    assert len(pickle.dumps(first)) < 500


def test_a_store_removes_its_folder_when_it_goes(tmp_path):
    store = plasma_utils.PlasmaStore(str(tmp_path / "shared"))
    assert store.server.pid == os.getpid()
    view = plasma_utils.PlasmaView(np.arange(3), "train", 1, str(tmp_path / "shared"))
    mapped = view.array
    del store
    assert not (tmp_path / "shared").exists()
    assert mapped.tolist() == [0, 1, 2]


def test_an_array_is_sent_as_a_file_if_it_is_big(monkeypatch):
    small = plasma_utils.PlasmaArray(np.arange(4))
    assert pickle.loads(pickle.dumps(small)).array.tolist() == [0, 1, 2, 3]
    monkeypatch.setattr(plasma_utils, "SMALLEST_SHARED_BYTES", 1000)
    big = plasma_utils.PlasmaArray(np.arange(1000))
    sent = pickle.dumps(big)
    assert len(sent) < 500
    received = pickle.loads(sent)
    assert isinstance(received.array, np.memmap)
    assert received.array.tolist() == list(range(1000))
    folder = big.path
    del big
    assert not os.path.exists(folder)


def test_a_folder_keeps_to_its_limit_and_to_its_user(tmp_path):
    folder = ArrayFolder(tmp_path / "a", max_bytes=1000)
    with pytest.raises(MemoryError, match="the limit is 1,000"):
        folder.put("0", np.zeros(2000, dtype=np.uint8))
    assert os.listdir(tmp_path / "a") == []
    with pytest.raises(ValueError, match="hexadecimal"):
        folder.put("../0", np.zeros(1))
    (tmp_path / "b").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(NotADirectoryError, match="--plasma-path"):
        ArrayFolder(tmp_path / "link").put("0", np.zeros(1))


def test_token_blocks_can_keep_their_indices_in_a_view(tmp_path):
    import torch

    sentences = [torch.arange(4, 4 + n) for n in (3, 5, 2, 7)]
    data = ListDataset(sentences, np.array([3, 5, 2, 7]))
    plain = TokenBlockDataset(data, data.sizes, 4, pad=1, eos=2, break_mode="none")
    viewed = TokenBlockDataset(
        data, data.sizes, 4, pad=1, eos=2, break_mode="none", use_plasma_view=True, split_path="x", plasma_path=tmp_path
    )
    assert len(os.listdir(tmp_path)) == 3
    for dataset in (viewed, pickle.loads(pickle.dumps(viewed))):
        assert isinstance(dataset.slice_indices, np.memmap)
        assert [item.tolist() for item in dataset] == [item.tolist() for item in plain]
