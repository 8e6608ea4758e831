"""From text to token data on disk.

``VocabularyDatasetBinarizer``   encodes sentences with a dictionary
``AlignmentDatasetBinarizer``    encodes word alignments (``0-0 1-2 ...``)
``FileBinarizer``                writes a whole file, in as many processes as wanted
``BinarizeSummary``              what came of it: sentences, tokens, replaced words
``LegacyBinarizer``              the interface of older releases: a consumer gets each line's tensor
"""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from fairseq.compat.signatures import fitting
from fairseq.data import indexed_dataset
from fairseq.data.dictionary import Dictionary
from fairseq.data.text_files.encode_lines import TextEncoder, is_plain
from fairseq.data.text_files.parallel_lines import run_in_parallel
from fairseq.file_chunker_utils import Chunker, count_lines, find_offsets, read_line_blocks, split_lines
from fairseq.file_io import PathManager, naming_file
from fairseq.tokenizer import tokenize_line

__all__ = [
    "AlignmentDatasetBinarizer",
    "BinarizeSummary",
    "Binarizer",
    "FileBinarizer",
    "LegacyBinarizer",
    "VocabularyDatasetBinarizer",
]


@dataclass
class BinarizeSummary:
    """Counts over what was binarised.

    Attributes:
        num_seq: sentences.
        replaced: words that became the unknown symbol, with their counts.
        num_tok: tokens, ends of sentences included.
    """

    num_seq: int = 0
    replaced: Counter[str] | None = field(default_factory=Counter)
    num_tok: int = 0

    @property
    def num_replaced(self) -> int:
        """How many tokens became the unknown symbol."""
        return sum(self.replaced.values()) if self.replaced else 0

    @property
    def replaced_percent(self) -> float:
        """The share of tokens that became the unknown symbol, in percent."""
        return 100 * self.num_replaced / self.num_tok if self.num_tok else 0.0

    def merge(self, other: BinarizeSummary) -> None:
        """Add the counts of another part."""
        self.num_seq += other.num_seq
        self.num_tok += other.num_tok
        if other.replaced:
            if self.replaced is None:
                self.replaced = Counter()
            self.replaced.update(other.replaced)


class Binarizer(ABC):
    """Turns a line of text into a tensor. Subclasses must be picklable to be used by several processes."""

    @abstractmethod
    def binarize_line(self, line: str, summary: BinarizeSummary) -> torch.IntTensor:
        """Encode one line (with its line end) and count it in ``summary``. Returns int32, ``(num_tokens,)``."""

    def binarize_lines(self, text: str, summary: BinarizeSummary) -> tuple[np.ndarray, np.ndarray]:
        r"""Encode many lines.

        Args:
            text: whole lines, each ended by ``\n``; the last may lack it.
            summary: is brought up to date.

        Returns:
            All tokens one behind the other ``(num_tokens,)``, and the number of tokens of each line ``(num_lines,)``.
        """
        rows = [self.binarize_line(line, summary).numpy().ravel() for line in split_lines(text)]
        return np.concatenate(rows), np.array([len(row) for row in rows], dtype=np.int64)

    @staticmethod
    def binarize(*arguments: Any, **keywords: Any) -> dict[str, Any]:
        """``LegacyBinarizer.binarize`` under its name of releases up to 0.10."""
        return LegacyBinarizer.binarize(*arguments, **keywords)

    @staticmethod
    def binarize_alignments(*arguments: Any, **keywords: Any) -> dict[str, int]:
        """``LegacyBinarizer.binarize_alignments`` under its name of releases up to 0.10."""
        return LegacyBinarizer.binarize_alignments(*arguments, **keywords)


