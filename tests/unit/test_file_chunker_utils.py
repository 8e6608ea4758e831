"""Cutting text files into parts and lines."""

import random
import re
import sys
from itertools import pairwise

import pytest

from fairseq import file_chunker_utils
from fairseq.binarizer import safe_readline
from fairseq.file_chunker_utils import Chunker, find_offsets, read_line_blocks
from fairseq.tokenizer import SPACE_NORMALIZER, tokenize_line


def test_splitting_agrees_with_the_regular_expression_on_every_character():
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        assert (tokenize_line(f"a{char}b") == ["a", "b"]) == bool(re.fullmatch(r"\s", char)), hex(code)
    text = " a \t\u3000b\x1c\n"
    assert tokenize_line(text) == SPACE_NORMALIZER.sub(" ", text).strip().split()


def random_texts(number):
    draw = random.Random(5)
    pieces = ["a", "é", "\n", "\r", "\r\n", "\u2028", "b c", "𝄞", "\x85", "\x0c"]
    for _ in range(number):
        yield "".join(draw.choice(pieces) for _ in range(draw.randint(0, 14))).encode()


@pytest.mark.parametrize("block_bytes", [1, 2, 5, 100])
def test_parts_joined_are_the_lines_that_python_reads(block_bytes, tmp_path, monkeypatch):
    monkeypatch.setattr(file_chunker_utils, "BLOCK_BYTES", block_bytes)
    path = tmp_path / "text"
    for body in random_texts(200):
        path.write_bytes(body)
        with open(path, encoding="utf-8") as file:
            expected = file.readlines()
        for num_parts in (1, 2, 3, 7):
            offsets = find_offsets(str(path), num_parts)
            assert len(offsets) == num_parts + 1
            found = []
            for start, end in pairwise(offsets):
                with Chunker(str(path), start, end) as lines:
                    found += lines
            assert found == expected, (body, num_parts)


def test_a_line_that_reaches_beyond_the_end_is_left_out(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"one\ntwo\r\nthree\rfour")
    for end, expected in ((4, 1), (7, 1), (8, 1), (9, 2), (14, 2), (15, 3), (18, 3), (19, 4), (0, 4), (-1, 4)):
        with Chunker(str(path), 0, end) as lines:
            assert len(list(lines)) == expected, end


def test_blocks_tell_how_many_bytes_they_took(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"one\r\ntwo\nthree")
    for block_bytes in range(1, 16):
        blocks = list(read_line_blocks(str(path), block_bytes=block_bytes))
        assert "".join(text for text, _ in blocks) == "one\ntwo\nthree"
        assert sum(num_bytes for _, num_bytes in blocks) == 14


@pytest.mark.parametrize("start", [0, 3])
def test_bytes_that_are_not_utf8_are_reported_with_file_and_line(start, tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"a\r\nb\nc \xff d\n")
    with pytest.raises(UnicodeDecodeError, match=r"0xff in position 2: .*text, line 3") as caught:
        list(read_line_blocks(str(path), start, block_bytes=4))
    assert "UTF-8" in str(caught.value)


def test_no_workers_at_all_is_refused(tmp_path):
    (tmp_path / "text").write_text("a\n")
    with pytest.raises(ValueError, match="0 parts"):
        find_offsets(str(tmp_path / "text"), 0)


def test_the_old_line_reader_steps_back_to_where_a_character_begins(tmp_path):
    path = tmp_path / "text"
    path.write_text("aé\nb\n", encoding="utf-8")
    with open(path, encoding="utf-8") as file:
        file.seek(2)
        assert safe_readline(file) == "é\n"
        assert safe_readline(file) == "b\n"
