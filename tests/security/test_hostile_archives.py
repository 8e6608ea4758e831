"""Archives of models that want to write elsewhere, or fill the disk: one clear error each, and nothing is left."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import tarfile
import zlib
from pathlib import Path

import pytest
import torch
import trained
from forked import forked

from fairseq import archives, file_utils
from fairseq.models.transformer import TransformerModel
from fairseq.serialization import read_checkpoint


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


def pax(size: int, kind: bytes = tarfile.XHDTYPE) -> bytes:
    """A header that belongs to the next member, of a size that tarfile reads into memory."""
    return member("header", kind, size=size).tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_a_header_that_would_fill_the_memory(kind, tmp_path):
    path = tmp_path / "model.tar.gz"
    with gzip.open(path, "wb") as out:
        out.write(member("dict.txt", size=512).tobuf() + b"x" * 512 + pax(300 << 20, kind))
        for _ in range(300):
            out.write(b"1" * (1 << 20))

    def work() -> None:
        with pytest.raises(ValueError, match=r"model\.tar\.gz is refused"):
            file_utils.load_archive_file(str(path))

    ending = forked(work, 2 << 30)
    assert ending.code == 0, ending.output
    assert ending.peak < 100 << 20
    assert os.listdir(tmp_path / "cache") == []


def test_an_xz_file_that_asks_for_much_memory(tmp_path):
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 30}]
    body = member("model.pt", size=512).tobuf() + b"x" * 512 + b"\0" * 1024
    # The head of a file that was packed with small memory, with the size of the dictionary changed to 1 GB.
    packed = bytearray(lzma.compress(body, filters=[{**filters[0], "dict_size": 1 << 16}]))
    at = packed.index(b"\x21\x01", 12) + 2
    packed[at] = 36
    packed[20:24] = zlib.crc32(packed[12:20]).to_bytes(4, "little")
    path = tmp_path / "model.tar.xz"
    path.write_bytes(packed)
    assert lzma.decompress(packed) == body
    ending = forked(lambda: print(file_utils.load_archive_file(str(path))), 500 << 20)
    assert ending.code == 0 and ending.output.strip() == str(path), ending.output  # no archive that can be read here


def test_several_streams_of_xz_after_each_other(tmp_path):
    body = member("model.pt", size=3).tobuf() + b"xyz" + b"\0" * 509 + b"\0" * 1024
    path = tmp_path / "model.tar.xz"
    path.write_bytes(lzma.compress(body[:700]) + b"\0" * 4 + lzma.compress(body[700:]))
    assert Path(file_utils.load_archive_file(str(path)), "model.pt").read_text() == "xyz"


@pytest.mark.parametrize("target", ["nowhere", "itself", "later"])
def test_a_hard_link_to_what_is_not_there(target, tmp_path):
    pack(tmp_path / "model.tar", member("itself", tarfile.LNKTYPE, target), member("later", size=3))
    with pytest.raises(ValueError, match=r"model\.tar is refused"):
        file_utils.load_archive_file(str(tmp_path / "model.tar"))
    assert os.listdir(tmp_path / "cache") == []


@pytest.mark.parametrize("other", ["archive", "pipe"])
def test_an_archive_that_is_replaced_after_the_look_at_it(other, tmp_path, monkeypatch):
    pack(tmp_path / "model.tar", member("shown", size=3))
    if other == "archive":
        pack(tmp_path / "other", member("hidden", size=3))
    else:
        os.mkfifo(tmp_path / "other")
    real = archives.ArchiveStream.is_archive

    def then_replace(self):
        found = real(self)
        os.replace(tmp_path / "other", tmp_path / "model.tar")
        return found

    monkeypatch.setattr(archives.ArchiveStream, "is_archive", then_replace)
    assert os.listdir(file_utils.load_archive_file(str(tmp_path / "model.tar"))) == ["shown"]


def test_what_is_no_file_is_no_archive(tmp_path):
    os.mkfifo(tmp_path / "pipe.tar")
    for path in (tmp_path / "pipe.tar", "/dev/zero"):
        with pytest.raises(ValueError, match="neither a folder nor a regular file"):
            file_utils.load_archive_file(str(path))


# ------------------------------------------------------------------------------------------- what a model needs to know
def test_a_model_that_names_no_languages_says_which_keywords_to_give(tmp_path):
    made = forked(lambda: trained.make(tmp_path), None)
    assert made.code == 0, made.output
    state = read_checkpoint(tmp_path / "ck" / "checkpoint_last.pt")
    state["cfg"]["task"].update(source_lang=None, target_lang=None)
    torch.save(state, tmp_path / "model.pt")
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        for path in (tmp_path / "model.pt", tmp_path / "bin" / "dict.aa.txt", tmp_path / "bin" / "dict.bb.txt"):
            archive.add(path, path.name)
    with pytest.raises(Exception, match="Could not infer language pair, please provide it explicitly") as said:
        TransformerModel.from_pretrained(str(tmp_path / "model.tar.gz"))
    for part in ("source_lang='aa'", "target_lang='bb'", "from_pretrained", "--source-lang", "dictionaries of aa, bb"):
        assert part in str(said.value)
    model = TransformerModel.from_pretrained(str(tmp_path / "model.tar.gz"), source_lang="aa", target_lang="bb")
    assert isinstance(model.translate("a b"), str)
