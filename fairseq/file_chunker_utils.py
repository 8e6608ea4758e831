r"""Reading a big text file in parts, so that several processes can share the work.

``find_offsets``       cut points: byte positions at the ends of lines
``Chunker``            the lines between two cut points, one by one
``read_line_blocks``   the same, many lines at a time: what fast code builds on
``split_lines``        such a block's lines

Lines end as they do for Python's text files: at ``\n``, ``\r\n`` or ``\r``, and at nothing else (not at U+2028 etc.).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import TracebackType
from typing import IO, Any

from fairseq.file_io import BYTE_ORDER_MARK, PathManager, note_mark

__all__ = ["ChunkLineIterator", "Chunker", "count_lines", "find_offsets", "read_line_blocks", "split_lines"]

BLOCK_BYTES = 1 << 20


def find_offsets(filename: str, num_chunks: int) -> list[int]:
    """Cut a file into parts of about the same size.

    Args:
        filename: a text file.
        num_chunks: how many parts, at least 1.

    Returns:
        ``num_chunks + 1`` byte positions, from 0 to the size of the file. Each inner one lies just behind the line that
        holds the ideal cut; with few or very long lines some are equal, and the part between them is empty.
    """
    if num_chunks < 1:
        raise ValueError(f"{filename}: cannot be cut into {num_chunks} parts; give at least one worker")
    with PathManager.open(filename, "rb") as file:
        # Said once here, not by each process that reads a part.
        if file.read(len(BYTE_ORDER_MARK)) == BYTE_ORDER_MARK:
            note_mark(filename)
        size = file.seek(0, os.SEEK_END)
        ideal = size // num_chunks
        return [0, *(_end_of_line(file, i * ideal, size) for i in range(1, num_chunks)), size]


def _end_of_line(file: IO[bytes], position: int, size: int) -> int:
    r"""The position behind the line end (``\n``, ``\r\n`` or ``\r``) that follows a position; the size without one."""
    file.seek(position)
    while block := file.read(1 << 16):
        found = min((at for at in (block.find(b"\n"), block.find(b"\r")) if at >= 0), default=-1)
        if found >= 0:
            end = position + found + 1
            if block[found : found + 1] == b"\r":
                file.seek(end)
                end += file.read(1) == b"\n"
            return end
        position += len(block)
    return size


def read_line_blocks(
    path: str, start: int = 0, end: int = -1, block_bytes: int = BLOCK_BYTES
) -> Iterator[tuple[str, int]]:
    r"""Read the lines between two byte positions, many at a time.

    Args:
        path: a UTF-8 text file.
        start: where a line begins.
        end: lines that reach beyond this position are left out; 0 or less means the end of the file.
        block_bytes: how much to read at once. Memory is a small multiple of it, or of the longest line.

    Yields:
        ``(text, num_bytes)``: whole lines, with every line end written as ``\n`` (the last line of a file may lack it),
        and how many bytes they take in the file. A byte-order mark at the beginning of the file is no part of the text.

    Raises:
        UnicodeDecodeError: the message has the file and the line.
    """
    with PathManager.open(path, "rb") as file:
        file.seek(start)
        yield from _line_blocks(file, path, start, end, block_bytes)


def split_lines(text: str) -> list[str]:
    r"""Cut a text behind every ``\n``. (``str.splitlines`` would cut at form feeds, U+2028 and others as well.)"""
    lines = text.split("\n")
    last = lines.pop()
    lines = [line + "\n" for line in lines]
    return [*lines, last] if last else lines


def _line_blocks(file: IO[bytes], path: str, start: int, end: int, block_bytes: int) -> Iterator[tuple[str, int]]:
    position = start  # of the first byte in ``pending``
    num_read = 0
    pending: list[bytes] = []
    while True:
        block = file.read(block_bytes if end <= 0 else max(0, min(block_bytes, end - start - num_read)))
        if not block:
            break
        num_read += len(block)
        cut = _behind_last_line(block)
        # Pieces of a long line are joined once, when its end is found.
        if cut:
            body = b"".join([*pending, block[:cut]])
            yield _decode(body, path, position), len(body)
            position, block = position + len(body), block[cut:]
            pending.clear()
        pending.append(block)
    rest = b"".join(pending)
    following = file.read(1)
    if following:
        # The limit came before the end of the file: of what is left only complete lines count.
        rest = rest[: rest.rfind(b"\r", 0, len(rest) - (following == b"\n")) + 1]
    if rest:
        yield _decode(rest, path, position), len(rest)


def _behind_last_line(block: bytes) -> int:
    r"""How long the complete lines at the start of a block are. A final ``\r`` may be half of a ``\r\n``."""
    return block.rfind(b"\n") + 1 or block.rfind(b"\r", 0, len(block) - 1) + 1


def _decode(body: bytes, path: str, position: int) -> str:
    if position == 0 and body.startswith(BYTE_ORDER_MARK):
        note_mark(path)
        body = body[len(BYTE_ORDER_MARK) :]
        position = len(BYTE_ORDER_MARK)
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        line = count_lines(path, position + error.start) + 1
        reason = f"{error.reason} ({path}, line {line}: the text must be UTF-8; convert it, for example with iconv)"
        # Positions count from the start of the line, which is what an editor can show.
        begin = max(body.rfind(b"\n", 0, error.start), body.rfind(b"\r", 0, error.start)) + 1
        raise UnicodeDecodeError(
            "utf-8", body[begin : error.end], error.start - begin, error.end - begin, reason
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def count_lines(path: str, num_bytes: int) -> int:
    """How many lines end within the first bytes of a file."""
    count, last = 0, b""
    with PathManager.open(path, "rb") as file:
        while num_bytes > 0 and (block := file.read(min(num_bytes, BLOCK_BYTES))):
            num_bytes -= len(block)
            count += block.count(b"\n") + block.count(b"\r") - (last + block).count(b"\r\n")
            last = block[-1:]
    return count


class ChunkLineIterator:
    """The lines of an open file between two byte positions.

    Args:
        fd: an open file, binary or text. Its position is moved.
        start_offset: where the first line begins.
        end_offset: lines that reach beyond it are left out; 0 or less means the end of the file.
    """

    def __init__(self, fd: IO[Any], start_offset: int, end_offset: int) -> None:
        self._fd = fd
        self._start_offset = start_offset
        self._end_offset = end_offset

    def __iter__(self) -> Iterator[str]:
        file = getattr(self._fd, "buffer", self._fd)
        file.seek(self._start_offset)
        name = str(getattr(self._fd, "name", "input"))
        for text, _ in _line_blocks(file, name, self._start_offset, self._end_offset, BLOCK_BYTES):
            yield from split_lines(text)


class Chunker:
    """A context manager that gives the lines of one part of a file.

    ::

        with Chunker(path, start_offset, end_offset) as lines:
            for line in lines:  # each with its line end, as "\\n"
                ...
    """

    def __init__(self, path: str, start_offset: int, end_offset: int) -> None:
        self.path = path
        self.start_offset = start_offset
        self.end_offset = end_offset
        self.fd: IO[bytes] | None = None

    def __enter__(self) -> ChunkLineIterator:
        self.fd = PathManager.open(self.path, "rb")
        return ChunkLineIterator(self.fd, self.start_offset, self.end_offset)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        if self.fd is not None:
            self.fd.close()
