"""Notes beside the pickle: there for us, invisible for torch.load, harmless when damaged."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch

from fairseq.checkpoint_utils import load_checkpoint_to_cpu
from fairseq.serialization.notes import NOTES, read_notes
from fairseq.serialization.write import write_checkpoint


def save(path: Path, **more: object) -> Path:
    state = {"args": None, "cfg": None, "model": {"w": torch.arange(3.0)}, "extra_state": {}, **more}
    write_checkpoint(state, path)
    return path


def test_notes_come_back_and_are_not_in_the_pickle(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pt", **{NOTES: {"batches_made_in_epoch": 2}})
    assert NOTES not in torch.load(path, weights_only=True)
    assert torch.equal(torch.load(path, mmap=True, weights_only=True)["model"]["w"], torch.arange(3.0))
    assert read_notes(path) == {"batches_made_in_epoch": 2} == load_checkpoint_to_cpu(str(path))[NOTES]


def test_equal_states_make_equal_files(tmp_path: Path) -> None:
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
    one, two = (save(tmp_path / name / "a.pt", **{NOTES: {"x": 1}}) for name in ("1", "2"))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("text", [b"{", b"[1]", b"\xff", b"[" * 70000])
def test_notes_that_cannot_be_read_are_none(tmp_path: Path, text: bytes) -> None:
    path = save(tmp_path / "a.pt")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(archive.namelist()[0].partition("/")[0] + "/fairseq.json", text)
    assert read_notes(path) == {} and NOTES not in load_checkpoint_to_cpu(str(path))


def test_a_file_without_notes_and_one_that_is_no_zip_have_none(tmp_path: Path) -> None:
    assert read_notes(save(tmp_path / "a.pt")) == {}
    (tmp_path / "b.pt").write_bytes(b"no zip")
    assert read_notes(tmp_path / "b.pt") == {} == read_notes(tmp_path / "missing.pt")
