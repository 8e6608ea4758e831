"""``fairseq-preprocess`` from the command line: names, log lines, and what a person sees when something is wrong."""

import os
import re
import subprocess
import sys

import pytest

from fairseq import options
from fairseq.data import data_utils
from fairseq.data.dictionary import Dictionary
from fairseq.data.text_files.pair_files import load_alignments
from fairseq_cli import preprocess

GERMAN = "ein haus\nein hund und ein haus\n\nhund\n"
ENGLISH = "a house\na dog and a house\n\ndog\n"


@pytest.fixture
def corpus(tmp_path):
    for split in ("train", "valid"):
        (tmp_path / f"{split}.de").write_text(GERMAN)
        (tmp_path / f"{split}.en").write_text(ENGLISH)
    return tmp_path


def run(corpus, *argv, pair=("-s", "de", "-t", "en")):
    """Run in this process; returns the destination folder."""
    destination = corpus / "out"
    words = [*pair, "--destdir", str(destination), *(str(word) for word in argv)]
    preprocess.main(options.get_preprocessing_parser().parse_args(words))
    return destination


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def words_of(corpus, *argv):
    return ["-s", "de", "-t", "en", "--destdir", str(corpus / "out"), *map(str, argv)]


def exit_code(monkeypatch, words):
    """Run the console script in this process."""
    monkeypatch.setattr(sys, "argv", ["fairseq-preprocess", *words])
    try:
        preprocess.console_main()
    except SystemExit as done:
        return done.code
    return 0


