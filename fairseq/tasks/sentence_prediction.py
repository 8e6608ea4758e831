"""Sentence (or sentence pair) classification and regression."""

import logging
import os
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from fairseq.data import data_utils
from fairseq.data.concat_sentences_dataset import ConcatSentencesDataset
from fairseq.data.dictionary import Dictionary
from fairseq.data.id_dataset import IdDataset
from fairseq.data.nested_dictionary_dataset import NestedDictionaryDataset
from fairseq.data.num_samples_dataset import NumSamplesDataset
from fairseq.data.numel_dataset import NumelDataset
from fairseq.data.offset_tokens_dataset import OffsetTokensDataset
from fairseq.data.pad_dataset import RightPadDataset
from fairseq.data.padding_mask_dataset import RightPaddingMaskDataset
from fairseq.data.prepend_token_dataset import PrependTokenDataset
from fairseq.data.raw_label_dataset import RawLabelDataset
from fairseq.data.roll_dataset import RollDataset
from fairseq.data.shorten_dataset import maybe_shorten_dataset
from fairseq.data.sort_dataset import SortDataset
from fairseq.data.strip_token_dataset import StripTokenDataset
from fairseq.dataclass.configs import II, MISSING, FairseqDataclass
from fairseq.dataclass.constants import ChoiceEnum
from fairseq.dataclass.fields import option
from fairseq.file_io import open_text
from fairseq.tasks import register_task
from fairseq.tasks.fairseq_task import FairseqTask

__all__ = ["SentencePredictionConfig", "SentencePredictionTask"]

SHORTEN_METHOD_CHOICES = ChoiceEnum(["none", "truncate", "random_crop"])

logger = logging.getLogger(__name__)


@dataclass
class SentencePredictionConfig(FairseqDataclass):
    data: str = option(MISSING, "folder with input0, input1 (for pairs) and label, each binarised on its own")
    num_classes: int = option(-1, "number of classes; for regression, of values")
    init_token: Optional[int] = option(None, "token number that every input begins with")
    separator_token: Optional[int] = option(None, "token number put in front of the second input")
    no_shuffle: bool = False
    shorten_method: SHORTEN_METHOD_CHOICES = option(  # type: ignore[valid-type]
        "none", "what to do with inputs longer than --max-positions"
    )
    shorten_data_split_list: str = option("", "splits to shorten, separated by commas; empty for all")
    add_prev_output_tokens: bool = option(False, "give the input, moved by one token, to a decoder as well")
    max_positions: int = option(512, "longest input, in tokens")
    regression_target: bool = II("criterion.regression_target")
    classification_head_name: str = II("criterion.classification_head_name")
    seed: int = II("common.seed")
    d2v2_multi: bool = option(False, "name the inputs as data2vec 2.0 does: source, padding_mask, id")


