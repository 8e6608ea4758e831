"""Translation: sentence pairs in two languages, with a dictionary each."""

import importlib.util
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np
import torch

from fairseq.data import data_utils
from fairseq.data.append_token_dataset import AppendTokenDataset
from fairseq.data.dictionary import Dictionary
from fairseq.data.indexed_dataset import get_available_dataset_impl
from fairseq.data.language_pair_dataset import LanguagePairDataset
from fairseq.data.prepend_token_dataset import PrependTokenDataset
from fairseq.data.text_files.pair_files import load_alignments as open_alignments
from fairseq.data.text_files.pair_files import load_sides
from fairseq.dataclass.configs import II, FairseqDataclass, GenerationConfig
from fairseq.dataclass.constants import ChoiceEnum
from fairseq.dataclass.fields import option
from fairseq.tasks import register_task
from fairseq.tasks._noted_options import NotedOptions, refuse_unknown
from fairseq.tasks.fairseq_task import FairseqTask

__all__ = ["EVAL_BLEU_ORDER", "TranslationConfig", "TranslationTask", "load_langpair_dataset"]

EVAL_BLEU_ORDER = 4

logger = logging.getLogger(__name__)


def load_langpair_dataset(
    data_path: str,
    split: str,
    src: str,
    src_dict: Any,
    tgt: str,
    tgt_dict: Any,
    combine: bool,
    dataset_impl: Any,
    upsample_primary: int,
    left_pad_source: bool,
    left_pad_target: bool,
    max_source_positions: int,
    max_target_positions: int,
    prepend_bos: bool = False,
    load_alignments: bool = False,
    truncate_source: bool = False,
    append_source_id: bool = False,
    num_buckets: int = 0,
    shuffle: bool = True,
    pad_to_multiple: int = 1,
    prepend_bos_src: Optional[int] = None,
) -> LanguagePairDataset:
    """Open the files of a language pair as a :class:`LanguagePairDataset`.

    Args:
        data_path: folder with ``SPLIT.SRC-TGT.{SRC,TGT}`` files.
        split: name of the split.
        src, tgt: languages; src_dict, tgt_dict: their dictionaries.
        combine: join ``split``, ``split1``, ...; the first ``upsample_primary`` times, if that is positive.
        dataset_impl: file format; ``None`` looks at the files.
        left_pad_source, left_pad_target, num_buckets, shuffle, pad_to_multiple: see the data set.
        max_source_positions: with ``truncate_source``, the length that sources are cut to, end of sentence included.
        max_target_positions: accepted for callers that pass limits by position; batching applies it.
        prepend_bos: begin both sides with the beginning-of-sentence token.
        load_alignments: read ``SPLIT.align.SRC-TGT``, if it exists.
        append_source_id: end sources with ``[SRC]``, targets with ``[TGT]``.
        prepend_bos_src: a token put in front of sources instead.

    Raises:
        FileNotFoundError: no data for the split.
    """
    source, target = load_sides(
        data_path, split, src, src_dict, tgt, tgt_dict, combine, dataset_impl, upsample_primary,
        max_source_positions if truncate_source else None, logger,
    )  # fmt: skip

    if prepend_bos:
        if not (hasattr(src_dict, "bos_index") and hasattr(tgt_dict, "bos_index")):
            raise AssertionError("prepend_bos needs dictionaries with a beginning-of-sentence symbol")
        source = PrependTokenDataset(source, src_dict.bos())
        if target is not None:
            target = PrependTokenDataset(target, tgt_dict.bos())
    elif prepend_bos_src is not None:
        logger.info("prepending src bos: %s", prepend_bos_src)
        source = PrependTokenDataset(source, prepend_bos_src)

    eos = None
    if append_source_id:
        source = AppendTokenDataset(source, src_dict.index(f"[{src}]"))
        if target is not None:
            eos = tgt_dict.index(f"[{tgt}]")
            target = AppendTokenDataset(target, eos)

    alignments = open_alignments(data_path, split, src, tgt, dataset_impl) if load_alignments else None
    return LanguagePairDataset(
        source,
        source.sizes,
        src_dict,
        target,
        None if target is None else target.sizes,
        tgt_dict,
        align_dataset=alignments,
        eos=eos,
        left_pad_source=left_pad_source,
        left_pad_target=left_pad_target,
        num_buckets=num_buckets,
        pad_to_multiple=pad_to_multiple,
        shuffle=shuffle,
    )


