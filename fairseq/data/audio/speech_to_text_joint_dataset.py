"""Speech with its transcription and its translation, for training on both (Tang et al. 2021)."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Optional

import torch
from torch import Tensor

from fairseq.data import data_utils
from fairseq.data.audio.data_cfg import S2TDataConfig
from fairseq.data.audio.speech_to_text_dataset import SpeechToTextDataset, SpeechToTextDatasetCreator

__all__ = [
    "S2TJointDataConfig",
    "SpeechToTextJointDataset",
    "SpeechToTextJointDatasetCreator",
    "SpeechToTextJointDatasetItem",
]

logger = logging.getLogger(__name__)


class S2TJointDataConfig(S2TDataConfig):
    """Settings of a joint data set."""

    @property
    def src_vocab_filename(self) -> str:
        """Dictionary file of the transcriptions, in the data folder."""
        return self.config.get("src_vocab_filename", "src_dict.txt")

    @property
    def src_pre_tokenizer(self) -> dict[str, Any]:
        """Options of the tokenizer of the transcriptions."""
        return self.config.get("src_pre_tokenizer", {"tokenizer": None})

    @property
    def src_bpe_tokenizer(self) -> dict[str, Any]:
        """Options of the subword encoder of the transcriptions; paths are used as they are written."""
        return self.config.get("src_bpe_tokenizer", {"bpe": None})

    @property
    def prepend_tgt_lang_tag_no_change(self) -> bool:
        """Begin the decoder's input with the language token and leave the target alone.

        The older name of the key is ``prepend_tgt_lang_tag_as_bos``.
        """
        return self.config.get("prepend_tgt_lang_tag_no_change", self.config.get("prepend_tgt_lang_tag_as_bos", False))

    @property
    def sampling_text_alpha(self) -> float:
        """Exponent of the sizes of text corpora when they are sampled."""
        return self.config.get("sampling_text_alpha", 1.0)


class SpeechToTextJointDatasetItem(NamedTuple):
    """One sample: number, features or audio, target and transcription, language tokens, times of the phones."""

    index: int  # type: ignore[assignment]
    source: Tensor
    target: Optional[Tensor] = None
    src_txt_tokens: Optional[Tensor] = None
    tgt_lang_tag: Optional[int] = None
    src_lang_tag: Optional[int] = None
    tgt_alignment: Optional[Tensor] = None


class SpeechToTextJointDataset(SpeechToTextDataset):
    """Speech, transcription and translation.

    Args:
        src_dict: dictionary of the transcriptions.
        src_pre_tokenizer, src_bpe_tokenizer: applied to transcriptions.
        append_eos: end targets with the end of sentence.
        alignment: per sample, numbers separated by spaces.
        use_src_lang_id: 1 ends transcriptions with their language token in place of the end of sentence.
        others: see :class:`SpeechToTextDataset`.
    """

    def __init__(
        self, split: str, is_train_split: bool, cfg: S2TJointDataConfig, audio_paths: list[str], n_frames: list[int],
        src_texts: Optional[list[str]] = None, tgt_texts: Optional[list[str]] = None,
        speakers: Optional[list[str]] = None, src_langs: Optional[list[str]] = None,
        tgt_langs: Optional[list[str]] = None, ids: Optional[list[str]] = None, tgt_dict: Any = None,
        src_dict: Any = None, pre_tokenizer: Any = None, bpe_tokenizer: Any = None, src_pre_tokenizer: Any = None,
        src_bpe_tokenizer: Any = None, append_eos: bool = True, alignment: Optional[list[str]] = None,
        use_src_lang_id: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(
            split, is_train_split, cfg, audio_paths, n_frames, src_texts=src_texts, tgt_texts=tgt_texts,
            speakers=speakers, src_langs=src_langs, tgt_langs=tgt_langs, ids=ids, tgt_dict=tgt_dict,
            pre_tokenizer=pre_tokenizer, bpe_tokenizer=bpe_tokenizer, append_eos=append_eos,
        )  # fmt: skip
        self.src_dict = src_dict
        self.src_pre_tokenizer = src_pre_tokenizer
        self.src_bpe_tokenizer = src_bpe_tokenizer
        self.alignment: Optional[list[list[float]]] = None
        if alignment is not None:
            self.alignment = [[float(number) for number in line.split()] for line in alignment]
        self.use_src_lang_id = use_src_lang_id
        self.cfg: S2TJointDataConfig

    def get_tokenized_src_text(self, index: int) -> str:
        """A transcription in pieces, separated by spaces."""
        if self.src_texts is None:
            raise AssertionError("there are no transcriptions")
        return self.tokenize(self.src_bpe_tokenizer, self.tokenize(self.src_pre_tokenizer, self.src_texts[index]))

    def __getitem__(self, index: int) -> SpeechToTextJointDatasetItem:
        item = super().__getitem__(index)
        tokens, target_tag, source_tag = None, None, None
        if self.src_texts is not None and self.src_dict is not None:
            text = self.get_tokenized_src_text(index)
            tokens = self.src_dict.encode_line(text, add_if_not_exist=False, append_eos=True).long()
        if self.cfg.prepend_tgt_lang_tag_no_change and self.tgt_langs is not None:
            target_tag = self.get_lang_tag_idx(self.tgt_langs[index], self.tgt_dict)
        if self.use_src_lang_id == 1 and tokens is not None and self.src_langs is not None:
            source_tag = self.get_lang_tag_idx(self.src_langs[index], self.src_dict)
            tokens[-1] = source_tag
        times = torch.tensor(self.alignment[index]).float() if self.alignment is not None else None
        return SpeechToTextJointDatasetItem(
            index=index,
            source=item.source,
            target=item.target,
            src_txt_tokens=tokens,
            tgt_lang_tag=target_tag,
            src_lang_tag=source_tag,
            tgt_alignment=times,
        )

    def collater(self, samples: Sequence[Any], return_order: bool = False) -> dict[str, Any]:
        """A mini-batch as in the base class, without speakers.

        ``net_input`` also has ``src_txt_tokens`` ``(B, S)``, ``src_txt_lengths`` ``(B,)`` and ``alignment`` ``(B, N)``,
        padded with 1, or ``None``.
        """
        batch = super().collater(samples, return_order=True)
        if not batch:
            return batch
        ordered = [samples[i] for i in batch["order"].tolist()]
        net_input = batch["net_input"]
        if self.tgt_texts is not None and all(sample.tgt_lang_tag is not None for sample in ordered):
            net_input["prev_output_tokens"][:, 0] = torch.tensor([sample.tgt_lang_tag for sample in ordered])
        tokens, lengths, times = None, None, None
        if self.src_texts is not None and self.src_dict is not None:
            texts = [sample.src_txt_tokens for sample in ordered]
            tokens = data_utils.collate_tokens(texts, self.src_dict.pad())
            lengths = torch.tensor([len(text) for text in texts], dtype=torch.long)
        if self.alignment is not None:
            times = data_utils.collate_tokens([sample.tgt_alignment for sample in ordered], self.tgt_dict.pad())
        net_input.update(src_txt_tokens=tokens, src_txt_lengths=lengths, alignment=times)
        del batch["speaker"]
        if not return_order:
            del batch["order"]
        return batch


class SpeechToTextJointDatasetCreator(SpeechToTextDatasetCreator):
    """Makes joint data sets from TSV files."""

    KEY_ALIGN = "align"

    @classmethod
    def _from_list(  # type: ignore[override]
        cls,
        split_name: str,
        is_train_split: bool,
        samples: list[dict[str, str]],
        cfg: S2TJointDataConfig,
        tgt_dict: Any,
        src_dict: Any,
        pre_tokenizer: Any,
        bpe_tokenizer: Any,
        src_pre_tokenizer: Any,
        src_bpe_tokenizer: Any,
        append_eos: bool,
        use_src_lang_id: int,
    ) -> SpeechToTextJointDataset:
        common = cls._columns(samples, cfg, split_name)
        alignment = [sample[cls.KEY_ALIGN] for sample in samples] if cls.KEY_ALIGN in samples[0] else None
        return SpeechToTextJointDataset(
            split_name, is_train_split, cfg, **common, tgt_dict=tgt_dict, src_dict=src_dict,
            pre_tokenizer=pre_tokenizer, bpe_tokenizer=bpe_tokenizer, src_pre_tokenizer=src_pre_tokenizer,
            src_bpe_tokenizer=src_bpe_tokenizer, append_eos=append_eos, alignment=alignment,
            use_src_lang_id=use_src_lang_id,
        )  # fmt: skip

    @classmethod
    def from_tsv(  # type: ignore[override]
        cls,
        root: str,
        cfg: S2TJointDataConfig,
        splits: str,
        tgt_dict: Any,
        src_dict: Any,
        pre_tokenizer: Any,
        bpe_tokenizer: Any,
        src_pre_tokenizer: Any,
        src_bpe_tokenizer: Any,
        is_train_split: bool,
        epoch: int,
        seed: int,
        append_eos: bool = True,
        use_src_lang_id: int = 0,
    ) -> Any:
        """The data of one or several splits; see :meth:`SpeechToTextDatasetCreator.from_tsv`."""
        datasets: list[Any] = []
        for split in splits.split(","):
            dataset = cls._from_list(
                split, is_train_split, cls._load_samples_from_tsv(root, split), cfg, tgt_dict, src_dict, pre_tokenizer,
                bpe_tokenizer, src_pre_tokenizer, src_bpe_tokenizer, append_eos, use_src_lang_id,
            )  # fmt: skip
            dataset.manifest_path = str(Path(root) / f"{split}.tsv")
            datasets.append(dataset)
        return cls._joined(datasets, is_train_split, cfg, seed, epoch)
