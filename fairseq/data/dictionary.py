"""The vocabulary: words and their indices.

The file format, one entry per line and without the special symbols, is ``TOKEN COUNT [#fairseq:overwrite]``.
"""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from operator import itemgetter
from typing import IO, Any

import torch
from torch import Tensor

from fairseq.data.text_files.token_counts import WordCounts
from fairseq.file_chunker_utils import find_offsets, read_line_blocks, split_lines
from fairseq.file_io import PathManager, atomic_open, open_text, without_mark
from fairseq.tokenizer import tokenize_line

__all__ = ["Dictionary", "TruncatedDictionary"]

OVERWRITE_FLAG = "#fairseq:overwrite"


class Dictionary:
    """A mapping between symbols and consecutive integers.

    Indices 0 to 3 are the begin-of-sentence, padding, end-of-sentence and unknown symbols, in this order; then come
    ``extra_special_symbols`` and then the words.

    Args:
        bos, pad, eos, unk: how the special symbols are spelled.
        extra_special_symbols: further symbols that are never written to the file and keep their place.
        add_special_symbols: without them the dictionary has no ``bos_index`` ... ``unk_index`` and no ``nspecial``.

    Attributes:
        symbols: the symbols by index.
        count: how often each occurred, by index.
        indices: from symbol to index. When a file overwrites a word, two indices carry the same symbol, and this gives
            the later one.
        nspecial: how many symbols are special.
    """

    bos_index: int
    pad_index: int
    eos_index: int
    unk_index: int
    nspecial: int

    def __init__(
        self,
        *,
        bos: str = "<s>",
        pad: str = "<pad>",
        eos: str = "</s>",
        unk: str = "<unk>",
        extra_special_symbols: Sequence[str] | None = None,
        add_special_symbols: bool = True,
    ) -> None:
        self.bos_word, self.pad_word, self.eos_word, self.unk_word = bos, pad, eos, unk
        self.symbols: list[str] = []
        self.count: list[int] = []
        self.indices: dict[str, int] = {}
        if add_special_symbols:
            self.bos_index = self.add_symbol(bos)
            self.pad_index = self.add_symbol(pad)
            self.eos_index = self.add_symbol(eos)
            self.unk_index = self.add_symbol(unk)
            for symbol in extra_special_symbols or ():
                self.add_symbol(symbol)
            self.nspecial = len(self.symbols)

    # -- looking up

    def __eq__(self, other: object) -> bool:
        """Same symbols at the same indices; counts do not matter."""
        return isinstance(other, Dictionary) and self.indices == other.indices

    def __getitem__(self, idx: int) -> str:
        return self.symbols[idx] if idx < len(self.symbols) else self.unk_word

    def __len__(self) -> int:
        return len(self.symbols)

    def __contains__(self, sym: object) -> bool:
        return sym in self.indices

    def get_count(self, idx: int) -> int:
        """How often the symbol of an index occurred."""
        return self.count[idx]

    def index(self, sym: str) -> int:
        """The index of a symbol; of the unknown symbol if there is none.

        Raises:
            AssertionError: ``sym`` is not a string.
        """
        if not isinstance(sym, str):
            raise AssertionError(f"a dictionary is asked for strings, got {type(sym).__name__}: {sym!r}")
        found = self.indices.get(sym)
        return self.unk_index if found is None else found

    def bos(self) -> int:
        """Index of the begin-of-sentence symbol."""
        return self.bos_index

    def pad(self) -> int:
        """Index of the padding symbol."""
        return self.pad_index

    def eos(self) -> int:
        """Index of the end-of-sentence symbol."""
        return self.eos_index

    def unk(self) -> int:
        """Index of the unknown symbol."""
        return self.unk_index

    def unk_string(self, escape: bool = False) -> str:
        """The unknown symbol, in a second pair of angle brackets when it must not equal the symbol in a reference."""
        return f"<{self.unk_word}>" if escape else self.unk_word

    # -- from indices to text

    def string(
        self,
        tensor: Any,
        bpe_symbol: str | None = None,
        escape_unk: bool = False,
        extra_symbols_to_ignore: Iterable[int] | None = None,
        unk_string: str | None = None,
        include_eos: bool = False,
        separator: str = " ",
    ) -> str:
        """Write a sequence of indices as text.

        Args:
            tensor: indices ``(length,)``; or ``(batch, length)``, which gives one line of text per row (then
                ``unk_string`` and ``separator`` have no effect).
            bpe_symbol: how to join word pieces, see ``post_process`` in ``fairseq.data.data_utils``.
            escape_unk: write unknown words as ``<<unk>>``.
            extra_symbols_to_ignore: indices to leave out, besides begin and end of sentence. Padding is not left out.
            unk_string: write unknown words like this.
            include_eos: keep the end-of-sentence symbol.
            separator: between tokens.
        """
        if isinstance(tensor, Tensor) and tensor.dim() == 2:
            return "\n".join(
                self.string(row, bpe_symbol, escape_unk, extra_symbols_to_ignore, include_eos=include_eos)
                for row in tensor
            )
        indices = tensor.tolist() if hasattr(tensor, "tolist") else [int(i) for i in tensor]
        ignored = set(extra_symbols_to_ignore or ())
        if not include_eos:
            ignored.add(self.eos())
        if hasattr(self, "bos_index"):
            ignored.add(self.bos())
        unk, unknown = self.unk(), self.unk_string(escape_unk) if unk_string is None else unk_string
        sentence = separator.join(unknown if i == unk else self[i] for i in indices if i not in ignored)
        if bpe_symbol is None:
            return sentence
        from fairseq.data.data_utils import post_process

        return post_process(sentence, bpe_symbol)

    # -- from text to indices

    def encode_line(
        self,
        line: str,
        line_tokenizer: Callable[[str], Sequence[str]] = tokenize_line,
        add_if_not_exist: bool = True,
        consumer: Callable[[str, int], None] | None = None,
        append_eos: bool = True,
        reverse_order: bool = False,
    ) -> torch.IntTensor:
        """Turn a line of text into indices.

        Args:
            line: the text.
            line_tokenizer: splits it into words.
            add_if_not_exist: add unknown words to this dictionary, and count all words in it.
            consumer: called with each word and its index.
            append_eos: end with the end-of-sentence index.
            reverse_order: last word first.

        Returns:
            int32, ``(num_words + 1,)``, or ``(num_words,)`` without the end of sentence.
        """
        words = line_tokenizer(line)
        if reverse_order:
            words = list(reversed(words))
        look_up = self.add_symbol if add_if_not_exist else self.index
        indices = []
        for word in words:
            index = look_up(word)
            if consumer is not None:
                consumer(word, index)
            indices.append(index)
        if append_eos:
            indices.append(self.eos_index)
        return torch.IntTensor(indices)

    def dummy_sentence(self, length: int) -> Tensor:
        """Random words (no special symbols) and an end-of-sentence index; int64, ``(length,)``."""
        sentence = torch.empty(length).uniform_(self.nspecial + 1, len(self)).long()
        sentence[-1] = self.eos()
        return sentence

    # -- building

    def add_symbol(self, word: str, n: int = 1, overwrite: bool = False) -> int:
        """Add ``n`` occurrences of a word and return its index.

        Args:
            word: the symbol.
            n: how often it occurred.
            overwrite: give a known word a new index; the old one keeps its symbol.
        """
        known = None if overwrite else self.indices.get(word)
        if known is not None:
            self.count[known] += n
            return known
        index = len(self.symbols)
        self.indices[word] = index
        self.symbols.append(word)
        self.count.append(n)
        return index

    def update(self, new_dict: Dictionary) -> None:
        """Add the words and counts of another dictionary; new words come in its order."""
        for word in new_dict.symbols:
            self.add_symbol(word, new_dict.count[new_dict.indices[word]])

    def finalize(self, threshold: int = -1, nwords: int = -1, padding_factor: int = 8) -> None:
        """Sort words by frequency and drop the rare ones. Special symbols keep their places.

        Words of the same frequency are sorted by their characters' code points, so that the result depends on the
        counts alone.

        Args:
            threshold: the least count a word needs.
            nwords: how many symbols to keep, special ones included; zero or less means all.
            padding_factor: add filler words until the length is a multiple of this (GPUs like multiples of 8).
        """
        special = self.nspecial
        words = sorted(dict(sorted(zip(self.symbols[special:], self.count[special:], strict=True))).items())
        words.sort(key=itemgetter(1), reverse=True)  # stable, also in reverse: ties stay in order of their characters
        if nwords > 0:
            words = words[: max(0, nwords - special)]
        kept = [entry for entry in words if entry[1] >= threshold]
        self.symbols = self.symbols[:special] + [word for word, _ in kept]
        self.count = self.count[:special] + [count for _, count in kept]
        self.indices = {word: index for index, word in enumerate(self.symbols)}
        self.pad_to_multiple_(padding_factor)

    def pad_to_multiple_(self, padding_factor: int) -> None:
        """Add filler words (``madeupword0000``, ...) until the length is a multiple; 1 or less changes nothing."""
        number = 0
        while padding_factor > 1 and len(self) % padding_factor:
            self.add_symbol(f"madeupword{number:04d}", n=0)
            number += 1

    @staticmethod
    def add_file_to_dictionary(
        filename: str, dict: Dictionary, tokenize: Callable[[str], Sequence[str]], num_workers: int
    ) -> None:
        """Count the words of a text file into a dictionary, and one end-of-sentence symbol per line.

        Args:
            filename: UTF-8 text.
            dict: where to.
            tokenize: splits a line into words.
            num_workers: how many processes share the work. The counts do not depend on it.

        Raises:
            FileNotFoundError: there is no such file.
            UnicodeDecodeError: it is not UTF-8; the message has the line.
        """
        from fairseq.data.text_files.parallel_lines import run_in_parallel

        path = PathManager.get_local_path(filename)
        offsets = find_offsets(path, num_workers)
        parts = [(path, tokenize, dict.eos_word, *span) for span in pairwise(offsets)]
        for counts in run_in_parallel(count_words, parts, f"counting {filename}", offsets[-1]):
            # Sorted, so that indices do not depend on the order in which words were met.
            for word, count in sorted(counts.items()):
                dict.add_symbol(word, count)

    # -- files

    @classmethod
    def load(cls, f: str | os.PathLike[str] | IO[str], add_special_symbols: bool = True) -> Dictionary:
        """Read a dictionary.

        Args:
            f: a path, or an open text file.
            add_special_symbols: start with the special symbols.

        Raises:
            ValueError: a line is not a token and a count.
            RuntimeError: a word occurs twice and is not marked to overwrite.
            Exception: the file is not UTF-8.
        """
        # Subclasses with a constructor of their own need not know the option.
        d = cls() if add_special_symbols else cls(add_special_symbols=False)
        d.add_from_file(f)
        return d

    def add_from_file(self, f: str | os.PathLike[str] | IO[str]) -> None:
        """Append the entries of a dictionary file; see ``load``."""
        name = ""
        if isinstance(f, (str, os.PathLike)):
            name = os.fspath(f)
            try:
                with open_text(name) as file:
                    lines = file.readlines()
            except UnicodeError as error:
                raise Exception(
                    f"Incorrect encoding detected in {name}, please rebuild the dataset{_undecodable(name)}"
                ) from error
        else:
            lines = list(without_mark(f.readlines(), str(getattr(f, "name", "the dictionary"))))
        first = self._load_meta(lines)
        for number, line in enumerate(lines[first:], start=first + 1):
            self._add_entry(line, f" ({name}, line {number})" if name else f" (line {number})")

    def _add_entry(self, line: str, where: str) -> None:
        try:
            word, field = line.rstrip().rsplit(" ", 1)
            overwrite = field == OVERWRITE_FLAG
            if overwrite:
                word, field = word.rsplit(" ", 1)
            count = int(field)
        except ValueError:
            raise ValueError(
                f"Incorrect dictionary format, expected '<token> <cnt> [flags]': \"{line.rstrip()}\"{where}"
            ) from None
        if word in self.indices and not overwrite:
            raise RuntimeError(
                f"Duplicate word found when loading Dictionary: '{word}'{where}. Duplicate words can overwrite earlier "
                f"ones by adding the {OVERWRITE_FLAG} flag at the end of their line. With the Camembert model: its "
                "files were corrected, fetch them again."
            )
        self.add_symbol(word, n=count, overwrite=overwrite)

    def save(self, f: str | os.PathLike[str] | IO[str]) -> None:
        """Write the dictionary without its special symbols.

        Loading the file gives the same symbols at the same indices: words that overwrite an earlier one are marked.

        Args:
            f: a path (its folder is made), or a text file open for writing. In an ``io.StringIO`` the marks are left
                out: recorded outputs compare this text, and upstream never writes marks.
        """
        keys, values = self._get_meta()
        # Without special symbols there is no number of them either.
        first = getattr(self, "nspecial", 0)
        words = self.symbols[first:]
        counts: Sequence[Any] = self.count[first:]
        if not isinstance(f, io.StringIO):
            counts = self._marked(first, words, counts)
        self._save(f, zip([*keys, *words], [*values, *counts], strict=True))

    def _marked(self, first: int, words: Sequence[str], counts: Sequence[int]) -> Sequence[Any]:
        """The counts, with the mark behind those of words that are known by then."""
        if len(self.indices) == len(self.symbols):
            return counts
        known = set(self.symbols[:first])
        marked: list[Any] = []
        for word, count in zip(words, counts, strict=True):
            marked.append(f"{count} {OVERWRITE_FLAG}" if word in known else count)
            known.add(word)
        return marked

    def _save(self, f: Any, kv_iterator: Iterable[tuple[Any, Any]]) -> None:
        """Write pairs, one per line. Subclasses that keep more in the file call it, too."""
        if isinstance(f, (str, os.PathLike)):
            with atomic_open(os.fspath(f)) as file:
                return self._save(file, kv_iterator)
        for number, (key, value) in enumerate(kv_iterator):
            # A word that begins with the character of a byte-order mark is kept by a mark before it.
            mark = "\ufeff" if number == 0 and str(key).startswith("\ufeff") else ""
            f.write(f"{mark}{key} {value}\n")

    def _get_meta(self) -> tuple[list[Any], list[Any]]:
        """Hook: keys and values that a subclass writes before the words."""
        return [], []

    def _load_meta(self, lines: list[str]) -> int:
        """Hook: a subclass reads what it wrote before the words. Returns the index of the first word's line."""
        return 0