@dataclass
class TranslationConfig(FairseqDataclass):
    data: Optional[str] = option(
        None,
        "folders of binarised data, separated by colons; training goes through them epoch by epoch, validation and "
        "test data are read from the first",
    )
    source_lang: Optional[str] = option(None, "source language", alias="-s")
    target_lang: Optional[str] = option(None, "target language", alias="-t")
    load_alignments: bool = option(False, "read word alignments too")
    left_pad_source: bool = option(True, "put the padding of source batches in front")
    left_pad_target: bool = option(False, "put the padding of target batches in front")
    max_source_positions: int = option(1024, "longest source, in tokens")
    max_target_positions: int = option(1024, "longest target, in tokens")
    upsample_primary: int = option(-1, "repeat the first part of a combined split so many times")
    truncate_source: bool = option(False, "cut sources to --max-source-positions")
    num_batch_buckets: int = option(0, "when positive, pad sentences to one of so many lengths")
    train_subset: str = II("dataset.train_subset")
    dataset_impl: Optional[ChoiceEnum(get_available_dataset_impl())] = II("dataset.dataset_impl")  # type: ignore[valid-type]
    required_seq_len_multiple: int = II("dataset.required_seq_len_multiple")
    eval_bleu: bool = option(False, "translate the validation data and log its BLEU")
    eval_bleu_args: Optional[str] = option(
        "{}", 'generation options for that, as JSON, e.g. \'{"beam": 4, "lenpen": 0.6}\''
    )
    eval_bleu_detok: str = option(
        "space", "tokenizer whose inverse is applied before scoring, e.g. moses; space leaves the text as it is"
    )
    eval_bleu_detok_args: Optional[str] = option("{}", "options of that tokenizer, as JSON")
    eval_tokenized_bleu: bool = option(False, "score the tokens as they are, without sacreBLEU's own tokenization")
    eval_bleu_remove_bpe: Optional[str] = option(None, "subword marker to remove before scoring", const="@@ ")
    eval_bleu_print_samples: bool = option(False, "log one translation per validation batch")


def _parse_json_options(text: Optional[str], flag: str) -> dict[str, Any]:
    try:
        values = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        raise ValueError(f"{flag} expects a JSON object such as '{{\"beam\": 4}}', got {text!r}: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{flag} expects a JSON object such as '{{\"beam\": 4}}', got {text!r}")
    return values


def _require_sacrebleu() -> None:
    """Validation needs it: that it is missing must not show after the first epoch."""
    if importlib.util.find_spec("sacrebleu") is None:
        raise ImportError("--eval-bleu needs sacreBLEU: pip install sacrebleu")


def _tokenizer_options(name: str) -> list[str]:
    """The options of a registered tokenizer."""
    from fairseq.registry import REGISTRIES

    config = REGISTRIES["tokenizer"]["dataclass_registry"].get(name)
    return [field for field in getattr(config, "__dataclass_fields__", {}) if field != "_name"]


def _check_numbers(values: dict[str, Any], flag: str) -> None:
    """Refuse text where the options of generation are numbers."""
    usual = vars(GenerationConfig())
    for name, value in values.items():
        if isinstance(usual.get(name), (int, float)) and not isinstance(value, (int, float)):
            raise ValueError(f"{flag}: {name} is {value!r}; a number (or true or false) is expected")


def _languages(folder: str) -> str:
    """How to name the languages, on the command line and in Python, and which the folder has dictionaries of."""
    names = sorted(os.listdir(folder))
    known = [name[len("dict.") : -len(".txt")] for name in names if name.startswith("dict.") and name.endswith(".txt")]
    known = [language for language in known if language]
    source, target = known if len(known) == 2 else ("SOURCE", "TARGET")
    listed = ", ".join(known) or "no language"
    return (
        f": --source-lang {source} --target-lang {target}, or the keywords source_lang={source!r}, "
        f"target_lang={target!r} of from_pretrained and of other calls from Python (if it is this direction); "
        f"{folder} has dictionaries of {listed}"
    )