@register_task("sentence_prediction", dataclass=SentencePredictionConfig)
class SentencePredictionTask(FairseqTask):
    """Classification or regression of sentences and sentence pairs.

    Attributes:
        dictionary: of the inputs.
    """

    cfg: SentencePredictionConfig

    def __init__(self, cfg: SentencePredictionConfig, data_dictionary: Dictionary, label_dictionary: Any) -> None:
        super().__init__(cfg)
        self.dictionary = data_dictionary
        self._label_dictionary = label_dictionary

    @classmethod
    def load_dictionary(cls, filename: str) -> Dictionary:
        """A dictionary with ``<mask>`` at its end."""
        dictionary = Dictionary.load(filename)
        dictionary.add_symbol("<mask>")
        return dictionary

    @classmethod
    def setup_task(cls, cfg: SentencePredictionConfig, **kwargs: Any) -> "SentencePredictionTask":
        """Load the dictionaries.

        Raises:
            AssertionError: no number of classes.
        """
        if not cfg.num_classes > 0:
            raise AssertionError("Must set task.num_classes (--num-classes): the number of classes, above 0")
        dictionary = cls.load_dictionary(os.path.join(cfg.data, "input0", "dict.txt"))
        logger.info("[input] dictionary: %s types", len(dictionary))
        labels: Any = dictionary
        if not cfg.regression_target:
            labels = cls.load_dictionary(os.path.join(cfg.data, "label", "dict.txt"))
            logger.info("[label] dictionary: %s types", len(labels))
        return cls(cfg, dictionary, labels)

    def _part(self, kind: str, split: str, dictionary: Any, combine: bool) -> Any:
        """The data of one folder, shortened; ``None`` if there is none."""
        dataset = data_utils.load_indexed_dataset(os.path.join(self.cfg.data, kind, split), dictionary, combine=combine)
        if dataset is None:
            return None
        return maybe_shorten_dataset(
            dataset,
            split,
            self.cfg.shorten_data_split_list,
            self.cfg.shorten_method,
            self.max_positions(),
            self.cfg.seed,
        )

    def _source(self, split: str, combine: bool) -> Any:
        first = self._part("input0", split, self.source_dictionary, combine)
        if first is None:
            raise FileNotFoundError(f"Dataset not found: {split} ({os.path.join(self.cfg.data, 'input0', split)})")
        second = self._part("input1", split, self.source_dictionary, combine)
        if self.cfg.init_token is not None:
            first = PrependTokenDataset(first, self.cfg.init_token)
        if second is None:
            return first
        if self.cfg.separator_token is not None:
            second = PrependTokenDataset(second, self.cfg.separator_token)
        return ConcatSentencesDataset(first, second)

    def _values(self, split: str, samples: int) -> RawLabelDataset:
        """Targets of a regression, as text: ``num_classes`` numbers per line."""
        path = os.path.join(self.cfg.data, "label", f"{split}.label")
        rows: list[list[float]] = []
        with open_text(path) as file:
            for number, line in enumerate(file, start=1):
                values = line.split()
                if len(values) != self.cfg.num_classes:
                    raise AssertionError(
                        f"{path}, line {number}: expected num_classes={self.cfg.num_classes} regression target values, "
                        f"found: {len(values)}"
                    )
                try:
                    rows.append([float(value) for value in values])
                except ValueError:
                    raise ValueError(f"{path}, line {number}: expected numbers, got {line.strip()!r}") from None
        if len(rows) != samples:
            raise AssertionError(f"{path}: {len(rows)} lines for {samples} inputs")
        return RawLabelDataset(rows)

    def _target(self, split: str, combine: bool, samples: int) -> Any:
        if self.cfg.regression_target:
            path = os.path.join(self.cfg.data, "label", f"{split}.label")
            return self._values(split, samples) if os.path.exists(path) else None
        labels = self._part("label", split, self.label_dictionary, combine)
        if labels is None:
            return None
        if len(labels) != samples:
            path = os.path.join(self.cfg.data, "label", split)
            raise AssertionError(f"{path}: {len(labels)} labels for {samples} inputs")
        # Class 0 is the first entry that is no special symbol; the end of sentence behind each label goes.
        return OffsetTokensDataset(
            StripTokenDataset(labels, id_to_strip=self.label_dictionary.eos()), offset=-self.label_dictionary.nspecial
        )

    def load_dataset(self, split: str, combine: bool = False, **kwargs: Any) -> Any:  # type: ignore[override]
        source = self._source(split, combine)
        with data_utils.numpy_seed(self.cfg.seed):
            shuffle = np.random.permutation(len(source))
        pad = self.source_dictionary.pad()
        padded = RightPadDataset(source, pad_idx=pad)
        net_input: dict[str, Any]
        if self.cfg.d2v2_multi:
            net_input = {"source": padded, "id": IdDataset(), "padding_mask": RightPaddingMaskDataset(source)}
        else:
            net_input = {"src_tokens": padded, "src_lengths": NumelDataset(source, reduce=False)}
            if self.cfg.add_prev_output_tokens:
                net_input["prev_output_tokens"] = RightPadDataset(RollDataset(source, 1), pad_idx=pad)
        definition: dict[str, Any] = {
            "id": IdDataset(),
            "net_input": net_input,
            "nsentences": NumSamplesDataset(),
            "ntokens": NumelDataset(source, reduce=True),
        }
        target = self._target(split, combine, len(source))
        if target is not None:
            definition["target"] = target
        dataset: Any = NestedDictionaryDataset(definition, sizes=[source.sizes])
        if not self.cfg.no_shuffle:
            # Shuffled once: batches are not sorted by length.
            dataset = SortDataset(dataset, sort_order=[shuffle])
        logger.info("Loaded %s with #samples: %s", split, len(dataset))
        self.datasets[split] = dataset
        return dataset

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """Build the model and give it a head for these classes."""
        model = super().build_model(cfg, from_checkpoint)
        model.register_classification_head(self.cfg.classification_head_name, num_classes=self.cfg.num_classes)
        return model

    def max_positions(self) -> int:
        return self.cfg.max_positions

    @property
    def source_dictionary(self) -> Dictionary:
        return self.dictionary

    @property
    def target_dictionary(self) -> Dictionary:
        return self.dictionary

    @property
    def label_dictionary(self) -> Any:
        """The dictionary of the labels; for regression, that of the inputs."""
        return self._label_dictionary