def test_a_run_says_what_it_did_on_the_screen_and_in_its_log_file(corpus):
    words = words_of(corpus, "--trainpref", corpus / "train", "--validpref", corpus / "valid", "--thresholdsrc", "2")
    tool = [sys.executable, "-m", "fairseq_cli.preprocess", *words]
    done = subprocess.run(tool, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    log = (corpus / "out" / "preprocess.log").read_text().splitlines()
    assert log[0].startswith("Namespace(")
    assert log[1:3] == [
        "[de] Dictionary: 8 types",
        f"[de] {corpus}/train.de: 4 sents, 12 tokens, 8.33% replaced (by <unk>)",
    ]
    assert log[-1] == f"Wrote preprocessed data to {corpus}/out"
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \| INFO \| fairseq_cli.preprocess \| "
    assert [re.sub(stamp, "", line) for line in done.stdout.splitlines()] == log


@pytest.mark.parametrize(
    ("make", "argv", "error", "told"),
    [
        (lambda c: None, ["--trainpref", "{c}/none"], "FileNotFoundError", "none.de"),
        (lambda c: None, ["--trainpref", "{c}/train", "--validpref", "{c}/none"], "FileNotFoundError", "--validpref"),
        (lambda c: None, [], "AssertionError", "--trainpref must be set if --srcdict is not specified"),
        (lambda c: (c / "train.en").write_bytes(b"a\n\xff\n"), ["--trainpref", "{c}/train"], "UnicodeDecodeError", "2"),
        (lambda c: (c / "train.en").write_bytes(b""), ["--trainpref", "{c}/train"], "ValueError", "train.en is empty"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_but_the_log_stays(make, argv, error, told, corpus, monkeypatch, capsys):
    make(corpus)
    assert exit_code(monkeypatch, words_of(corpus, *(word.format(c=corpus) for word in argv))) == 1
    message = capsys.readouterr().err.splitlines()
    assert len(message) == 1
    assert message[0].startswith(error + ": ")
    assert told in message[0]
    assert names(corpus / "out") == ["preprocess.log"]


def test_a_second_run_into_the_same_folder_is_refused_and_changes_nothing(corpus):
    out = run(corpus, "--trainpref", corpus / "train")
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.suffix != ".log"}
    with pytest.raises(FileExistsError, match=r"dict.de.txt exists already.*--srcdict"):
        run(corpus, "--trainpref", corpus / "valid")
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.suffix != ".log"} == before


def test_the_dictionaries_of_a_folder_can_be_used_again_in_it(corpus):
    out = run(corpus, "--trainpref", corpus / "train")
    (corpus / "bad.de").write_bytes(b"\xff\n")
    (corpus / "bad.en").write_bytes(b"a\n")
    again = ["--srcdict", out / "dict.de.txt", "--tgtdict", out / "dict.en.txt"]
    with pytest.raises(UnicodeDecodeError):
        run(corpus, "--testpref", corpus / "bad", *again)
    run(corpus, "--testpref", corpus / "valid", *again)
    assert "test.de-en.en.idx" in names(out)
    assert Dictionary.load(str(out / "dict.de.txt")).index("ein") == 4


@pytest.mark.parametrize(
    ("argv", "error", "told"),
    [
        (["--dataset-impl", "huffman"], AssertionError, "doesn't support Huffman yet, use HuffmanCodeBuilder directly"),
        (["--dataset-impl", "fasta"], ValueError, "choose mmap"),
        (["--workers", "0"], ValueError, "at least one worker"),
        (["--bpe", "subword_nmt"], ValueError, "--bpe-codes is required"),
    ],
)
def test_options_that_cannot_work_are_refused(argv, error, told, corpus):
    with pytest.raises(error, match=told):
        run(corpus, "--trainpref", corpus / "train", *argv)


def test_two_dictionaries_cannot_be_joined(corpus):
    out = run(corpus, "--trainpref", corpus / "train", "--dict-only")
    assert names(out) == ["dict.de.txt", "dict.en.txt", "preprocess.log"]
    given = ["--srcdict", out / "dict.de.txt", "--tgtdict", out / "dict.en.txt", "--joined-dictionary"]
    with pytest.raises(AssertionError, match="cannot use both --srcdict and --tgtdict with --joined-dictionary"):
        run(corpus, "--trainpref", corpus / "train", *given)


def test_parallel_texts_of_different_length_are_written_with_a_warning(corpus, caplog):
    (corpus / "train.en").write_text(ENGLISH + "more\n")
    run(corpus, "--trainpref", corpus / "train")
    [warning] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "train.de has 4 lines but" in warning
    assert "train.en has 5: from line 5 on" in warning


def test_the_same_bytes_whatever_the_number_of_workers(corpus):
    contents = []
    for workers in ("1", "2", "5"):
        out = run(corpus, "--trainpref", corpus / "train", "--workers", workers)
        contents.append({path.name: path.read_bytes() for path in out.iterdir() if path.suffix != ".log"})
        for path in out.iterdir():
            path.unlink()
    assert contents[0] == contents[1] == contents[2]


@pytest.mark.parametrize(
    ("pair", "argv", "expected"),
    [
        ((), ["--only-source"], ["dict.txt", "train.bin", "train.idx"]),
        (("-s", "de"), ["--only-source"], ["dict.de.txt", "train.de-None.de.bin", "train.de-None.de.idx"]),
        ((), ["--only-source", "--dataset-impl", "raw"], ["dict.txt", "train.None-None"]),
        (
            ("-s", "de", "-t", "en"),
            ["--dataset-impl", "raw"],
            ["dict.de.txt", "dict.en.txt", "train.de-en.de", "train.de-en.en"],
        ),
    ],
)
def test_files_are_named_after_the_languages(pair, argv, expected, corpus):
    prefix = corpus / "train" if pair else corpus / "train.de"
    assert names(run(corpus, "--trainpref", prefix, *argv, pair=pair)) == sorted([*expected, "preprocess.log"])


def test_several_validation_texts_are_numbered_and_read_back(corpus):
    out = run(corpus, "--trainpref", corpus / "train", "--validpref", f"{corpus}/valid,{corpus}/train")
    assert "valid1.de-en.en.bin" in names(out)
    dictionary = Dictionary.load(str(out / "dict.en.txt"))
    for name in ("valid", "valid1"):
        data = data_utils.load_indexed_dataset(str(out / f"{name}.de-en.en"), dictionary)
        assert len(data) == 4
        assert dictionary.string(data[1]) == "a dog and a house"
        assert data[2].tolist() == [dictionary.eos()]


@pytest.mark.parametrize(
    ("impl", "magic"), [("mmap", b"MMIDIDX"), ("lazy", b"TNTIDX"), ("cached", b"TNTIDX"), ("raw", b"TNTIDX")]
)
def test_alignments_are_in_the_format_of_the_text_or_the_older_one(corpus, impl, magic):
    (corpus / "train.align").write_text("0-0 1-1\n\n\n0-0\n")
    out = run(corpus, "--trainpref", corpus / "train", "--align-suffix", "align", "--dataset-impl", impl)
    assert (out / "train.align.de-en.idx").read_bytes().startswith(magic)
    data = load_alignments(str(out), "train", "de", "en", impl)
    if data.supports_prefetch:
        data.prefetch(range(4))
    assert [data[i].tolist() for i in range(4)] == [[0, 0, 1, 1], [], [], [0, 0]]


def test_alignments_are_written_and_their_words_listed(corpus):
    links = "0-0 1-1\n0-0 1-1 2-2 3-3 4-4\n\n0-0\n"
    (corpus / "train.align").write_text(links)
    (corpus / "all.align").write_text(links)
    out = run(corpus, "--trainpref", corpus / "train", "--align-suffix", "align", "--alignfile", corpus / "all.align")
    assert (out / "alignment.de-en.txt").read_text().splitlines()[:3] == ["ein a", "haus house", "ein a"]
    data = data_utils.load_indexed_dataset(str(out / "train.align.de-en"), None, "mmap")
    assert [data[i].tolist() for i in range(4)] == [[0, 0, 1, 1], [0, 0, 1, 1, 2, 2, 3, 3, 4, 4], [], [0, 0]]


@pytest.mark.parametrize(
    ("links", "told"),
    [
        ("0-0\n0-9\n\n0-0\n", "all.align, line 2: '0-9' does not link words of sentences with 5 and 5 words"),
        ("0-0\n0\n\n0-0\n", "line 2: '0' does not link"),
        ("0-0\n", "all.align ends before line 2"),
    ],
)
def test_a_wrong_alignment_is_named_by_line(links, told, corpus):
    (corpus / "all.align").write_text(links)
    with pytest.raises(ValueError, match=re.escape(told)):
        run(corpus, "--trainpref", corpus / "train", "--alignfile", corpus / "all.align")
    assert names(corpus / "out") == ["preprocess.log"]


def test_raw_text_can_be_tokenized_and_cut_on_the_way(corpus, monkeypatch):
    pytest.importorskip("subword_nmt")
    pytest.importorskip("sacremoses")
    (corpus / "codes").write_text("#version: 0.2\nh o\nho u\nhou s\nhous e</w>\n")
    (corpus / "train.en").write_text("House, house!\n" * 4)
    chosen = ["--tokenizer", "moses", "--bpe", "subword_nmt", "--bpe-codes", corpus / "codes"]
    assert exit_code(monkeypatch, words_of(corpus, "--trainpref", corpus / "train", *chosen, "--workers", "2")) == 0
    words = (corpus / "out" / "dict.en.txt").read_text().splitlines()
    assert words[:3] == ["! 4", ", 4", "H@@ 4"]
    assert "house 4" in words


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full disk to write to")
def test_a_full_disk_is_named(corpus, monkeypatch):
    from fairseq.data.indexed import formats

    original = open

    def full(path, mode="r", *args, **kwargs):
        return original("/dev/full" if "b" in mode and "w" in mode else path, mode, *args, **kwargs)

    monkeypatch.setattr(formats, "open", full, raising=False)
    with pytest.raises(OSError, match=r"No space left on device: '.*train.de-en.de.*bin'"):
        run(corpus, "--trainpref", corpus / "train")
    assert names(corpus / "out") == ["preprocess.log"]
