"""Texts that auxiliary tasks of a speech model learn to give."""

import logging
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any, Optional

import torch
from torch import Tensor

from fairseq.data import encoders
from fairseq.data.audio.data_cfg import SingleTaskConfig
from fairseq.data.batching.collation import collate_tokens

__all__ = ["TextTargetMultitaskData", "WithMultitaskTargets"]

logger = logging.getLogger(__name__)


class TextTargetMultitaskData:
    """Target texts of one auxiliary task, by the numbers of the samples.

    Args:
        args: its settings; ``DATA/SPLIT.tsv`` has the columns ``id`` and ``tgt_text``.
        split: name of the file.
        tgt_dict: dictionary of its targets.

    Raises:
        FileNotFoundError, ValueError: as for the data set's own TSV file.
    """

    KEY_ID, KEY_TEXT = "id", "tgt_text"
    LANG_TAG_TEMPLATE = "<lang:{}>"

    def __init__(self, args: SingleTaskConfig, split: str, tgt_dict: Any) -> None:
        from fairseq.data.audio.speech_to_text_dataset import SpeechToTextDatasetCreator

        samples = SpeechToTextDatasetCreator._load_samples_from_tsv(args.data, split)
        SpeechToTextDatasetCreator._check_columns(samples, (self.KEY_ID, self.KEY_TEXT), f"{args.data}/{split}")
        self.data = {sample[self.KEY_ID]: sample[self.KEY_TEXT] for sample in samples}
        self.dict = tgt_dict
        self.append_eos = args.decoder_type != "ctc"
        self.pre_tokenizer = self.build_tokenizer(args)
        self.bpe_tokenizer = self.build_bpe(args)
        self.prepend_bos_and_append_tgt_lang_tag = args.prepend_bos_and_append_tgt_lang_tag
        self.eos_token = args.eos_token
        self.lang_tag_mapping = args.get_lang_tag_mapping

    @classmethod
    def is_lang_tag(cls, token: str) -> bool:
        """Whether a token names a language."""
        before, after = cls.LANG_TAG_TEMPLATE.split("{}")
        return token.startswith(before) and token.endswith(after) and len(token) > len(before) + len(after)

    @classmethod
    def tokenize(cls, tokenizer: Any, text: str) -> str:
        """Text through a tokenizer, if there is one."""
        return text if tokenizer is None else tokenizer.encode(text)

    def build_tokenizer(self, args: SingleTaskConfig) -> Any:
        """The tokenizer that the section's ``pre_tokenizer`` describes, or ``None``."""
        options = args.config.get("pre_tokenizer")
        return encoders.build_tokenizer(Namespace(**options)) if options else None

    def build_bpe(self, args: SingleTaskConfig) -> Any:
        """The subword encoder that the section's ``bpe_tokenizer`` describes, or ``None``."""
        options = args.config.get("bpe_tokenizer")
        return encoders.build_bpe(Namespace(**options)) if options else None

    def get_tokenized_tgt_text(self, index: str) -> str:
        """The text of a sample in pieces, separated by spaces."""
        return self.tokenize(self.bpe_tokenizer, self.tokenize(self.pre_tokenizer, self.data[index]))

    def get_lang_tag_idx(self, lang: str, dictionary: Any) -> int:
        """Number of a language token, after ``lang_tag_mapping``; ``AssertionError`` if the dictionary lacks it."""
        tag = self.LANG_TAG_TEMPLATE.format(lang)
        tag = self.lang_tag_mapping.get(tag, tag)
        index = dictionary.index(tag)
        if index == dictionary.unk():
            raise AssertionError(f"the dictionary lacks the language token {tag}")
        return index

    def get(self, sample_id: str, tgt_lang: Optional[str] = None) -> Tensor:
        """Tokens of a sample's target, ``(length,)``; a sample without one gets an empty target and a warning."""
        text = ""
        if sample_id in self.data:
            text = self.get_tokenized_tgt_text(sample_id)
        else:
            logger.warning("no target for %s", sample_id)
        target = self.dict.encode_line(text, add_if_not_exist=False, append_eos=self.append_eos).long()
        if self.prepend_bos_and_append_tgt_lang_tag:
            if tgt_lang is None:
                raise AssertionError("language tokens need the column tgt_lang")
            ends = target.new_tensor([self.dict.bos(), self.get_lang_tag_idx(tgt_lang, self.dict)])
            target = torch.cat([ends[:1], target, ends[1:]])
        return target

    def collater(self, samples: Sequence[Tensor]) -> dict[str, Any]:
        """``target`` ``(B, L)``, ``target_lengths``, ``ntokens``, and ``prev_output_tokens`` in ``net_input``."""
        pad = self.dict.pad()
        # The last token goes to the front; rows may be empty, so it is moved before they are padded.
        previous = collate_tokens([sample.roll(1) for sample in samples], pad)
        lengths = torch.tensor([len(sample) for sample in samples], dtype=torch.long)
        return {
            "target": collate_tokens(samples, pad),
            "target_lengths": lengths,
            "ntokens": int(lengths.sum()),
            "net_input": {"prev_output_tokens": previous},
        }


class WithMultitaskTargets:
    """Mix-in before a speech data set: samples become pairs of its item and the targets of auxiliary tasks by name."""

    ids: Optional[list[str]]
    tgt_langs: Optional[list[str]]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.multitask_data: dict[str, TextTargetMultitaskData] = {}

    def add_multitask_dataset(self, task_name: str, task_data: TextTargetMultitaskData) -> None:
        """Add the targets of an auxiliary task."""
        self.multitask_data[task_name] = task_data

    def add_multitask_datasets(self, tasks: Mapping[str, Any], split: str) -> None:
        """Add the targets that the auxiliary tasks (name -> task) have for a split."""
        for name, task in tasks.items():
            self.add_multitask_dataset(name, TextTargetMultitaskData(task.args, split, task.target_dictionary))

    def __getitem__(self, index: int) -> tuple[Any, dict[str, Tensor]]:
        if self.ids is None:
            raise AssertionError("auxiliary tasks find their targets by the ids of samples; there are none")
        language = self.tgt_langs[index] if self.tgt_langs is not None else None
        targets = {name: data.get(self.ids[index], language) for name, data in self.multitask_data.items()}
        return super().__getitem__(index), targets  # type: ignore[misc]

    def collater(self, samples: Sequence[Any], return_order: bool = False) -> dict[str, Any]:
        """As of the data set, with ``multitask``: name -> what :meth:`TextTargetMultitaskData.collater` gives."""
        if len(samples) == 0:
            return {}
        batch: dict[str, Any] = super().collater([sample for sample, _ in samples], return_order=True)  # type: ignore[misc]
        order = batch["order"] if return_order else batch.pop("order")
        batch["multitask"] = {
            name: data.collater([samples[i][1][name] for i in order.tolist()])
            for name, data in self.multitask_data.items()
        }
        return batch