class VocabularyDatasetBinarizer(Binarizer):
    """Sentences, by a dictionary. Words it lacks become the unknown symbol.

    Args:
        dict: the dictionary.
        tokenize: splits a line into words.
        append_eos: end each sentence with the end-of-sentence index.
        reverse_order: last word first.
        already_numberized: lines hold indices instead of words.
    """

    def __init__(
        self, dict: Dictionary, tokenize: Callable[[str], Sequence[str]] = tokenize_line, append_eos: bool = True,
        reverse_order: bool = False, already_numberized: bool = False,
    ) -> None:  # fmt: skip
        self.dict = dict
        self.tokenize = tokenize
        self.append_eos = append_eos
        self.reverse_order = reverse_order
        self.already_numberized = already_numberized

    def _text_encoder(self) -> TextEncoder:
        """Made anew if an attribute was changed since."""
        encoder: TextEncoder | None = self.__dict__.get("_encoder")
        options = (self.append_eos, self.reverse_order)
        if encoder is None or encoder.dictionary is not self.dict or encoder.options != options:
            encoder = self._encoder = TextEncoder(self.dict, *options)
        return encoder

    def binarize_line(self, line: str, summary: BinarizeSummary) -> torch.IntTensor:
        if summary.replaced is None:
            summary.replaced = Counter()
        replaced = summary.replaced

        def note_unknown(word: str, index: int) -> None:
            if index == self.dict.unk_index and word != self.dict.unk_word:
                replaced[word] += 1

        if self.already_numberized:
            indices = self._numbers(line)
        else:
            indices = self.dict.encode_line(
                line=line,
                line_tokenizer=self.tokenize,
                add_if_not_exist=False,
                consumer=note_unknown,
                append_eos=self.append_eos,
                reverse_order=self.reverse_order,
            )
        summary.num_seq += 1
        summary.num_tok += len(indices)
        return indices

    def _numbers(self, line: str) -> torch.IntTensor:
        numbers = [int(number) for number in line.split()]
        if self.reverse_order:
            numbers.reverse()
        if self.append_eos:
            numbers.append(self.dict.eos())
        return torch.IntTensor(numbers)

    def binarize_lines(self, text: str, summary: BinarizeSummary) -> tuple[np.ndarray, np.ndarray]:
        overridden = type(self).binarize_line is not VocabularyDatasetBinarizer.binarize_line
        if overridden or self.already_numberized or not is_plain(self.dict, self.tokenize):
            return super().binarize_lines(text, summary)
        tokens, lengths, replaced = self._text_encoder().encode(text)
        summary.merge(BinarizeSummary(len(lengths), replaced, len(tokens)))
        return tokens, lengths


class AlignmentDatasetBinarizer(Binarizer):
    """Word alignments.

    Args:
        alignment_parser: from a line to a tensor of source and target positions in turn (any shape; it is stored flat),
            for example ``fairseq.utils.parse_alignment``.
    """

    def __init__(self, alignment_parser: Callable[[str], torch.IntTensor]) -> None:
        super().__init__()
        self.alignment_parser = alignment_parser

    def binarize_line(self, line: str, summary: BinarizeSummary) -> torch.IntTensor:
        ids = self.alignment_parser(line)
        summary.num_seq += 1
        summary.num_tok += ids.numel()
        return ids


