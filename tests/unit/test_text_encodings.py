"""Text is UTF-8, whatever the locale says, and a byte-order mark before it is no part of it."""

from __future__ import annotations

import ast
import gzip
import io
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from fairseq import file_io
from fairseq.data.dictionary import Dictionary
from fairseq.file_chunker_utils import Chunker, find_offsets, read_line_blocks
from fairseq.file_io import BYTE_ORDER_MARK

ROOT = Path(__file__).resolve().parents[2]
TEXT = "über alles\nzwei\n"


@pytest.fixture(autouse=True)
def forget_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_io, "_noted", set())


def marked(path: Path, text: str = TEXT) -> str:
    path.write_bytes(BYTE_ORDER_MARK + text.encode())
    return str(path)


def by_blocks(path: str) -> str:
    return "".join(text for text, _ in read_line_blocks(path))


def by_chunker(path: str) -> str:
    with Chunker(path, 0, -1) as lines:
        return "".join(lines)


def by_open_text(path: str) -> str:
    with file_io.open_text(path) as file:
        return file.read()


def by_pipeline(path: str) -> str:
    from fairseq_cli.prepare import text_pipeline

    with text_pipeline.open_text(Path(path)) as file:
        text: str = file.read()
    return text


def by_interactive(path: str) -> str:
    from fairseq_cli.interactive import buffered_read

    return "".join(line + "\n" for lines in buffered_read(path, 1) for line in lines)


