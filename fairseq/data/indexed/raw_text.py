"""Plain text as a dataset: all of it is encoded when it is opened."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from fairseq.data.dictionary import Dictionary
from fairseq.data.fairseq_dataset import FairseqDataset
from fairseq.data.text_files.encode_lines import encode_lines, is_plain
from fairseq.file_chunker_utils import read_line_blocks, split_lines
from fairseq.file_io import PathManager
from fairseq.tokenizer import tokenize_line

__all__ = ["IndexedRawTextDataset"]


class IndexedRawTextDataset(FairseqDataset):
    """The lines of a text file: as text and as int64 tensors ``(num_tokens,)``. Both are held in memory.

    Args:
        path: UTF-8 text, one sentence per line.
        dictionary: what to encode with; unknown words become the unknown symbol.
        append_eos: end each sentence with the end-of-sentence index.
        reverse_order: last word first.

    Attributes:
        lines: the text without line ends.
        tokens_list: the tensors.
        sizes: tokens per line, ``(num_lines,)``, int64.
    """

    def __init__(self, path: str, dictionary: Dictionary, append_eos: bool = True, reverse_order: bool = False) -> None:
        super().__init__()
        self.tokens_list: list[torch.Tensor] = []
        self.lines: list[str] = []
        self.sizes: Any = np.zeros(0, dtype=np.int64)
        self.append_eos = append_eos
        self.reverse_order = reverse_order
        self.read_data(path, dictionary)

    def read_data(self, path: str, dictionary: Dictionary) -> None:
        """Read and encode the file."""
        options: dict[str, Any] = {"append_eos": self.append_eos, "reverse_order": self.reverse_order}
        for text, _ in read_line_blocks(path):
            lines = split_lines(text)
            self.lines += [line.strip("\n") for line in lines]
            if is_plain(dictionary, tokenize_line):
                encoded = encode_lines(lines, dictionary, **options)
                self.tokens_list += torch.from_numpy(encoded.tokens).split(encoded.lengths.tolist())
            else:
                self.tokens_list += [
                    dictionary.encode_line(line, add_if_not_exist=False, **options).long() for line in lines
                ]
        self.sizes = np.array([len(tokens) for tokens in self.tokens_list], dtype=np.int64)

    def check_index(self, i: int) -> None:
        """Refuse an index outside of ``[0, len(self))``.

        Raises:
            IndexError: always the same text, ``index out of range``.
        """
        if i < 0 or i >= len(self.tokens_list):
            raise IndexError("index out of range")

    def __del__(self) -> None:
        # Subclasses outside call it. Whole texts are held here: do not wait for the cycle collector.
        self.lines, self.tokens_list = [], []

    def __getitem__(self, i: int) -> torch.Tensor:
        self.check_index(i)
        return self.tokens_list[i]

    def get_original_text(self, i: int) -> str:
        """A line as it stands in the file."""
        self.check_index(i)
        return self.lines[i]

    def __len__(self) -> int:
        return len(self.tokens_list)

    def num_tokens(self, index: int) -> int:
        """Tokens of a line, as the batching counts them."""
        return self.sizes[index]

    def size(self, index: int) -> int:
        """Size of a line, as the length filters count it."""
        return self.sizes[index]

    @staticmethod
    def exists(path: str) -> bool:
        """Whether there is such a file."""
        return PathManager.exists(path)