def _undecodable(path: str) -> str:
    """Which line of a file is not UTF-8, as the end of a message."""
    with PathManager.open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return f" (line {number} is not UTF-8: {error.reason})"
    return ""


def count_words(
    path: str,
    tokenize: Callable[[str], Sequence[str]],
    eos_word: str,
    start: int,
    end: int,
    report: Callable[[int, int], None],
) -> Counter[str]:
    """Count the words between two positions of a file, and its lines under ``eos_word``.

    ``report`` is called with the numbers of lines and bytes done since the last call.
    """
    counts: Counter[str] = Counter()
    if start == end:
        return counts
    plain, num_sentences = WordCounts(), 0
    for text, num_bytes in read_line_blocks(path, start, end):
        num_lines = text.count("\n") + (not text.endswith("\n"))
        if tokenize is tokenize_line:
            # A line end is white space too, so the lines need not be taken apart.
            plain.add(text)
        else:
            for line in split_lines(text):
                counts.update(tokenize(line))
        num_sentences += num_lines
        report(num_lines, num_bytes)
    counts.update(plain.total())
    counts[eos_word] += num_sentences
    return counts


class TruncatedDictionary(Dictionary):
    """The first symbols of another dictionary; everything else is that dictionary's.

    Args:
        wrapped_dict: the dictionary.
        length: how many symbols to keep. Reading beyond them gives ``wrapped_dict.unk()``, the index.
    """

    def __init__(self, wrapped_dict: Dictionary, length: int) -> None:
        self.wrapped_dict = wrapped_dict
        self.length = min(len(wrapped_dict), length)

    def __getattr__(self, name: str) -> Any:
        # Only asked for what this object lacks: the tables, the special indices, and what a subclass adds.
        if name == "wrapped_dict" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.wrapped_dict, name)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, i: int) -> Any:
        return self.wrapped_dict[i] if i < self.length else self.wrapped_dict.unk()
