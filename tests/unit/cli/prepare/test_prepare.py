"""Preparing data: the made-up corpus, cleaning, the talks' archive, continuing after an interruption."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from fairseq_cli.prepare import iwslt14, numbers_corpus
from fairseq_cli.prepare.numbers_corpus import make_corpus
from fairseq_cli.prepare.text_pipeline import Cleaning, Stages, clean_pairs, open_text

pytest.importorskip("num2words")


def test_the_corpus_is_seeded_and_its_parts_are_disjoint() -> None:
    corpus = make_corpus(300, 40, 50, seed=3)
    assert [len(corpus[part]) for part in ("train", "valid", "test")] == [300, 40, 50]
    german = [pair.german for pairs in corpus.values() for pair in pairs]
    assert len(set(german)) == 390
    assert corpus == make_corpus(300, 40, 50, seed=3) != make_corpus(300, 40, 50, seed=4)


def test_asking_for_more_sentences_than_there_are_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbers_corpus, "KINDS", [(1.0, lambda rng: numbers_corpus.Pair("ein", "one"))])
    with pytest.raises(ValueError, match="only 1 different sentences found, 2 asked for"):
        make_corpus(2, 0, 0)


@pytest.mark.parametrize(
    ("source", "target", "kept"),
    [("a b", "a b c", True), ("a", "a b", False), ("", "a", False), ("a " * 176, "a " * 176, False)],
)
def test_pairs_of_unlikely_lengths_are_dropped(source: str, target: str, kept: bool) -> None:
    assert Cleaning().keeps(source, target) is kept


def test_unequal_files_are_reported_with_the_line(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x\ny\n")
    (tmp_path / "b").write_text("x\n")
    with pytest.raises(ValueError, match="one ends before line 2"):
        clean_pairs(Stages(tmp_path / "work"), [tmp_path / "a", tmp_path / "b"], ["c", "d"], Cleaning())
    assert not (tmp_path / "work" / "c").exists()


def test_a_finished_stage_is_not_run_again_until_its_input_changes(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.write_text("one")
    runs = []

    def work(sources: list[Path], targets: list[Path]) -> None:
        runs.append(1)
        targets[0].write_text(sources[0].read_text().upper())

    for _ in range(2):
        made = Stages(tmp_path / "work").run("shout", [source], ["out"], None, work)
    assert len(runs) == 1 and made[0].read_text() == "ONE"
    source.write_text("three")
    Stages(tmp_path / "work").run("shout", [source], ["out"], None, work)
    assert len(runs) == 2 and made[0].read_text() == "THREE"
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Stages(tmp_path / "work").run("shout", [tmp_path / "nowhere"], ["out"], None, work)


def test_gzipped_text_is_read_line_feeds_only(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.gz", "wt", encoding="utf-8", newline="") as file:
        file.write("ä\u2028b\nc\n")
    with open_text(tmp_path / "a.gz") as file:
        assert list(file) == ["ä\u2028b\n", "c\n"]


def archive(path: Path, without: str = "") -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for language in ("de", "en"):
            files = {f"train.tags.de-en.{language}": f"<url>x</url>\n<title>A {language}</title>\nHello {language} .\n"}
            for name in iwslt14.TEST_SETS:
                files[f"{name}.de-en.{language}.xml"] = f'<doc><seg id="1"> It\u2019s {name} &amp; </seg></doc>'
            for name, text in files.items():
                if name != without:
                    member = tarfile.TarInfo("../../outside/" + name)
                    member.size = len(text.encode())
                    tar.addfile(member, io.BytesIO(text.encode()))
    return path


def test_the_talks_are_taken_out_of_their_archive_whatever_its_members_are_called(tmp_path: Path) -> None:
    made = iwslt14.extract(archive(tmp_path / "de-en.tgz"), tmp_path / "raw")
    assert made["train.de"].read_text() == "A de\nHello de .\n"
    assert made["test.en"].read_text().splitlines()[0] == "It's IWSLT14.TED.dev2010 &"
    assert len(made["test.de"].read_text().splitlines()) == 5
    assert not (tmp_path.parent / "outside").exists()


def test_a_wrong_archive_is_explained(tmp_path: Path) -> None:
    missing = "IWSLT14.TED.tst2011.de-en.en.xml"
    with pytest.raises(ValueError, match="tst2011.*missing in the archive"):
        iwslt14.extract(archive(tmp_path / "a.tgz", without=missing), tmp_path / "raw")
    (tmp_path / "b.tgz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="no readable tar archive"):
        iwslt14.extract(tmp_path / "b.tgz", tmp_path / "raw")


def test_a_failed_download_says_which_file_to_put_where(tmp_path: Path) -> None:
    target = tmp_path / "work" / "de-en.tgz"
    with pytest.raises(OSError, match=r"de-en\.tgz by other means and put it at .*work/de-en\.tgz"):
        iwslt14.fetch(target, "file:///nowhere/de-en.tgz")
    assert not list(target.parent.iterdir())
