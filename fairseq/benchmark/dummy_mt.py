"""Made-up sentence pairs."""

import logging
from typing import Any

import torch

from fairseq.benchmark.dummy_dataset import DummyDataset, batch_of_rows, make_dictionary, rows_of_a_batch
from fairseq.data.dictionary import Dictionary
from fairseq.tasks import register_task
from fairseq.tasks.fairseq_task import LegacyFairseqTask

__all__ = ["DummyDataset", "DummyMTTask"]

logger = logging.getLogger(__name__)


@register_task("dummy_mt")
class DummyMTTask(LegacyFairseqTask):
    """Every batch is the same pair of rows of ascending tokens, over and over.

    Attributes:
        dictionary: of both sides: ``word0``, ``word1``, ...
        dummy_src, dummy_tgt: the rows, ``(src_len + 1,)`` and ``(tgt_len + 1,)``.
    """

    def __init__(self, args: Any, dictionary: Dictionary) -> None:
        super().__init__(args)
        self.dictionary = dictionary
        self.seed = args.seed
        longest = max(args.src_len, args.tgt_len)
        if longest + dictionary.eos() >= len(dictionary):
            raise ValueError(
                f"sentences of {longest} tokens need as many different ones: --dict-size {args.dict_size} is too small"
            )
        self.dummy_src, self.dummy_tgt = (
            torch.arange(length + 1) + dictionary.eos() for length in (args.src_len, args.tgt_len)
        )

    @staticmethod
    def add_args(parser: Any) -> None:
        """Add the options of the task."""
        parser.add_argument("--dict-size", default=49996, type=int, help="words of the dictionary")
        parser.add_argument("--dataset-size", default=100000, type=int, help="pairs of an epoch")
        parser.add_argument("--src-len", default=30, type=int, help="tokens of every source")
        parser.add_argument("--tgt-len", default=30, type=int, help="tokens of every target")

    @classmethod
    def setup_task(cls, args: Any, **kwargs: Any) -> "DummyMTTask":  # type: ignore[override]
        dictionary = make_dictionary(args.dict_size)
        logger.info("dictionary: %s types", len(dictionary))
        return cls(args, dictionary)

    def load_dataset(self, split: str, epoch: int = 1, combine: bool = False, **kwargs: Any) -> None:  # type: ignore[override]
        args = self.args
        longest = max(args.src_len, args.tgt_len)
        rows = rows_of_a_batch(args.batch_size, args.max_tokens, longest)
        previous = self.dummy_tgt.repeat(rows, 1)
        batch = batch_of_rows(
            self.dummy_src, self.dummy_tgt, rows, args.src_len, args.tgt_len, prev_output_tokens=previous
        )
        self.datasets[split] = DummyDataset(batch, args.dataset_size, longest)

    @property
    def source_dictionary(self) -> Dictionary:
        return self.dictionary

    @property
    def target_dictionary(self) -> Dictionary:
        return self.dictionary
