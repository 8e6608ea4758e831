"""Classification as a task: dictionaries, data, and what a batch looks like.

A task answers four questions: which options does it have (``add_args``), what must be loaded before a model can be
built (``setup_task``), where does the data of a split come from (``load_dataset``), and which vocabularies do model and
criterion see (``source_dictionary``, ``target_dictionary``).

Data folder: ``dict.input.txt`` and ``dict.label.txt`` (one symbol and its count per line), and for each split
``SPLIT.input`` (letters separated by spaces) and ``SPLIT.label`` (one label per line). ``write_dictionaries`` makes the
dictionaries from the training split if they are not there.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fairseq.data import Dictionary, LanguagePairDataset, ListDataset
from fairseq.tasks import LegacyFairseqTask, register_task

__all__ = ["SimpleClassificationTask", "write_dictionaries"]


def read_lines(path: str) -> list[str]:
    """The lines of a text file.

    Raises:
        FileNotFoundError: naming the file, and what it should hold.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such file; a split needs SPLIT.input and SPLIT.label, line for line")
    with open(path, encoding="utf-8") as file:
        return [line.strip() for line in file]


def write_dictionaries(folder: str) -> None:
    """Count the symbols of the training split and write both dictionaries."""
    for kind in ("input", "label"):
        dictionary = Dictionary()
        for line in read_lines(os.path.join(folder, f"train.{kind}")):
            for symbol in line.split():
                dictionary.add_symbol(symbol)
        dictionary.finalize(padding_factor=1)
        dictionary.save(os.path.join(folder, f"dict.{kind}.txt"))


@register_task("simple_classification")
class SimpleClassificationTask(LegacyFairseqTask):
    """One label per sequence. The label is written as a target of length one, so any encoder-decoder loss fits."""

    @staticmethod
    def add_args(parser: ArgumentParser) -> None:
        """Declare the task's options."""
        parser.add_argument("data", metavar="FOLDER", help="folder with the splits and dictionaries")
        parser.add_argument("--max-positions", default=1024, type=int, help="longest sequence, in symbols")

    @classmethod
    def setup_task(cls, args: Namespace, **kwargs: Any) -> SimpleClassificationTask:
        """Load the dictionaries (made from the training split at first use)."""
        paths = {kind: Path(args.data) / f"dict.{kind}.txt" for kind in ("input", "label")}
        if not all(path.exists() for path in paths.values()):
            write_dictionaries(args.data)
        symbols, labels = (Dictionary.load(str(paths[kind])) for kind in ("input", "label"))
        print(f"| [input] dictionary: {len(symbols)} types")
        print(f"| [label] dictionary: {len(labels)} types")
        return cls(args, symbols, labels)

    def __init__(self, args: Namespace, input_vocab: Dictionary, label_vocab: Dictionary) -> None:
        super().__init__(args)
        self.input_vocab = input_vocab
        self.label_vocab = label_vocab

    def encode(self, text: str) -> Tensor:
        """Letters separated by spaces -> indices, without an end symbol."""
        return self.input_vocab.encode_line(text, add_if_not_exist=False, append_eos=False).long()

    def load_dataset(self, split: str, epoch: int = 1, combine: bool = False, **kwargs: Any) -> None:
        """Read one split into ``self.datasets[split]``.

        Raises:
            ValueError: the two files have different numbers of lines, or a label is not in the dictionary.
        """
        prefix = os.path.join(self.args.data, split)
        names = [self.encode(line) for line in read_lines(f"{prefix}.input")]
        labels = [self._label(label, f"{prefix}.label:{n}") for n, label in enumerate(read_lines(f"{prefix}.label"), 1)]
        if len(names) != len(labels):
            raise ValueError(f"{prefix}.input has {len(names):,} lines but {prefix}.label has {len(labels):,}")
        print(f"| {self.args.data} {split} {len(names)} examples")
        sizes = [len(name) for name in names]
        self.datasets[split] = LanguagePairDataset(
            src=ListDataset(names, sizes),
            src_sizes=sizes,
            src_dict=self.input_vocab,
            tgt=ListDataset(labels, [1] * len(labels)),
            tgt_sizes=[1] * len(labels),
            tgt_dict=self.label_vocab,
            left_pad_source=False,
            # The label does not depend on earlier labels: there is nothing to feed back.
            input_feeding=False,
        )

    def _label(self, label: str, where: str) -> Tensor:
        if label not in self.label_vocab:
            raise ValueError(f"{where}: label {label!r} is not in dict.label.txt")
        return torch.tensor([self.label_vocab.index(label)])

    def max_positions(self) -> tuple[int, int]:
        """Longest input and longest target, in symbols."""
        return self.args.max_positions, 1

    @property
    def source_dictionary(self) -> Dictionary:
        """Letters."""
        return self.input_vocab

    @property
    def target_dictionary(self) -> Dictionary:
        """Languages."""
        return self.label_vocab