@pytest.mark.parametrize("read", [by_blocks, by_chunker, by_open_text, by_pipeline, by_interactive])
def test_the_mark_is_dropped_once_and_said(
    read: Callable[[str], str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = marked(tmp_path / "text")
    with caplog.at_level(logging.WARNING):
        assert [read(path), read(path)] == [TEXT, TEXT]
    said = [record.getMessage() for record in caplog.records]
    assert said == [f"{path} begins with a byte-order mark (U+FEFF), which is dropped"]
    # Without one nothing is dropped or said, and a mark elsewhere is a character like others.
    Path(path).write_text("a\n\ufeffb\n", encoding="utf-8")
    assert read(path) == "a\n\ufeffb\n" and len(caplog.records) == 1


def test_gzipped_text_and_standard_input_may_begin_with_a_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with gzip.open(tmp_path / "text.gz", "wb") as file:
        file.write(BYTE_ORDER_MARK + TEXT.encode())
    assert by_pipeline(str(tmp_path / "text.gz")) == TEXT
    monkeypatch.setattr(sys, "stdin", io.StringIO("\ufeff" + TEXT))
    assert by_interactive("-") == TEXT


def test_the_parts_of_a_file_with_a_mark_are_whole(tmp_path: Path) -> None:
    path = marked(tmp_path / "text", "a b\n" * 50)
    offsets = find_offsets(path, 3)
    parts = [list(read_line_blocks(path, *span)) for span in pairwise(offsets)]
    assert "".join(text for part in parts for text, _ in part) == "a b\n" * 50
    assert sum(size for part in parts for _, size in part) == os.path.getsize(path)


def test_an_error_behind_a_mark_names_the_right_line(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(BYTE_ORDER_MARK + b"one\ntwo \xff\n")
    with pytest.raises(UnicodeDecodeError, match="line 2") as caught:
        by_blocks(str(tmp_path / "text"))
    assert caught.value.object[caught.value.start : caught.value.end] == b"\xff"


def test_a_dictionary_with_a_mark_has_its_first_word(tmp_path: Path) -> None:
    path = marked(tmp_path / "dict.txt", "über 3\nzwei 2\n")
    assert Dictionary.load(path).symbols[4:] == ["über", "zwei"]
    assert Dictionary.load(io.StringIO("\ufeffüber 3\n")).symbols[4:] == ["über"]


def test_embeddings_and_word_pairs_with_a_mark(tmp_path: Path) -> None:
    from fairseq.utils.embeddings import parse_embedding
    from fairseq.utils.strings import load_align_dict

    assert list(parse_embedding(marked(tmp_path / "vectors", "1 2\nüber 0.5 1\n"))) == ["über"]
    assert load_align_dict(marked(tmp_path / "pairs", "über over\n")) == {"über": "over"}


def preprocess(folder: Path, *words: object) -> None:
    from fairseq import options
    from fairseq_cli.preprocess import main

    argv = ["-s", "a", "-t", "b", "--trainpref", str(folder / "train"), *map(str, words)]
    main(options.get_preprocessing_parser().parse_args(argv))


@pytest.mark.parametrize("impl", ["mmap", "raw"])
@pytest.mark.parametrize("workers", [1, 2])
def test_preprocessing_gives_the_same_with_and_without_marks(impl: str, workers: int, tmp_path: Path) -> None:
    made = []
    for name, mark in (("plain", b""), ("marked", BYTE_ORDER_MARK)):
        folder = tmp_path / name
        folder.mkdir()
        for ending, text in (("a", TEXT), ("b", TEXT), ("align", "0-0 1-1\n0-0\n")):
            (folder / f"train.{ending}").write_bytes(mark + text.encode())
        words = ["--destdir", folder / "bin", "--dataset-impl", impl, "--workers", workers]
        preprocess(folder, *words, "--align-suffix", "align", "--alignfile", folder / "train.align")
        files = sorted((folder / "bin").iterdir())
        made.append({path.name: path.read_bytes() for path in files if path.suffix != ".log"})
    assert len(made[0]) >= 6 and made[0] == made[1]


# -- the locale

LOCALES = [
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "latin-1"},
]
PROGRAM = """
import sys
from fairseq_cli._console import run_command
def command():
    for line in sys.stdin:
        print(ascii(line), line, end="")
    print(line.strip(), file=sys.stderr)
run_command(command)
"""


def run(words: list[str], locale: dict[str, str], stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON"))}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **locale}
    return subprocess.run([sys.executable, *words], env=environment, input=stdin, capture_output=True, timeout=100)


@pytest.mark.parametrize("locale", LOCALES, ids=lambda locale: locale.get("PYTHONIOENCODING", "C"))
def test_the_streams_of_every_tool_are_utf8(locale: dict[str, str]) -> None:
    done = run(["-c", PROGRAM], locale, "über…\n".encode())
    assert done.returncode == 0, done.stderr
    assert done.stdout == "'\\xfcber\\u2026\\n' über…\n".encode() and done.stderr == "über…\n".encode()
    done = run(["-c", PROGRAM], locale, b"\xff\n")
    assert done.returncode == 1 and done.stderr.startswith(b"UnicodeDecodeError: ")


@pytest.mark.parametrize("locale", LOCALES, ids=lambda locale: locale.get("PYTHONIOENCODING", "C"))
def test_tools_do_the_same_in_every_locale(locale: dict[str, str], tmp_path: Path) -> None:
    for name in ("train.a", "train.b", "ref"):
        (tmp_path / name).write_text(TEXT * 3, encoding="utf-8")
    words = ["-m", "fairseq_cli.preprocess", "-s", "a", "-t", "b", "--trainpref", f"{tmp_path}/train"]
    done = run([*words, "--destdir", f"{tmp_path}/dätä"], locale)
    assert done.returncode == 0 and b"error" not in done.stderr.lower(), done.stderr
    assert (tmp_path / "dätä" / "dict.a.txt").read_text(encoding="utf-8").startswith("alles 3\nzwei 3\nüber 3\n")
    assert f"{tmp_path}/dätä" in (tmp_path / "dätä" / "preprocess.log").read_text(encoding="utf-8")
    done = run(["-m", "fairseq_cli.score", "--ref", f"{tmp_path}/ref", "--ignore-case"], locale, (TEXT * 3).encode())
    assert b"BLEU4 = " in done.stdout and b"100.0/100.0" in done.stdout, done.stderr


def text_files_without_encoding(path: Path) -> list[str]:
    """Calls that open a text file, or decode a process's output, in the encoding of the locale."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        owner = getattr(getattr(node.func, "value", None), "id", "")
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        if "encoding" in given or None in given:
            continue
        modes = [value for value in [*node.args[1:2], given.get("mode")] if isinstance(value, ast.Constant)]
        is_binary = any("b" in str(mode.value) for mode in modes) or (name == "open" and len(node.args) > 3)
        opens = name in ("read_text", "write_text", "FileHandler", "TextIOWrapper", "NamedTemporaryFile")
        opens = opens or (name == "open" and (isinstance(node.func, ast.Name) or owner == "PathManager"))
        if (opens and not is_binary) or (name in ("run", "Popen", "check_output") and "text" in given):
            found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)[:80]}")
    return found


def test_no_text_is_read_or_written_in_the_encoding_of_the_locale() -> None:
    folders = [ROOT / "fairseq", ROOT / "fairseq_cli", ROOT / "plugins"]
    sources = [path for folder in folders if folder.is_dir() for path in sorted(folder.rglob("*.py"))]
    # A forked debugger has the terminal; an empty file has no text.
    exceptions = ("fairseq/pdb.py", "checkpoint_utils/save.py")
    found = [line for path in sources for line in text_files_without_encoding(path)]
    assert [line for line in found if not any(name in line for name in exceptions)] == []


def test_a_missing_input_of_interactive_is_named_with_its_option(tmp_path):
    with pytest.raises(FileNotFoundError, match="--input .*nofile: there is no such file"):
        by_interactive(str(tmp_path / "nofile"))
