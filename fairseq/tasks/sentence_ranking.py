"""Ranking: choose the best of several inputs (multiple choice)."""

import logging
import os
from typing import Any

import numpy as np

from fairseq.data import data_utils
from fairseq.data.concat_sentences_dataset import ConcatSentencesDataset
from fairseq.data.dictionary import Dictionary
from fairseq.data.id_dataset import IdDataset
from fairseq.data.nested_dictionary_dataset import NestedDictionaryDataset
from fairseq.data.num_samples_dataset import NumSamplesDataset
from fairseq.data.numel_dataset import NumelDataset
from fairseq.data.pad_dataset import RightPadDataset
from fairseq.data.prepend_token_dataset import PrependTokenDataset
from fairseq.data.raw_label_dataset import RawLabelDataset
from fairseq.data.shorten_dataset import TruncateDataset, maybe_shorten_dataset
from fairseq.data.sort_dataset import SortDataset
from fairseq.file_io import open_text
from fairseq.tasks import register_task
from fairseq.tasks.fairseq_task import LegacyFairseqTask

__all__ = ["SentenceRankingTask"]

logger = logging.getLogger(__name__)


@register_task("sentence_ranking")
class SentenceRankingTask(LegacyFairseqTask):
    """Ranking of ``num_classes`` candidates: folders ``input1`` .. ``inputN``, and ``input0`` for what they share."""

    @staticmethod
    def add_args(parser: Any) -> None:
        """Add the task's options."""
        parser.add_argument("data", metavar="FILE", help="folder with input0 (optional), input1, input2, ... and label")
        parser.add_argument("--num-classes", type=int, help="number of candidates to rank")
        parser.add_argument("--init-token", type=int, help="token number that every input begins with")
        parser.add_argument("--separator-token", type=int, help="token number put in front of the candidates")
        parser.add_argument("--no-shuffle", action="store_true", help="keep the order of the data")
        parser.add_argument(
            "--shorten-method",
            choices=["none", "truncate", "random_crop"],
            help="what to do with inputs longer than --max-positions",
            default="none",
        )
        parser.add_argument(
            "--shorten-data-split-list", default="", help="splits to shorten, separated by commas; empty for all"
        )
        parser.add_argument("--max-option-length", type=int, help="longest candidate, in tokens")

    def __init__(self, args: Any, dictionary: Dictionary) -> None:
        super().__init__(args)
        self.dictionary = dictionary

    @classmethod
    def load_dictionary(cls, args: Any, filename: str, source: bool = True) -> Dictionary:  # type: ignore[override]
        """A dictionary with ``<mask>`` at its end."""
        dictionary = Dictionary.load(filename)
        dictionary.add_symbol("<mask>")
        return dictionary

    @classmethod
    def setup_task(cls, args: Any, **kwargs: Any) -> "SentenceRankingTask":  # type: ignore[override]
        """Load the dictionary.

        Raises:
            AssertionError: another criterion, which could not rank.
        """
        if getattr(args, "criterion", "sentence_ranking") != "sentence_ranking":
            raise AssertionError("Must set --criterion=sentence_ranking")
        dictionary = cls.load_dictionary(args, os.path.join(args.data, "input0", "dict.txt"), source=True)
        logger.info("[input] dictionary: %s types", len(dictionary))
        return cls(args, dictionary)

    def _part(self, kind: str, split: str, combine: bool) -> Any:
        return data_utils.load_indexed_dataset(
            os.path.join(self.args.data, kind, split), self.source_dictionary, combine=combine
        )

    def _candidate(self, shared: Any, candidate: Any, split: str) -> Any:
        """One input to score: candidate, or shared part and candidate."""
        args = self.args
        if args.separator_token is not None:
            candidate = PrependTokenDataset(candidate, args.separator_token)
        if args.max_option_length is not None:
            candidate = TruncateDataset(candidate, args.max_option_length)
        source = candidate if shared is None else ConcatSentencesDataset(shared, candidate)
        if args.init_token is not None:
            source = PrependTokenDataset(source, args.init_token)
        return maybe_shorten_dataset(
            source, split, args.shorten_data_split_list, args.shorten_method, self.max_positions(), args.seed
        )

    def _labels(self, path: str, samples: int) -> list[int]:
        """The right candidate of each sample, from 0, one per line."""
        labels = []
        with open_text(path) as file:
            for number, line in enumerate(file, start=1):
                if not (line.strip().isdecimal() and int(line) < self.args.num_classes):
                    raise ValueError(
                        f"{path}, line {number}: expected the number of a candidate, from 0 to "
                        f"{self.args.num_classes - 1}, got {line.strip()!r}"
                    )
                labels.append(int(line))
        if len(labels) != samples:
            raise ValueError(f"{path}: {len(labels)} lines for {samples} samples")
        return labels

    def load_dataset(self, split: str, combine: bool = False, **kwargs: Any) -> Any:  # type: ignore[override]
        args = self.args
        if not (args.num_classes or 0) > 0:
            raise ValueError("--num-classes has to be given: the number of candidates to rank")
        shared = self._part("input0", split, combine)
        sources = []
        for number in range(1, args.num_classes + 1):
            candidate = self._part(f"input{number}", split, combine)
            if candidate is None:
                path = os.path.join(args.data, f"input{number}", split)
                raise FileNotFoundError(f"Dataset not found: {split} ({path})")
            sources.append(self._candidate(shared, candidate, split))
        with data_utils.numpy_seed(args.seed):
            shuffle = np.random.permutation(len(sources[0]))
        definition: dict[str, Any] = {
            "id": IdDataset(),
            "nsentences": NumSamplesDataset(),
            "ntokens": NumelDataset(sources[0], reduce=True),
        }
        for number, source in enumerate(sources, start=1):
            definition[f"net_input{number}"] = {
                "src_tokens": RightPadDataset(source, pad_idx=self.source_dictionary.pad()),
                "src_lengths": NumelDataset(source, reduce=False),
            }
        path = os.path.join(args.data, "label", f"{split}.label")
        if os.path.exists(path):
            definition["target"] = RawLabelDataset(self._labels(path, len(sources[0])))
        dataset: Any = NestedDictionaryDataset(
            definition, sizes=[np.maximum.reduce([np.asarray(source.sizes) for source in sources])]
        )
        if not args.no_shuffle:
            dataset = SortDataset(dataset, sort_order=[shuffle])
        logger.info("Loaded %s with #samples: %s", split, len(dataset))
        self.datasets[split] = dataset
        return dataset

    def build_model(self, args: Any, from_checkpoint: bool = False) -> Any:
        """Build the model and give it a head that scores one candidate."""
        model = super().build_model(args, from_checkpoint)
        model.register_classification_head(getattr(args, "ranking_head_name", "sentence_classification_head"), 1)
        return model

    def max_positions(self) -> int:
        return self.args.max_positions

    @property
    def source_dictionary(self) -> Dictionary:
        return self.dictionary

    @property
    def target_dictionary(self) -> Dictionary:
        return self.dictionary