@register_task("translation", dataclass=TranslationConfig)
class TranslationTask(FairseqTask):
    """From a source language into a target language.

    Attributes:
        src_dict, tgt_dict: dictionaries.
        sequence_generator, tokenizer: for ``--eval-bleu``, made with the model.
    """

    cfg: TranslationConfig

    def __init__(self, cfg: TranslationConfig, src_dict: Any, tgt_dict: Any) -> None:
        super().__init__(cfg)
        self.src_dict = src_dict
        self.tgt_dict = tgt_dict

    @classmethod
    def setup_task(cls, cfg: TranslationConfig, **kwargs: Any) -> "TranslationTask":
        """Find out the languages and load their dictionaries."""
        from fairseq.utils import split_paths

        paths = split_paths(cfg.data or "")
        if not cfg.data or not paths:
            raise ValueError("translation needs a data folder: give the path that fairseq-preprocess wrote to")
        if not os.path.isdir(paths[0]):
            raise FileNotFoundError(f"data folder not found: {paths[0]}")
        if cfg.source_lang is None or cfg.target_lang is None:
            cfg.source_lang, cfg.target_lang = data_utils.infer_language_pair(paths[0])
        if cfg.source_lang is None or cfg.target_lang is None:
            raise Exception(f"Could not infer language pair, please provide it explicitly{_languages(paths[0])}")
        dictionaries: list[Dictionary] = []
        for flag, language in (("--source-lang", cfg.source_lang), ("--target-lang", cfg.target_lang)):
            path = os.path.join(paths[0], f"dict.{language}.txt")
            if not os.path.isfile(path):
                raise FileNotFoundError(
                    f"dictionary not found: {path}; {flag} is {language}, and the data folder should hold the "
                    f"dict.{language}.txt that fairseq-preprocess wrote"
                )
            dictionaries.append(cls.load_dictionary(path))
        src_dict, tgt_dict = dictionaries
        for name in ("pad", "eos", "unk"):
            if getattr(src_dict, name)() != getattr(tgt_dict, name)():
                raise AssertionError(
                    f"{name} is number {getattr(src_dict, name)()} in dict.{cfg.source_lang}.txt and "
                    f"{getattr(tgt_dict, name)()} in dict.{cfg.target_lang}.txt; build both in one run"
                )
        logger.info("[%s] dictionary: %s types", cfg.source_lang, len(src_dict))
        logger.info("[%s] dictionary: %s types", cfg.target_lang, len(tgt_dict))
        return cls(cfg, src_dict, tgt_dict)

    def load_dataset(self, split: str, epoch: int = 1, combine: bool = False, **kwargs: Any) -> None:  # type: ignore[override]
        from fairseq.utils import split_paths

        paths = split_paths(self.cfg.data or "")
        if split != self.cfg.train_subset:
            # Only training data may be spread over several folders.
            paths = paths[:1]
        self.datasets[split] = load_langpair_dataset(
            paths[(epoch - 1) % len(paths)],
            split,
            str(self.cfg.source_lang),
            self.src_dict,
            str(self.cfg.target_lang),
            self.tgt_dict,
            combine=combine,
            dataset_impl=self.cfg.dataset_impl,
            left_pad_source=self.cfg.left_pad_source,
            left_pad_target=self.cfg.left_pad_target,
            load_alignments=self.cfg.load_alignments,
            max_source_positions=self.cfg.max_source_positions,
            max_target_positions=self.cfg.max_target_positions,
            num_buckets=self.cfg.num_batch_buckets,
            pad_to_multiple=self.cfg.required_seq_len_multiple,
            shuffle=split != "test",
            truncate_source=self.cfg.truncate_source,
            upsample_primary=self.cfg.upsample_primary,
        )

    def build_dataset_for_inference(  # type: ignore[override]
        self, src_tokens: Sequence[torch.Tensor], src_lengths: Sequence[int], constraints: Any = None
    ) -> LanguagePairDataset:
        return LanguagePairDataset(
            src_tokens, src_lengths, self.source_dictionary, tgt_dict=self.target_dictionary, constraints=constraints
        )

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """Build the model; with ``--eval-bleu`` also the generator that validation uses."""
        model = super().build_model(cfg, from_checkpoint)
        if self.cfg.eval_bleu:
            from fairseq.data import encoders

            _require_sacrebleu()
            detok_args = _parse_json_options(self.cfg.eval_bleu_detok_args, "--eval-bleu-detok-args")
            detok = NotedOptions(tokenizer=self.cfg.eval_bleu_detok, **detok_args)
            self.tokenizer = encoders.build_tokenizer(detok)
            refuse_unknown("--eval-bleu-detok-args", detok.unread(), _tokenizer_options(self.cfg.eval_bleu_detok))
            gen_args = _parse_json_options(self.cfg.eval_bleu_args, "--eval-bleu-args")
            _check_numbers(gen_args, "--eval-bleu-args")
            generation = NotedOptions(**gen_args)
            self.sequence_generator = self.build_generator([model], generation)
            known = GenerationConfig.__dataclass_fields__
            # A plug-in's generator may read options of its own.
            refuse_unknown("--eval-bleu-args", [name for name in generation.unread() if name not in known], known)
        return model

    def valid_step(self, sample: Any, model: Any, criterion: Any) -> tuple[Any, Any, dict[str, Any]]:
        loss, sample_size, logging_output = super().valid_step(sample, model, criterion)
        if self.cfg.eval_bleu:
            bleu = self._inference_with_bleu(self.sequence_generator, sample, model)
            # Counts, not scores, can be added up over batches and workers.
            logging_output["_bleu_sys_len"] = bleu.sys_len
            logging_output["_bleu_ref_len"] = bleu.ref_len
            for order in range(EVAL_BLEU_ORDER):
                logging_output[f"_bleu_counts_{order}"] = bleu.counts[order]
                logging_output[f"_bleu_totals_{order}"] = bleu.totals[order]
        return loss, sample_size, logging_output

    def reduce_metrics(self, logging_outputs: Sequence[dict[str, Any]], criterion: Any) -> None:
        super().reduce_metrics(logging_outputs, criterion)
        if self.cfg.eval_bleu:
            log_bleu(logging_outputs)

    def max_positions(self) -> tuple[int, int]:
        """Longest source and target."""
        return (self.cfg.max_source_positions, self.cfg.max_target_positions)

    @property
    def source_dictionary(self) -> Any:
        return self.src_dict

    @property
    def target_dictionary(self) -> Any:
        return self.tgt_dict

    def _inference_with_bleu(self, generator: Any, sample: Any, model: Any) -> Any:
        """Translate a validation batch; sacreBLEU's score object, with its counts."""
        import sacrebleu

        from fairseq.utils import strip_pad

        def decode(tokens: torch.Tensor, unknown: str) -> str:
            # The unknown word of the reference differs from that of the output, so that it never counts as a match.
            text = self.tgt_dict.string(tokens.int().cpu(), self.cfg.eval_bleu_remove_bpe, unk_string=unknown)
            return self.tokenizer.decode(text) if self.tokenizer else text

        generated = self.inference_step(generator, [model], sample, prefix_tokens=None)
        hypotheses = [decode(best[0]["tokens"], "UNKNOWNTOKENINHYP") for best in generated]
        references = [
            decode(strip_pad(target, self.tgt_dict.pad()), "UNKNOWNTOKENINREF")
            for target in sample["target"][: len(hypotheses)]
        ]
        if self.cfg.eval_bleu_print_samples:
            logger.info("example hypothesis: %s", hypotheses[0])
            logger.info("example reference: %s", references[0])
        options = {"tokenize": "none"} if self.cfg.eval_tokenized_bleu else {}
        return sacrebleu.corpus_bleu(hypotheses, [references], **options)


