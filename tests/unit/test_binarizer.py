"""From text files to datasets."""

import errno
import os
import random
import signal
import time

import pytest
import torch

from fairseq import binarizer as module
from fairseq.binarizer import (
    AlignmentDatasetBinarizer,
    Binarizer,
    BinarizeSummary,
    FileBinarizer,
    LegacyBinarizer,
    VocabularyDatasetBinarizer,
)
from fairseq.data.dictionary import Dictionary
from fairseq.data.indexed.mmap import _IndexWriter
from fairseq.data.indexed_dataset import MMapIndexedDataset
from fairseq.data.text_files import parallel_lines
from fairseq.utils import parse_alignment


@pytest.fixture
def dictionary():
    made = Dictionary()
    for word in ("a", "b", "c"):
        made.add_symbol(word)
    return made


@pytest.fixture
def text(tmp_path):
    draw = random.Random(3)
    words = ["a", "b", "c", "z", "<unk>", "</s>", " ", "\t", "\u3000", "x\u2028y"]
    lines = [" ".join(draw.choices(words, k=draw.randint(0, 6))) for _ in range(60)]
    path = tmp_path / "text"
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def one_by_one(line):
    return line.split()


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("impl", ["mmap", "lazy"])
@pytest.mark.parametrize("reverse_order", [False, True])
@pytest.mark.parametrize("append_eos", [False, True])
def test_fast_slow_and_many_workers_write_the_same(impl, reverse_order, append_eos, dictionary, text, tmp_path):
    results = []
    for name, workers, options in (
        ("fast", 1, {}),
        ("slow", 1, {"tokenize": one_by_one}),
        ("many", 3, {}),
        ("more", 7, {"tokenize": one_by_one}),
    ):
        folder = tmp_path / name
        folder.mkdir()
        encoder = VocabularyDatasetBinarizer(dictionary, append_eos=append_eos, reverse_order=reverse_order, **options)
        summary = FileBinarizer.multiprocess_dataset(text, impl, encoder, str(folder / "d"), len(dictionary), workers)
        results.append((summary, contents(folder)))
    first = results[0]
    assert set(first[1]) == {"d.bin", "d.idx"}
    assert first[0].num_seq == 60
    assert set(first[0].replaced) == {"z", "x", "y"}
    assert all(result == first for result in results)


def test_lines_of_numbers_are_taken_as_they_are(dictionary, tmp_path):
    (tmp_path / "n").write_text("4 5\n\n6\n")
    encoder = VocabularyDatasetBinarizer(dictionary, already_numberized=True, reverse_order=True)
    FileBinarizer.multiprocess_dataset(str(tmp_path / "n"), "mmap", encoder, str(tmp_path / "d"))
    data = MMapIndexedDataset(str(tmp_path / "d"))
    assert [data[i].tolist() for i in range(3)] == [[5, 4, 2], [2], [6, 2]]


@pytest.mark.parametrize("workers", [1, 2])
def test_alignments_are_stored_flat(workers, tmp_path):
    (tmp_path / "a").write_text("0-0 2-1\n\n1-0\n")
    encoder = AlignmentDatasetBinarizer(parse_alignment)
    summary = FileBinarizer.multiprocess_dataset(
        str(tmp_path / "a"), "mmap", encoder, str(tmp_path / "d"), None, workers
    )
    data = MMapIndexedDataset(str(tmp_path / "d"))
    assert [data[i].tolist() for i in range(3)] == [[0, 0, 2, 1], [], [1, 0]]
    assert (summary.num_seq, summary.num_tok) == (3, 6)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_line_that_cannot_be_encoded_is_named_and_nothing_stays(workers, tmp_path):
    (tmp_path / "a").write_text("0-0\n1-1\n0-x 1-1\n" + "2-2\n" * 50)
    (tmp_path / "d.idx").write_text("old")
    with pytest.raises(ValueError, match=r"a, line 3: cannot be encoded \(.*0-x"):
        FileBinarizer.multiprocess_dataset(
            str(tmp_path / "a"), "mmap", AlignmentDatasetBinarizer(parse_alignment), str(tmp_path / "d"), None, workers
        )
    assert set(contents(tmp_path)) == {"a", "d.idx"}


@pytest.mark.parametrize("workers", [1, 2])
def test_undecodable_bytes_are_named_by_line_and_nothing_stays(workers, dictionary, tmp_path):
    (tmp_path / "t").write_bytes(b"a b\n" * 40 + b"a \xfe\n" + b"c\n" * 5)
    with pytest.raises(UnicodeDecodeError, match="t, line 41"):
        FileBinarizer.multiprocess_dataset(
            str(tmp_path / "t"), "mmap", VocabularyDatasetBinarizer(dictionary), str(tmp_path / "d"), 9, workers
        )
    assert set(contents(tmp_path)) == {"t"}


def test_a_full_disk_names_the_file_and_nothing_stays(dictionary, text, tmp_path, monkeypatch):
    def no_space(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match=r"No space left on device: '.*d\..*bin'"):
        FileBinarizer.multiprocess_dataset(text, "mmap", VocabularyDatasetBinarizer(dictionary), str(tmp_path / "d"), 9)
    assert set(contents(tmp_path)) == {"text"}


