"""Language modelling over several languages, one subfolder each, sampled by their sizes."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np
import torch

from fairseq.data.concat_dataset import ConcatDataset
from fairseq.data.data_utils import numpy_seed
from fairseq.data.dictionary import Dictionary, TruncatedDictionary
from fairseq.data.indexed_dataset import get_available_dataset_impl
from fairseq.data.monolingual_dataset import MonolingualDataset
from fairseq.data.resampling_dataset import ResamplingDataset
from fairseq.data.shorten_dataset import maybe_shorten_dataset
from fairseq.data.sort_dataset import SortDataset
from fairseq.data.token_block_dataset import TokenBlockDataset
from fairseq.dataclass.configs import II, FairseqDataclass
from fairseq.dataclass.constants import ChoiceEnum
from fairseq.dataclass.fields import option
from fairseq.file_io import open_text
from fairseq.tasks import register_task
from fairseq.tasks._text_data import folder_of_epoch, load_dictionary_of, load_split
from fairseq.tasks.language_modeling import (
    LanguageModelingTask,
    chosen_targets,
    continue_prefix,
    sentences_for_inference,
)

__all__ = ["MultilingualLanguageModelingConfig", "MultilingualLanguageModelingTask", "lang_token"]

SAMPLE_BREAK_MODE_CHOICES = ChoiceEnum(["none", "complete", "complete_doc", "eos"])
SHORTEN_METHOD_CHOICES = ChoiceEnum(["none", "truncate", "random_crop"])

logger = logging.getLogger(__name__)


def lang_token(lang: str) -> str:
    """The token that begins text of a language."""
    return f"<{lang}>"


@dataclass
class MultilingualLanguageModelingConfig(FairseqDataclass):
    data: Optional[str] = option(None, "folders with a subfolder per language, separated by colons; epochs take turns")
    sample_break_mode: SAMPLE_BREAK_MODE_CHOICES = option(  # type: ignore[valid-type]
        "none",
        "where a sample ends: none: after --tokens-per-sample tokens; complete: after the last sentence that fits; "
        "complete_doc: the same, and at the end of a document; eos: after every sentence",
    )
    tokens_per_sample: int = option(1024, "tokens of a sample at most")
    output_dictionary_size: int = option(-1, "predict only the first so many words, others as unknown; -1 for all")
    self_target: bool = option(False, "predict the token itself")
    future_target: bool = option(False, "predict the next token (the default)")
    past_target: bool = option(False, "predict the previous token")
    add_bos_token: bool = option(False, "begin samples with the token of their language")
    max_source_positions: Optional[int] = option(None, "longest input, in tokens; longer samples are no data")
    max_target_positions: Optional[int] = option(None, "longest sample, in tokens")
    pad_to_fixed_length: Optional[bool] = option(False, "pad all batches to --tokens-per-sample")
    pad_to_fixed_bsz: Optional[bool] = option(False, "pad all batches to the same number of rows")
    multilang_sampling_alpha: Optional[float] = option(
        1.0, "languages are drawn with a probability proportional to their size to this power"
    )
    shorten_method: SHORTEN_METHOD_CHOICES = option(  # type: ignore[valid-type]
        "none", "what to do with sentences longer than --tokens-per-sample"
    )
    shorten_data_split_list: str = option("", "splits to shorten, separated by commas; empty for all")
    langs: str = option("", "languages, separated by commas; empty for all subfolders")
    baseline_model_langs: str = option("", "languages that the baseline model knows, in its order")
    baseline_model: str = option("", "not available: name the languages of the earlier model instead")
    lang_to_offline_shard_ratio: str = option(
        "", "file of LANGUAGE<TAB>RATIO lines: which part of a language's data the folders hold"
    )
    seed: int = II("common.seed")
    dataset_impl: Optional[ChoiceEnum(get_available_dataset_impl())] = II("dataset.dataset_impl")  # type: ignore[valid-type]
    data_buffer_size: int = II("dataset.data_buffer_size")
    tpu: bool = II("common.tpu")
    batch_size: Optional[int] = II("dataset.batch_size")
    batch_size_valid: Optional[int] = II("dataset.batch_size_valid")
    train_subset: str = II("common.train_subset")
    valid_subset: str = II("common.valid_subset")


def _languages(args: Any, folder: str) -> list[str]:
    """The languages of a run: those named, or one per subfolder."""
    if args.langs:
        return args.langs.split(",")
    return sorted(name for name in os.listdir(folder) if os.path.isdir(os.path.join(folder, name)))


@register_task("multilingual_language_modeling", dataclass=MultilingualLanguageModelingConfig)
class MultilingualLanguageModelingTask(LanguageModelingTask):
    """A language model over several languages with one dictionary, to which a token per language is added."""

    @classmethod
    def setup_dictionary(cls, args: Any, **kwargs: Any) -> tuple[Any, Any]:
        if not args.data:
            return None, None
        if args.baseline_model:
            raise ValueError("--baseline-model is not available; use --baseline-model-langs and --restore-file")
        dictionary = load_dictionary_of(cls, args.data)
        # Languages of an earlier model keep their numbers, new ones follow.
        known = args.baseline_model_langs.split(",") if args.baseline_model_langs else []
        new = [language for language in _languages(args, folder_of_epoch(args.data, 1)) if language not in known]
        for language in (*known, *sorted(new)):
            dictionary.add_symbol(lang_token(language))
        logger.info("dictionary: %s types", len(dictionary))
        output: Any = dictionary
        if args.output_dictionary_size >= 0:
            output = TruncatedDictionary(dictionary, args.output_dictionary_size)
        return dictionary, output

    @classmethod
    def setup_task(cls, args: Any, **kwargs: Any) -> "MultilingualLanguageModelingTask":  # type: ignore[override]
        dictionary, output_dictionary = cls.setup_dictionary(args, **kwargs)
        return cls(args, dictionary, output_dictionary, targets=chosen_targets(args))

    def _first_of(self, language: str) -> int:
        if getattr(self.args, "add_bos_token", False):
            return self.dictionary.index(lang_token(language))
        return self.dictionary.eos()

    def _language_data(self, language: str, folder: str, split: str, combine: bool) -> MonolingualDataset:
        args = self.args
        sentences, _ = load_split(os.path.join(folder, language), split, self.dictionary, args.dataset_impl, combine)
        sentences = maybe_shorten_dataset(
            sentences, split, args.shorten_data_split_list, args.shorten_method, args.tokens_per_sample, args.seed
        )
        blocks = TokenBlockDataset(
            sentences,
            sentences.sizes,
            args.tokens_per_sample,
            pad=self.dictionary.pad(),
            eos=self.dictionary.eos(),
            break_mode=args.sample_break_mode,
            include_targets=True,
        )
        rows = (args.batch_size_valid if "valid" in split else args.batch_size) if args.pad_to_fixed_bsz else None
        token = self.dictionary.index(lang_token(language))
        return MonolingualDataset(
            blocks,
            blocks.sizes,
            self.dictionary,
            self.output_dictionary,
            add_eos_for_other_targets=args.sample_break_mode is not None and args.sample_break_mode != "none",
            shuffle=True,
            targets=self.targets,
            add_bos_token=args.add_bos_token,
            fixed_pad_length=args.tokens_per_sample if args.pad_to_fixed_length else None,
            pad_to_bsz=rows,
            src_lang_idx=token,
            tgt_lang_idx=token,
        )

    def _shard_ratios(self, languages: Sequence[str]) -> dict[str, float]:
        """The part of each language's data that is at hand; 1 where nothing is said."""
        ratios = dict.fromkeys(languages, 1.0)
        path = self.args.lang_to_offline_shard_ratio
        if path:
            with open_text(path) as file:
                for number, line in enumerate(file, start=1):
                    fields = line.split()
                    if len(fields) != 2:
                        raise ValueError(f"{path}, line {number}: expected LANGUAGE<TAB>RATIO, got {line!r}")
                    ratios[fields[0]] = float(fields[1])
        return ratios

    def _sampled(self, languages: Sequence[str], parts: list[Any], epoch: int) -> list[Any]:
        """Each language's data, as much of it per epoch as its probability asks for."""
        ratios = self._shard_ratios(languages)
        sizes = np.array([len(part) / ratios[language] for language, part in zip(languages, parts)], dtype=float)
        wanted = (sizes / sizes.sum()) ** float(self.args.multilang_sampling_alpha)
        wanted = wanted / wanted.sum() * sum(len(part) for part in parts)
        logger.info("samples per epoch by language: %s", {n: round(float(w)) for n, w in zip(languages, wanted)})
        return [
            ResamplingDataset(
                part,
                size_ratio=float(want) / len(part),
                seed=self.args.seed,
                epoch=epoch,
                replace=want >= len(part),
            )
            for part, want in zip(parts, wanted)
        ]

    def load_dataset(self, split: str, epoch: int = 1, combine: bool = False, **kwargs: Any) -> Any:  # type: ignore[override]
        folder = folder_of_epoch(self.args.data, epoch)
        languages = _languages(self.args, folder)
        if not languages:
            raise FileNotFoundError(f"{folder} has no subfolder per language; or name them with --langs")
        parts: list[Any] = [self._language_data(language, folder, split, combine) for language in languages]
        # The option train_subset refers to a setting that no configuration has, so the name has to do.
        if split.startswith("train"):
            if self.args.multilang_sampling_alpha != 1.0 or self.args.lang_to_offline_shard_ratio:
                parts = self._sampled(languages, parts, epoch)
        else:
            for language, part in zip(languages, parts):
                self.datasets[f"{split}_{language}"] = part
        dataset = ConcatDataset(parts)
        with numpy_seed(self.args.seed + epoch):
            shuffle = np.random.permutation(len(dataset))
        self.datasets[split] = SortDataset(dataset, sort_order=[shuffle, dataset.sizes])
        return self.datasets[split]

    def build_dataset_for_inference(  # type: ignore[override]
        self, src_tokens: Sequence[torch.Tensor], src_lengths: Sequence[int], language: str = "en_XX", **kwargs: Any
    ) -> Any:
        """Typed beginnings of text of a language."""
        return sentences_for_inference(self.source_dictionary, self._first_of(language), src_tokens, src_lengths)

    def inference_step(  # type: ignore[override]
        self,
        generator: Any,
        models: Sequence[Any],
        sample: Any,
        language: str = "en_XX",
        prefix_tokens: Any = None,
        constraints: Any = None,
    ) -> Any:
        """Generate continuations in a language."""
        return continue_prefix(generator, models, sample, prefix_tokens, constraints, self._first_of(language))

    def max_positions(self) -> Optional[int]:
        """The longest sample that the options allow; ``None`` leaves it to the model."""
        return getattr(self.args, "max_source_positions", None)

    @property
    def source_dictionary(self) -> Dictionary:
        return self.dictionary
