"""Masked language modelling: predict hidden tokens from both sides (BERT, RoBERTa)."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np
import torch

from fairseq.data.data_utils import numpy_seed
from fairseq.data.dictionary import Dictionary
from fairseq.data.id_dataset import IdDataset
from fairseq.data.mask_tokens_dataset import MaskTokensDataset
from fairseq.data.nested_dictionary_dataset import NestedDictionaryDataset
from fairseq.data.num_samples_dataset import NumSamplesDataset
from fairseq.data.numel_dataset import NumelDataset
from fairseq.data.pad_dataset import RightPadDataset
from fairseq.data.padding_mask_dataset import RightPaddingMaskDataset
from fairseq.data.prepend_token_dataset import PrependTokenDataset
from fairseq.data.shorten_dataset import maybe_shorten_dataset
from fairseq.data.sort_dataset import SortDataset
from fairseq.data.token_block_dataset import TokenBlockDataset
from fairseq.dataclass.configs import II, MISSING, FairseqDataclass
from fairseq.dataclass.fields import option
from fairseq.tasks import register_task
from fairseq.tasks._text_data import folder_of_epoch, load_dictionary_of, load_split, whole_word_mask
from fairseq.tasks.fairseq_task import FairseqTask
from fairseq.tasks.language_modeling import SAMPLE_BREAK_MODE_CHOICES, SHORTEN_METHOD_CHOICES

__all__ = ["MaskedLMConfig", "MaskedLMTask"]

logger = logging.getLogger(__name__)


@dataclass
class MaskedLMConfig(FairseqDataclass):
    data: str = option(MISSING, "folders of binarised data, separated by colons; epochs take turns")
    sample_break_mode: SAMPLE_BREAK_MODE_CHOICES = option(  # type: ignore[valid-type]
        "none",
        "where a sample ends: none: after --tokens-per-sample tokens; complete: after the last sentence that fits; "
        "complete_doc: the same, and at the end of a document; eos: after every sentence",
    )
    tokens_per_sample: int = option(1024, "tokens of a sample at most")
    mask_prob: float = option(0.15, "share of tokens to predict")
    leave_unmasked_prob: float = option(0.1, "share of those that stay visible")
    random_token_prob: float = option(0.1, "share of those that become a random token")
    freq_weighted_replacement: bool = option(False, "draw random tokens by their frequency")
    mask_whole_words: bool = option(False, "choose whole words; needs --bpe")
    mask_multiple_length: int = option(1, "choose runs of so many tokens")
    mask_stdev: float = option(0.0, "standard deviation of the length of runs")
    shorten_method: SHORTEN_METHOD_CHOICES = option(  # type: ignore[valid-type]
        "none", "what to do with sentences longer than --tokens-per-sample"
    )
    shorten_data_split_list: str = option("", "splits to shorten, separated by commas; empty for all")
    seed: int = II("common.seed")
    include_target_tokens: bool = option(False, "give the targets to the model as well, as net_input.target_tokens")
    include_index: bool = option(True, "give the sample numbers to the model, as net_input.src_id")
    skip_masking: bool = option(False, "mask nothing here: the model does it")
    d2v2_multi: bool = option(False, "name the inputs as data2vec 2.0 does: source, padding_mask, id")


@register_task("masked_lm", dataclass=MaskedLMConfig)
class MaskedLMTask(FairseqTask):
    """Masked language modelling over one dictionary, to which ``<mask>`` is added."""

    cfg: MaskedLMConfig

    def __init__(self, cfg: MaskedLMConfig, dictionary: Optional[Dictionary] = None) -> None:
        super().__init__(cfg)
        self.dictionary = dictionary or self.load_dict(cfg)
        self.mask_idx = self.dictionary.add_symbol("<mask>")

    @classmethod
    def setup_task(cls, cfg: MaskedLMConfig, **kwargs: Any) -> "MaskedLMTask":
        return cls(cfg, cls.load_dict(cfg))

    @classmethod
    def load_dict(cls, cfg: MaskedLMConfig) -> Dictionary:
        """The dictionary in the first data folder."""
        dictionary = load_dictionary_of(cls, cfg.data)
        logger.info("dictionary: %s types", len(dictionary))
        return dictionary

    def _load_dataset_split(self, split: str, epoch: int, combine: bool) -> Any:
        """The blocks of a split before masking, each behind a beginning of sentence; plug-ins override it.

        Raises:
            FileNotFoundError: there is no such split.
        """
        cfg, dictionary = self.cfg, self.dictionary
        sentences, path = load_split(folder_of_epoch(cfg.data, epoch), split, dictionary, None, combine)
        sentences = maybe_shorten_dataset(
            sentences, split, cfg.shorten_data_split_list, cfg.shorten_method, cfg.tokens_per_sample, cfg.seed
        )
        blocks = TokenBlockDataset(
            sentences,
            sentences.sizes,
            cfg.tokens_per_sample - 1,  # one is for the beginning of sentence
            pad=dictionary.pad(),
            eos=dictionary.eos(),
            break_mode=cfg.sample_break_mode,
        )
        logger.info("loaded %s blocks from: %s", len(blocks), path)
        return PrependTokenDataset(blocks, dictionary.bos())

    def load_dataset(self, split: str, epoch: int = 1, combine: bool = False, **kwargs: Any) -> None:  # type: ignore[override]
        cfg, pad = self.cfg, self.dictionary.pad()
        source, target = MaskTokensDataset.apply_mask(
            self._load_dataset_split(split, epoch, combine),
            self.dictionary,
            pad_idx=pad,
            mask_idx=self.mask_idx,
            seed=cfg.seed,
            mask_prob=cfg.mask_prob,
            leave_unmasked_prob=cfg.leave_unmasked_prob,
            random_token_prob=cfg.random_token_prob,
            freq_weighted_replacement=cfg.freq_weighted_replacement,
            mask_whole_words=whole_word_mask(cfg, self.dictionary) if cfg.mask_whole_words else None,
            mask_multiple_length=cfg.mask_multiple_length,
            mask_stdev=cfg.mask_stdev,
            skip_masking=cfg.skip_masking,
        )
        with numpy_seed(cfg.seed):
            shuffle = np.random.permutation(len(source))
        padded_target = RightPadDataset(target, pad_idx=pad)
        net_input: dict[str, Any]
        if cfg.d2v2_multi:
            net_input = {
                "source": RightPadDataset(source, pad_idx=pad),
                "id": IdDataset(),
                "padding_mask": RightPaddingMaskDataset(source),
            }
        else:
            net_input = {
                "src_tokens": RightPadDataset(source, pad_idx=pad),
                "src_lengths": NumelDataset(source, reduce=False),
            }
            if cfg.include_target_tokens:
                net_input["target_tokens"] = padded_target
            if cfg.include_index:
                net_input["src_id"] = IdDataset()
        batches = NestedDictionaryDataset(
            {
                "id": IdDataset(),
                "net_input": net_input,
                "target": padded_target,
                "nsentences": NumSamplesDataset(),
                "ntokens": NumelDataset(source, reduce=True),
            },
            sizes=[source.sizes],
        )
        self.datasets[split] = SortDataset(batches, sort_order=[shuffle, source.sizes])

    def build_dataset_for_inference(  # type: ignore[override]
        self, src_tokens: Sequence[torch.Tensor], src_lengths: Sequence[int], sort: bool = True
    ) -> Any:
        """Given sentences, each behind a beginning of sentence; ``sort`` batches them by length."""
        dictionary = self.dictionary
        sentences = TokenBlockDataset(
            src_tokens,
            src_lengths,
            self.cfg.tokens_per_sample - 1,
            pad=dictionary.pad(),
            eos=dictionary.eos(),
            break_mode="eos",
        )
        source = PrependTokenDataset(sentences, dictionary.bos())
        batches = NestedDictionaryDataset(
            {
                "id": IdDataset(),
                "net_input": {
                    "src_tokens": RightPadDataset(source, pad_idx=dictionary.pad()),
                    "src_lengths": NumelDataset(source, reduce=False),
                },
            },
            sizes=[np.asarray(src_lengths)],
        )
        return SortDataset(batches, sort_order=[src_lengths]) if sort else batches

    def begin_epoch(self, epoch: int, model: Any) -> None:
        """Models that follow the epoch are told."""
        if hasattr(model, "set_epoch"):
            model.set_epoch(epoch)

    def max_positions(self) -> int:
        return self.cfg.tokens_per_sample

    @property
    def source_dictionary(self) -> Dictionary:
        return self.dictionary

    @property
    def target_dictionary(self) -> Dictionary:
        return self.dictionary