def _die(*arguments):
    os._exit(9)


def test_a_worker_that_is_killed_ends_the_run_with_a_message():
    with pytest.raises(RuntimeError, match="exit code 9"):
        parallel_lines.run_in_parallel(_die, [(1,), (2,)], "dying", 2)


def test_many_blocks_are_one_file(dictionary, tmp_path, monkeypatch):
    from fairseq import file_chunker_utils

    (tmp_path / "t").write_text("a b z\nc\n\nb\n" * 20)
    kinds = {}
    for size in (1 << 20, 7):
        monkeypatch.setattr(file_chunker_utils.read_line_blocks, "__defaults__", (0, -1, size))
        encoder = VocabularyDatasetBinarizer(dictionary)
        summary = FileBinarizer.multiprocess_dataset(str(tmp_path / "t"), "mmap", encoder, str(tmp_path / "d"), 9)
        kinds[size] = (summary, (tmp_path / "d.bin").read_bytes(), (tmp_path / "d.idx").read_bytes())
    assert kinds[7] == kinds[1 << 20]


def test_a_binarizer_of_ones_own_needs_one_method(tmp_path):
    class Lengths(Binarizer):
        def binarize_line(self, line, summary):
            summary.num_seq += 1
            return torch.IntTensor([len(line)])

    (tmp_path / "t").write_text("abc\n\nx")
    FileBinarizer.multiprocess_dataset(str(tmp_path / "t"), "mmap", Lengths(), str(tmp_path / "d"))
    data = MMapIndexedDataset(str(tmp_path / "d"))
    assert [int(data[i]) for i in range(3)] == [4, 1, 1]


def test_summaries_add_up_and_an_empty_one_has_no_percentage():
    total = BinarizeSummary()
    assert total.replaced_percent == 0
    total.merge(BinarizeSummary(2, {"a": 1}, 8))
    total.merge(BinarizeSummary(1, {"a": 1, "b": 1}, 4))
    assert (total.num_seq, total.num_tok, total.num_replaced, total.replaced_percent) == (3, 12, 3, 25)


def test_the_older_interface_hands_over_tensors(dictionary, text, tmp_path):
    tensors = []
    counts = LegacyBinarizer.binarize(text, dictionary, tensors.append)
    assert counts["nseq"] == len(tensors) == 60
    assert counts["ntok"] == sum(len(tensor) for tensor in tensors)
    assert counts["nunk"] == sum(counts["replaced"].values())
    (tmp_path / "a").write_text("0-0\n1-1\n")
    assert LegacyBinarizer.binarize_alignments(str(tmp_path / "a"), parse_alignment, tensors.append) == {"nseq": 2}
    assert module.safe_readline is not None


def test_progress_is_a_bar_lines_or_nothing(caplog, capsys, monkeypatch):
    monkeypatch.setattr(parallel_lines, "LOG_SECONDS", 0.0)
    monkeypatch.setattr(parallel_lines, "REFRESH_SECONDS", 0.0)
    caplog.set_level("INFO")

    def work(report):
        report(10, 50)
        report(10, 50)

    for style in ("none", "log", "bar"):
        with parallel_lines.progress_style(style):
            parallel_lines.run_in_parallel(work, [()], "counting", 100)
        assert bool(caplog.messages) == (style == "log")
        if style == "log":
            assert "counting: 100 %, 20 sentences" in caplog.messages[-1]
        assert ("sentences/s" in capsys.readouterr().err) == (style == "bar")
        caplog.clear()


def test_ctrl_c_while_processes_are_started_is_not_lost():
    reached = []

    def starting():
        with parallel_lines._interrupts_later():
            signal.raise_signal(signal.SIGINT)
            reached.append("end")

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        starting()
    assert reached == ["end"]
    assert signal.getsignal(signal.SIGINT) is before


class _StopsInTheIndex(VocabularyDatasetBinarizer):
    """The second part fails while the first writes its index."""

    def binarize_lines(self, text, summary):
        if "c" not in text:
            return super().binarize_lines(text, summary)
        while not any(name.startswith(".d.") for name in os.listdir(self.folder)):
            time.sleep(0.01)
        raise ValueError("this part cannot be done")


def test_a_worker_that_is_stopped_leaves_no_unfinished_file(dictionary, tmp_path, monkeypatch):
    (tmp_path / "t").write_text("a b\n" * 60 + "c\n" * 20)
    monkeypatch.setattr(_IndexWriter, "write", lambda self, sizes: time.sleep(60))
    binarizer = _StopsInTheIndex(dictionary)
    binarizer.folder = tmp_path
    with pytest.raises(ValueError, match="this part cannot be done"):
        FileBinarizer.multiprocess_dataset(str(tmp_path / "t"), "mmap", binarizer, str(tmp_path / "d"), 9, 2)
    assert set(contents(tmp_path)) == {"t"}