class FileBinarizer:
    """Writes a text file as a dataset."""

    @classmethod
    def multiprocess_dataset(
        cls, input_file: str | os.PathLike[str], dataset_impl: str, binarizer: Binarizer,
        output_prefix: str | os.PathLike[str], vocab_size: int | None = None, num_workers: int = 1,
    ) -> BinarizeSummary:  # fmt: skip
        """Binarise a file into ``output_prefix.bin`` and ``output_prefix.idx``.

        The bytes written do not depend on the number of processes. Both files appear, whole, at the end; if anything
        goes wrong no part of them stays.

        Args:
            input_file: UTF-8 text, one item per line.
            dataset_impl: the format to write, see ``indexed_dataset.make_builder``.
            binarizer: encodes the lines.
            output_prefix: where to.
            vocab_size: chooses the type of the stored tokens; ``None`` if it is not known.
            num_workers: how many processes share the work.

        Raises:
            FileNotFoundError: there is no such input.
            ValueError: a line that cannot be encoded; the message has the file and the line.
            OSError: the output could not be written.
        """
        input_file, output_prefix = os.fspath(input_file), os.fspath(output_prefix)
        path = PathManager.get_local_path(input_file)
        offsets = find_offsets(path, num_workers)
        with _OutputFiles(output_prefix, num_workers) as output:
            spans = zip(offsets, offsets[1:], output.prefixes, strict=False)
            parts = [(cls, binarizer, path, *span, dataset_impl, vocab_size) for span in spans]
            summaries = run_in_parallel(_binarize_part, parts, f"writing {output_prefix}", offsets[-1])
            output.join(dataset_impl, vocab_size)
        summary = BinarizeSummary()
        for part in summaries:
            summary.merge(part)
        return summary

    @classmethod
    def _binarize_file_chunk(
        cls, binarizer: Binarizer, filename: str, offset_start: int, offset_end: int, output_prefix: str,
        dataset_impl: str, vocab_size: int | None = None, report: Callable[[int, int], None] | None = None,
    ) -> tuple[Any, BinarizeSummary]:  # fmt: skip
        """Encode the lines that begin between two positions of a file.

        Args:
            filename: local, UTF-8.
            offset_start, offset_end: in bytes, at the beginnings of lines; an end of 0 or less is that of the file.
            report: is told the numbers of lines and bytes of each block.

        Returns:
            The builder, which has written ``output_prefix.bin`` and no index yet, and the counts.
        """
        if offset_end <= 0:
            offset_end = os.path.getsize(filename)
        builder = indexed_dataset.make_builder(output_prefix + ".bin", impl=dataset_impl, vocab_size=vocab_size)
        summary = BinarizeSummary()
        done = offset_start
        for text, num_bytes in (
            read_line_blocks(filename, offset_start, offset_end) if offset_end > offset_start else ()
        ):
            before = summary.num_seq
            try:
                tokens, lengths = binarizer.binarize_lines(text, summary)
            except (ValueError, IndexError) as error:
                raise ValueError(_where(filename, done, text, binarizer, error)) from error
            builder.add_items(tokens, lengths)
            if report is not None:
                report(summary.num_seq - before, num_bytes)
            done += num_bytes
        return builder, summary

    @classmethod
    def _binarize_chunk_and_finalize(
        cls, binarizer: Binarizer, input_file: str, offset_start: int, offset_end: int, output_prefix: str,
        dataset_impl: str, vocab_size: int | None = None, report: Callable[[int, int], None] | None = None,
    ) -> BinarizeSummary:  # fmt: skip
        """``_binarize_file_chunk`` with the index written as well: each process's share of ``multiprocess_dataset``."""
        builder, summary = cls._binarize_file_chunk(
            binarizer, input_file, offset_start, offset_end, output_prefix, dataset_impl, vocab_size,
            **fitting(cls._binarize_file_chunk, report=report),
        )  # fmt: skip
        builder.finalize(output_prefix + ".idx")
        return summary


def _binarize_part(
    cls: type[FileBinarizer],
    binarizer: Binarizer,
    path: str,
    start: int,
    end: int,
    output_prefix: str,
    dataset_impl: str,
    vocab_size: int | None,
    report: Callable[[int, int], None],
) -> BinarizeSummary:
    method = cls._binarize_chunk_and_finalize
    keywords = fitting(method, report=report)
    return method(binarizer, path, start, end, output_prefix, dataset_impl, vocab_size, **keywords)


def _where(path: str, position: int, text: str, binarizer: Binarizer, error: Exception) -> str:
    """Find the line that could not be encoded, by trying them one by one."""
    number = count_lines(path, position)
    for line in split_lines(text):
        number += 1
        try:
            binarizer.binarize_line(line, BinarizeSummary())
        except (ValueError, IndexError) as reason:
            return f"{path}, line {number}: cannot be encoded ({reason}): {line.strip()[:80]!r}"
    return f"{path}, lines up to {number}: cannot be encoded ({error})"


