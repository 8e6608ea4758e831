"""Archives of models that want to write elsewhere, or fill the disk: one clear error each, and nothing is left."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from fairseq import file_utils
from fairseq.models.transformer import TransformerModel


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(file_utils, "PYTORCH_FAIRSEQ_CACHE", tmp_path / "cache")


def member(name, kind=tarfile.REGTYPE, link="", size=0):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


def pack(path, *members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for info in members:
            archive.addfile(info, io.BytesIO(b"x" * info.size) if info.isreg() else None)


ATTACKS = {
    "parent": [member("../../escaped", size=3)],
    "deep parent": [member("a/../../../escaped", size=3)],
    "link out": [member("link", tarfile.SYMTYPE, "../.."), member("link/escaped", size=3)],
    "absolute link": [member("link", tarfile.SYMTYPE, "/tmp"), member("link/escaped", size=3)],
    "hard link out": [member("link", tarfile.LNKTYPE, "../../victim"), member("link", size=3)],
    "device": [member("disk", tarfile.BLKTYPE)],
    "character device": [member("null", tarfile.CHRTYPE)],
    "pipe": [member("pipe", tarfile.FIFOTYPE)],
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_members_that_are_no_plain_files_below_the_folder(attack, tmp_path):
    (tmp_path / "victim").write_text("unchanged")
    pack(tmp_path / "model.tar", *ATTACKS[attack])
    with pytest.raises(ValueError, match=r"model\.tar is refused"):
        TransformerModel.from_pretrained(str(tmp_path / "model.tar"))
    assert (tmp_path / "victim").read_text() == "unchanged"
    assert not list(tmp_path.glob("**/escaped")) and not Path("/tmp/escaped").exists()
    assert os.listdir(tmp_path / "cache") == []


def test_an_absolute_name_lands_below_the_folder(tmp_path):
    pack(tmp_path / "model.tar", member(f"{tmp_path}/escaped", size=3))
    folder = file_utils.load_archive_file(str(tmp_path / "model.tar"))
    assert not (tmp_path / "escaped").exists()
    assert list(Path(folder).glob("**/escaped"))


def test_an_archive_that_would_fill_the_disk(tmp_path):
    pack(tmp_path / "model.tar.gz", member("zeros", size=100 << 20), mode="w:gz")
    with pytest.raises(ValueError, match="100 times its own size"):
        file_utils.load_archive_file(str(tmp_path / "model.tar.gz"))
    assert os.listdir(tmp_path / "cache") == []


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_a_truncated_archive(mode, tmp_path):
    path = tmp_path / "model.tar"
    with tarfile.open(path, mode) as archive:
        info = member("model.pt", size=50_000)
        archive.addfile(info, io.BytesIO(os.urandom(50_000)))
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(ValueError, match="damaged"):
        file_utils.load_archive_file(str(path))
    assert os.listdir(tmp_path / "cache") == []


def test_an_archive_within_an_archive_is_not_looked_into(tmp_path):
    pack(tmp_path / "inner.tar", member("../../escaped", size=3))
    with tarfile.open(tmp_path / "model.tar", "w") as archive:
        archive.add(tmp_path / "inner.tar", "m/model.pt")
    with pytest.raises(RuntimeError, match="tar archive"):
        TransformerModel.from_pretrained(str(tmp_path / "model.tar"))
    assert not list(tmp_path.glob("**/escaped"))