def log_bleu(logging_outputs: Sequence[dict[str, Any]]) -> None:
    """Log the sums of BLEU counts, and BLEU itself derived from them; nothing if nothing was translated."""
    from fairseq.logging import metrics

    def total(key: str) -> Any:
        result = sum(log.get(key, 0) for log in logging_outputs)
        return result.item() if torch.is_tensor(result) else result

    totals = [total(f"_bleu_totals_{order}") for order in range(EVAL_BLEU_ORDER)]
    if max(totals) <= 0:
        return
    counts = [total(f"_bleu_counts_{order}") for order in range(EVAL_BLEU_ORDER)]
    metrics.log_scalar("_bleu_counts", np.array(counts))
    metrics.log_scalar("_bleu_totals", np.array(totals))
    metrics.log_scalar("_bleu_sys_len", total("_bleu_sys_len"))
    metrics.log_scalar("_bleu_ref_len", total("_bleu_ref_len"))
    metrics.log_derived("bleu", _bleu_of_meters)


def _bleu_of_meters(meters: Any) -> float:
    from sacrebleu.metrics.bleu import BLEU

    score = BLEU.compute_bleu(
        correct=[int(count) for count in meters["_bleu_counts"].sum],
        total=[int(count) for count in meters["_bleu_totals"].sum],
        sys_len=int(meters["_bleu_sys_len"].sum),
        ref_len=int(meters["_bleu_ref_len"].sum),
        smooth_method="exp",
    )
    return round(score.score, 2)