class _OutputFiles:
    """The two files of a dataset while they are being made: under other names, in the folder where they will be.

    Attributes:
        prefixes: where each process writes its part.
    """

    def __init__(self, prefix: str, num_parts: int) -> None:
        self.prefix = prefix
        stem = f"{prefix}.{os.getpid()}.tmp"
        self.whole = stem
        self.prefixes = [stem] if num_parts == 1 else [f"{stem}.pt{i}" for i in range(num_parts)]

    def __enter__(self) -> _OutputFiles:
        return self

    def join(self, dataset_impl: str, vocab_size: int | None) -> None:
        """Put the parts together, in order."""
        if len(self.prefixes) == 1:
            return
        builder = indexed_dataset.make_builder(self.whole + ".bin", impl=dataset_impl, vocab_size=vocab_size)
        for part in self.prefixes:
            builder.merge_file_(part)
            _remove(part)
        builder.finalize(self.whole + ".idx")

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        try:
            if kind is None:
                # Data first: where there is an index, there is all of its data.
                for extension in (".bin", ".idx"):
                    with naming_file(self.prefix + extension):
                        os.replace(self.whole + extension, self.prefix + extension)
        finally:
            # A process that was stopped or killed leaves files of any stage, which begin with a dot while they are
            # written. All have this process's number in their names.
            folder, stem = os.path.split(self.whole)
            for name in os.listdir(folder or "."):
                if name.startswith((stem, f".{stem}")):
                    os.remove(os.path.join(folder, name))


def _remove(prefix: str) -> None:
    for extension in (".bin", ".idx"):
        with contextlib.suppress(FileNotFoundError):
            os.remove(prefix + extension)


class LegacyBinarizer:
    """What plugins written for releases before 0.12 call."""

    @classmethod
    def binarize(
        cls,
        filename: str,
        dico: Dictionary,
        consumer: Callable[[torch.IntTensor], None],
        tokenize: Callable[[str], Sequence[str]] = tokenize_line,
        append_eos: bool = True,
        reverse_order: bool = False,
        offset: int = 0,
        end: int = -1,
        already_numberized: bool = False,
    ) -> dict[str, Any]:
        """Give each line's tensor to ``consumer``.

        Args:
            filename: UTF-8 text.
            dico, tokenize, append_eos, reverse_order, already_numberized: see ``VocabularyDatasetBinarizer``.
            consumer: is called with int32 tensors ``(num_tokens,)``.
            offset: byte position where to begin.
            end: byte position where to stop; 0 or less means the end of the file.

        Returns:
            ``{"nseq", "nunk", "ntok", "replaced"}``: sentences, unknown words, tokens, and a counter of unknown words.
        """
        binarizer = VocabularyDatasetBinarizer(dico, tokenize, append_eos, reverse_order, already_numberized)
        summary = BinarizeSummary()
        for tensor in _tensors(filename, binarizer, summary, offset, end):
            consumer(tensor)
        return {
            "nseq": summary.num_seq,
            "nunk": summary.num_replaced,
            "ntok": summary.num_tok,
            "replaced": summary.replaced,
        }

    @classmethod
    def binarize_alignments(
        cls,
        filename: str,
        alignment_parser: Callable[[str], torch.IntTensor],
        consumer: Callable[[torch.IntTensor], None],
        offset: int = 0,
        end: int = -1,
    ) -> dict[str, int]:
        """As ``binarize``, for alignments. Returns ``{"nseq"}``."""
        summary = BinarizeSummary()
        for tensor in _tensors(filename, AlignmentDatasetBinarizer(alignment_parser), summary, offset, end):
            consumer(tensor)
        return {"nseq": summary.num_seq}


def _tensors(
    filename: str | os.PathLike[str], binarizer: Binarizer, summary: BinarizeSummary, start: int, end: int
) -> Iterator[torch.IntTensor]:
    filename = os.fspath(filename)
    with Chunker(PathManager.get_local_path(filename), start, end) as lines:
        for line in lines:
            yield binarizer.binarize_line(line, summary)
