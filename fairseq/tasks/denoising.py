"""Denoising: restore text from a noisy version (BART)."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np
import torch

from fairseq.data.append_token_dataset import AppendTokenDataset
from fairseq.data.denoising_dataset import DenoisingDataset
from fairseq.data.dictionary import Dictionary
from fairseq.data.id_dataset import IdDataset
from fairseq.data.indexed_dataset import get_available_dataset_impl
from fairseq.data.nested_dictionary_dataset import NestedDictionaryDataset
from fairseq.data.numel_dataset import NumelDataset
from fairseq.data.pad_dataset import PadDataset
from fairseq.data.prepend_token_dataset import PrependTokenDataset
from fairseq.data.shorten_dataset import maybe_shorten_dataset
from fairseq.data.strip_token_dataset import StripTokenDataset
from fairseq.data.token_block_dataset import TokenBlockDataset
from fairseq.dataclass.configs import II, MISSING, FairseqDataclass
from fairseq.dataclass.constants import ChoiceEnum
from fairseq.dataclass.fields import option
from fairseq.tasks import register_task
from fairseq.tasks._text_data import folder_of_epoch, load_dictionary_of, load_split, whole_word_mask
from fairseq.tasks.fairseq_task import FairseqTask

__all__ = ["DenoisingConfig", "DenoisingTask"]

SAMPLE_BREAK_MODE_CHOICES = ChoiceEnum(["none", "complete", "complete_doc", "eos"])
SHORTEN_METHOD_CHOICES = ChoiceEnum(["none", "truncate", "random_crop"])
MASK_LENGTH_CHOICES = ChoiceEnum(["subword", "word", "span-poisson"])

logger = logging.getLogger(__name__)


@dataclass
class DenoisingConfig(FairseqDataclass):
    data: str = option(MISSING, "folders of binarised data, separated by colons; epochs take turns")
    bpe: Optional[str] = option(None, "segmentation of the data; gpt2 ends sentences with its own full stop")
    tokens_per_sample: int = option(512, "tokens of a sample at most")
    sample_break_mode: SAMPLE_BREAK_MODE_CHOICES = option(  # type: ignore[valid-type]
        "complete_doc",
        "where a sample ends: none: after --tokens-per-sample tokens; complete: after the last sentence that fits; "
        "complete_doc: the same, and at the end of a document; eos: after every sentence",
    )
    replace_length: int = option(0, "0 deletes masked tokens, 1 leaves a mask per span, -1 a mask per token")
    mask: float = option(0.0, "share of words to mask")
    mask_random: float = option(0.0, "share of the masked tokens that becomes a random token instead")
    insert: float = option(0.0, "share of tokens to insert")
    permute: float = option(0.0, "share of subwords to permute")
    rotate: float = option(0.5, "probability of rotating a sample")
    poisson_lambda: float = option(3.0, "mean length of masked spans with --mask-length span-poisson, in words")
    shuffle_instance: float = option(0.0, "above 0, shuffle samples of equal length")
    mask_length: MASK_LENGTH_CHOICES = option("subword", "what is masked at a time")  # type: ignore[valid-type]
    permute_sentences: float = option(-1, "share of sentences to permute; 0 or less for none")
    seed: int = II("common.seed")
    shorten_method: SHORTEN_METHOD_CHOICES = option(  # type: ignore[valid-type]
        "none", "what to do with sentences longer than --tokens-per-sample"
    )
    shorten_data_split_list: str = option("", "splits to shorten, separated by commas; empty for all")
    max_source_positions: int = option(1024, "longest source, in tokens")
    max_target_positions: int = option(1024, "longest target, in tokens")
    dataset_impl: Optional[ChoiceEnum(get_available_dataset_impl())] = II("dataset.dataset_impl")  # type: ignore[valid-type]


@register_task("denoising", dataclass=DenoisingConfig)
class DenoisingTask(FairseqTask):
    """Denoising over one dictionary, to which ``<mask>`` is added."""

    cfg: DenoisingConfig

    def __init__(self, cfg: DenoisingConfig, dictionary: Dictionary) -> None:
        super().__init__(cfg)
        self.dictionary = dictionary
        self.mask_idx = self.dictionary.add_symbol("<mask>")

    @classmethod
    def setup_task(cls, cfg: DenoisingConfig, **kwargs: Any) -> "DenoisingTask":
        dictionary = load_dictionary_of(cls, cfg.data)
        logger.info("dictionary: %s types", len(dictionary))
        return cls(cfg, dictionary)

    def _load_dataset_split(self, split: str, epoch: int, combine: bool) -> Any:
        """The blocks of a split before noise, each between a beginning and an end of sentence; plug-ins override it.

        Raises:
            FileNotFoundError: there is no such split.
        """
        cfg, dictionary = self.cfg, self.dictionary
        sentences, path = load_split(folder_of_epoch(cfg.data, epoch), split, dictionary, cfg.dataset_impl, combine)
        sentences = StripTokenDataset(sentences, dictionary.eos())
        sentences = maybe_shorten_dataset(
            sentences, split, cfg.shorten_data_split_list, cfg.shorten_method, cfg.tokens_per_sample, cfg.seed
        )
        blocks = TokenBlockDataset(
            sentences,
            sentences.sizes,
            cfg.tokens_per_sample - 2,  # for the beginning and the end of sentence
            pad=dictionary.pad(),
            eos=dictionary.eos(),
            break_mode=cfg.sample_break_mode,
            document_sep_len=0,
        )
        logger.info("loaded %s blocks from: %s", len(blocks), path)
        return AppendTokenDataset(PrependTokenDataset(blocks, dictionary.bos()), dictionary.eos())

    def _denoising(self, blocks: Any, mask_whole_words: Any) -> DenoisingDataset:
        cfg = self.cfg
        return DenoisingDataset(
            blocks,
            blocks.sizes,
            self.dictionary,
            self.mask_idx,
            mask_whole_words,
            shuffle=bool(cfg.shuffle_instance),
            seed=cfg.seed,
            mask=cfg.mask,
            mask_random=cfg.mask_random,
            insert=cfg.insert,
            rotate=cfg.rotate,
            permute_sentences=cfg.permute_sentences,
            bpe=cfg.bpe,
            replace_length=cfg.replace_length,
            mask_length=str(cfg.mask_length),
            poisson_lambda=cfg.poisson_lambda,
        )

    def load_dataset(self, split: str, epoch: int = 1, combine: bool = False, **kwargs: Any) -> None:  # type: ignore[override]
        if self.cfg.permute > 0:
            raise ValueError("--permute (of subwords) has no effect in denoising; use --permute-sentences or --mask")
        blocks = self._load_dataset_split(split, epoch, combine)
        words = whole_word_mask(self.cfg, self.dictionary) if self.cfg.mask_length != "subword" else None
        self.datasets[split] = self._denoising(blocks, words)
        logger.info("Split: %s, Loaded %s samples of denoising_dataset", split, len(self.datasets[split]))

    def build_dataset_for_inference(
        self, src_tokens: Sequence[torch.Tensor], src_lengths: Sequence[int], **kwargs: Any
    ) -> Any:
        """Given sentences between a beginning and an end of sentence; targets end with padding instead."""
        dictionary = self.dictionary
        pad, eos = dictionary.pad(), dictionary.eos()
        sentences = StripTokenDataset(
            TokenBlockDataset(src_tokens, src_lengths, None, pad=pad, eos=eos, break_mode="eos", document_sep_len=0),
            eos,
        )
        source = PrependTokenDataset(AppendTokenDataset(sentences, token=eos), dictionary.bos())
        target = AppendTokenDataset(sentences, token=pad)
        return NestedDictionaryDataset(
            {
                "id": IdDataset(),
                "net_input": {
                    "src_tokens": PadDataset(source, pad_idx=pad, left_pad=False),
                    "src_lengths": NumelDataset(source, reduce=False),
                },
                "target": PadDataset(target, pad_idx=pad, left_pad=False),
            },
            sizes=[np.array(src_lengths)],
        )

    def max_positions(self) -> tuple[int, int]:
        """Longest source and target."""
        return (self.cfg.max_source_positions, self.cfg.max_target_positions)

    @property
    def source_dictionary(self) -> Dictionary:
        return self.dictionary

    @property
    def target_dictionary(self) -> Dictionary:
        return self.dictionary
