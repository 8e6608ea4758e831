"""Speech with its transcription or translation, listed in TSV files."""

import csv
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fairseq.data import data_utils
from fairseq.data.audio.audio_utils import get_features_or_waveform
from fairseq.data.audio.data_cfg import S2TDataConfig
from fairseq.data.audio.feature_transforms import CompositeAudioFeatureTransform
from fairseq.data.audio.waveform_transforms import CompositeAudioWaveformTransform
from fairseq.data.concat_dataset import ConcatDataset
from fairseq.data.fairseq_dataset import FairseqDataset
from fairseq.data.resampling_dataset import ResamplingDataset

__all__ = [
    "S2TDataConfig",
    "SpeechToTextDataset",
    "SpeechToTextDatasetCreator",
    "SpeechToTextDatasetItem",
]

logger = logging.getLogger(__name__)


def _collate_frames(frames: Sequence[Tensor], is_audio_input: bool = False) -> Tensor:
    """``(frames, channels)`` features, or ``(samples,)`` audio, padded with zeros and stacked."""
    longest = max(len(item) for item in frames)
    shape = (len(frames), longest) if is_audio_input else (len(frames), longest, frames[0].shape[1])
    stacked = frames[0].new_zeros(shape)
    for row, item in enumerate(frames):
        stacked[row, : len(item)] = item
    return stacked


def _is_int_or_np_int(n: Any) -> bool:
    return isinstance(n, (int, np.integer))


@dataclass
class SpeechToTextDatasetItem:
    """One sample: its number, features ``(frames, channels)`` or audio ``(samples,)``, tokens, speaker."""

    index: int
    source: Tensor
    target: Optional[Tensor] = None
    speaker_id: Optional[int] = None


class SpeechToTextDataset(FairseqDataset):
    """Speech and text.

    Args:
        split: its name; is_train_split: whether it is trained on (transforms differ).
        cfg: the data configuration.
        audio_paths: files of features or audio; n_frames: their lengths.
        src_texts, tgt_texts, speakers, src_langs, tgt_langs, ids: per sample, where known.
        tgt_dict: dictionary of the targets.
        pre_tokenizer, bpe_tokenizer: applied to target texts.
        n_frames_per_step: frames joined into one.
        speaker_to_id: numbers of speakers.
        append_eos: end targets with the end of sentence.

    Raises:
        AssertionError: lists of unequal length, or a language token that the dictionary lacks.
    """

    LANG_TAG_TEMPLATE = "<lang:{}>"

    def __init__(
        self, split: str, is_train_split: bool, cfg: S2TDataConfig, audio_paths: list[str], n_frames: list[int],
        src_texts: Optional[list[str]] = None, tgt_texts: Optional[list[str]] = None,
        speakers: Optional[list[str]] = None, src_langs: Optional[list[str]] = None,
        tgt_langs: Optional[list[str]] = None, ids: Optional[list[str]] = None, tgt_dict: Any = None,
        pre_tokenizer: Any = None, bpe_tokenizer: Any = None, n_frames_per_step: int = 1,
        speaker_to_id: Optional[dict[str, int]] = None, append_eos: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.n_samples = len(audio_paths)
        for name, values in (("n_frames", n_frames), ("src_texts", src_texts), ("tgt_texts", tgt_texts), ("ids", ids)):
            if values is not None and len(values) != self.n_samples:
                raise AssertionError(f"{len(values)} {name} for {self.n_samples} audio_paths")
        if tgt_texts is not None and tgt_dict is None:
            raise AssertionError("target texts need a dictionary")
        self.split, self.is_train_split = split, is_train_split
        self.cfg = cfg
        self.audio_paths, self.n_frames = audio_paths, n_frames
        self.src_texts, self.tgt_texts = src_texts, tgt_texts
        self.src_langs, self.tgt_langs = src_langs, tgt_langs
        self.speakers = speakers
        self.ids = ids
        self.tgt_dict = tgt_dict
        self.shuffle = cfg.shuffle if is_train_split else False
        self.feature_transforms = CompositeAudioFeatureTransform.from_config_dict(
            cfg.get_feature_transforms(split, is_train_split)
        )
        self.waveform_transforms = CompositeAudioWaveformTransform.from_config_dict(
            cfg.get_waveform_transforms(split, is_train_split)
        )
        if cfg.get_transforms("dataset_", split, is_train_split):
            raise NotImplementedError("dataset_transforms of the data configuration are not available here")
        self.pre_tokenizer = pre_tokenizer
        self.bpe_tokenizer = bpe_tokenizer
        self.n_frames_per_step = n_frames_per_step
        self.speaker_to_id = speaker_to_id
        self.append_eos = append_eos
        if cfg.prepend_tgt_lang_tag:
            self.check_tgt_lang_tag()
        self.tgt_lens = self.get_tgt_lens_and_check_oov()
        logger.info("%r", self)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(split="{self.split}", n_samples={self.n_samples:_}, '
            f"prepend_tgt_lang_tag={self.cfg.prepend_tgt_lang_tag}, n_frames_per_step={self.n_frames_per_step}, "
            f"shuffle={self.shuffle}, feature_transforms={self.feature_transforms}, "
            f"waveform_transforms={self.waveform_transforms})"
        )

    @classmethod
    def is_lang_tag(cls, token: str) -> bool:
        """Whether a token names a language."""
        before, after = cls.LANG_TAG_TEMPLATE.split("{}")
        return token.startswith(before) and token.endswith(after) and len(token) > len(before) + len(after)

    def check_tgt_lang_tag(self) -> None:
        """Refuse target languages without a token in the dictionary."""
        if self.tgt_langs is None or self.tgt_dict is None:
            raise AssertionError("prepend_tgt_lang_tag needs target languages and a dictionary")
        tags = {self.LANG_TAG_TEMPLATE.format(language) for language in self.tgt_langs}
        missing = sorted(tag for tag in tags if tag not in self.tgt_dict)
        if missing:
            raise AssertionError(f"the dictionary lacks the language tokens {', '.join(missing)}")

    @classmethod
    def tokenize(cls, tokenizer: Any, text: str) -> str:
        """Text through a tokenizer, if there is one."""
        return text if tokenizer is None else tokenizer.encode(text)

    def get_tokenized_tgt_text(self, index: int) -> str:
        """A target in pieces, separated by spaces."""
        if self.tgt_texts is None:
            raise AssertionError("there are no target texts")
        return self.tokenize(self.bpe_tokenizer, self.tokenize(self.pre_tokenizer, self.tgt_texts[index]))

    @classmethod
    def get_lang_tag_idx(cls, lang: str, dictionary: Any) -> int:
        """Number of a language token."""
        index = dictionary.index(cls.LANG_TAG_TEMPLATE.format(lang))
        if index == dictionary.unk():
            raise AssertionError(f"the dictionary lacks the language token {cls.LANG_TAG_TEMPLATE.format(lang)}")
        return index

    def get_tgt_lens_and_check_oov(self) -> list[int]:
        """Pieces per target; logs how many are unknown."""
        if self.tgt_texts is None:
            return [0] * self.n_samples
        lengths: list[int] = []
        pieces, unknown = 0, 0
        for number in range(self.n_samples):
            tokens = self.get_tokenized_tgt_text(number).split(" ")
            unknown += sum(self.tgt_dict.index(token) == self.tgt_dict.unk() for token in tokens)
            pieces += len(tokens)
            lengths.append(len(tokens))
        logger.info("'%s' has %.2f%% OOV", self.split, 100.0 * unknown / max(pieces, 1))
        return lengths

    def pack_frames(self, feature: Tensor) -> Tensor:
        """Join ``n_frames_per_step`` frames: ``(frames, channels)`` -> fewer, wider ones."""
        if self.n_frames_per_step == 1:
            return feature
        steps = feature.shape[0] // self.n_frames_per_step
        return feature[: self.n_frames_per_step * steps].reshape(steps, -1)

    def _get_source_audio(self, index: int) -> Tensor:
        source = get_features_or_waveform(
            self.audio_paths[index],
            need_waveform=self.cfg.use_audio_input,
            use_sample_rate=self.cfg.use_sample_rate,
            waveform_transforms=self.waveform_transforms,
        )
        if self.cfg.use_audio_input:
            audio = torch.from_numpy(source).float()
            if self.cfg.standardize_audio():
                with torch.no_grad():
                    audio = torch.nn.functional.layer_norm(audio, audio.shape)
            return audio
        if self.feature_transforms is not None:
            source = self.feature_transforms(source)
        return torch.from_numpy(source).float()

    def __getitem__(self, index: int) -> SpeechToTextDatasetItem:
        source = self.pack_frames(self._get_source_audio(index))
        target: Optional[Tensor] = None
        if self.tgt_texts is not None:
            text = self.get_tokenized_tgt_text(index)
            target = self.tgt_dict.encode_line(text, add_if_not_exist=False, append_eos=self.append_eos).long()
            target = self._with_language(target, index)
        speaker = None
        if self.speaker_to_id is not None and self.speakers is not None:
            speaker = self.speaker_to_id[self.speakers[index]]
        return SpeechToTextDatasetItem(index=index, source=source, target=target, speaker_id=speaker)

    def _with_language(self, target: Tensor, index: int) -> Tensor:
        if not (self.cfg.prepend_tgt_lang_tag or self.cfg.prepend_bos_and_append_tgt_lang_tag):
            return target
        if self.tgt_langs is None:
            raise AssertionError("language tokens need the column tgt_lang")
        tag = target.new_tensor([self.get_lang_tag_idx(self.tgt_langs[index], self.tgt_dict)])
        if self.cfg.prepend_tgt_lang_tag:
            target = torch.cat([tag, target])
        if self.cfg.prepend_bos_and_append_tgt_lang_tag:
            target = torch.cat([target.new_tensor([self.tgt_dict.bos()]), target, tag])
        return target

    def __len__(self) -> int:
        return self.n_samples

    def collater(self, samples: Sequence[SpeechToTextDatasetItem], return_order: bool = False) -> dict[str, Any]:
        """A mini-batch, longest source first.

        Returns:
            ``id``, ``net_input`` with ``src_tokens`` ``(B, T, C)`` (or ``(B, T)`` audio), ``src_lengths`` and
            ``prev_output_tokens``, ``speaker``, ``target`` ``(B, L)``, ``target_lengths``, ``ntokens``,
            ``nsentences``; with ``return_order`` also ``order``. No samples give ``{}``.
        """
        if len(samples) == 0:
            return {}
        frames = _collate_frames([sample.source for sample in samples], self.cfg.use_audio_input)
        lengths, order = torch.tensor([len(sample.source) for sample in samples]).sort(descending=True, stable=True)
        target, previous, target_lengths = None, None, None
        ntokens: Any = None
        if self.tgt_texts is not None:
            targets = [samples[i].target for i in order.tolist()]
            pad, eos = self.tgt_dict.pad(), self.tgt_dict.eos()
            target = data_utils.collate_tokens(targets, pad)  # type: ignore[arg-type]
            previous = data_utils.collate_tokens(targets, pad, eos, move_eos_to_beginning=True)  # type: ignore[arg-type]
            target_lengths = torch.tensor([len(one) for one in targets])  # type: ignore[arg-type]
            ntokens = int(target_lengths.sum())
        speaker = None
        if self.speaker_to_id is not None:
            speaker = torch.tensor([sample.speaker_id for sample in samples])[order].view(-1, 1)
        batch = {
            "id": torch.tensor([int(sample.index) for sample in samples], dtype=torch.long)[order],
            "net_input": {"src_tokens": frames[order], "src_lengths": lengths, "prev_output_tokens": previous},
            "nsentences": len(samples),
            "ntokens": ntokens,
            "speaker": speaker,
            "target": target,
            "target_lengths": target_lengths,
        }
        if return_order:
            batch["order"] = order
        return batch

    def num_tokens(self, index: int) -> int:
        return self.n_frames[index]

    def size(self, index: int) -> tuple[int, int]:
        """Frames and target pieces."""
        return self.n_frames[index], self.tgt_lens[index]

    @property
    def sizes(self) -> NDArray[Any]:
        return np.array(self.n_frames)

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        return True

    def ordered_indices(self) -> NDArray[np.int64]:
        """Longest first, ties at random (``shuffle``) or as stored."""
        first = np.random.permutation(len(self)) if self.shuffle else np.arange(len(self))
        return np.lexsort([first, -np.asarray(self.n_frames)])

    def prefetch(self, indices: Any) -> None:
        raise NotImplementedError("speech is read when it is needed")


class SpeechToTextDatasetCreator:
    """Makes data sets from TSV files; the class attributes are the names of their columns and the defaults."""

    KEY_ID, KEY_AUDIO, KEY_N_FRAMES = "id", "audio", "n_frames"
    KEY_TGT_TEXT = "tgt_text"
    KEY_SPEAKER, KEY_SRC_TEXT = "speaker", "src_text"
    KEY_SRC_LANG, KEY_TGT_LANG = "src_lang", "tgt_lang"
    DEFAULT_SPEAKER = DEFAULT_SRC_TEXT = DEFAULT_LANG = ""

    @classmethod
    def _from_list(
        cls,
        split_name: str,
        is_train_split: bool,
        samples: list[dict[str, str]],
        cfg: S2TDataConfig,
        tgt_dict: Any,
        pre_tokenizer: Any,
        bpe_tokenizer: Any,
        n_frames_per_step: int,
        speaker_to_id: Optional[dict[str, int]],
        multitask: Any = None,
    ) -> SpeechToTextDataset:
        if multitask:
            raise NotImplementedError("auxiliary tasks of speech-to-text are not available here")
        root = Path(cfg.audio_root)
        return SpeechToTextDataset(
            split_name, is_train_split, cfg, [(root / sample[cls.KEY_AUDIO]).as_posix() for sample in samples],
            [int(sample[cls.KEY_N_FRAMES]) for sample in samples],
            src_texts=[sample.get(cls.KEY_SRC_TEXT, cls.DEFAULT_SRC_TEXT) for sample in samples],
            tgt_texts=[sample[cls.KEY_TGT_TEXT] for sample in samples],
            speakers=[sample.get(cls.KEY_SPEAKER, cls.DEFAULT_SPEAKER) for sample in samples],
            src_langs=[sample.get(cls.KEY_SRC_LANG, cls.DEFAULT_LANG) for sample in samples],
            tgt_langs=[sample.get(cls.KEY_TGT_LANG, cls.DEFAULT_LANG) for sample in samples],
            ids=[sample[cls.KEY_ID] for sample in samples], bpe_tokenizer=bpe_tokenizer,
            n_frames_per_step=n_frames_per_step, pre_tokenizer=pre_tokenizer, speaker_to_id=speaker_to_id,
            tgt_dict=tgt_dict,
        )  # fmt: skip

    @classmethod
    def get_size_ratios(cls, datasets: Sequence[SpeechToTextDataset], alpha: float = 1.0) -> list[float]:
        """How much of each data set an epoch takes, so that language pairs are as probable as their size ** alpha."""
        pairs = [
            f"{sorted(set(dataset.src_langs or ['']))}->{sorted(set(dataset.tgt_langs or ['']))}"
            for dataset in datasets
        ]
        frames: Counter[str] = Counter()
        for pair, dataset in zip(pairs, datasets):
            frames[pair] += sum(dataset.n_frames)
        total = sum(frames.values())
        weights = {pair: (size / total) ** alpha for pair, size in frames.items()}
        norm = sum(weights.values())
        ratios = [weights[pair] / norm * total / frames[pair] for pair in pairs]
        for dataset, ratio in zip(datasets, ratios):
            logger.info("size ratio of %s: %.3f", dataset.split, ratio)
        return ratios

    @classmethod
    def _load_samples_from_tsv(cls, root: str, split: str) -> list[dict[str, str]]:
        path = Path(root) / f"{split}.tsv"
        if not path.is_file():
            raise FileNotFoundError(f"Dataset not found: {path}")
        with open(path, encoding="utf-8", newline="") as file:
            samples = list(csv.DictReader(file, delimiter="\t", quotechar=None, quoting=csv.QUOTE_NONE))
        if len(samples) == 0:
            raise ValueError(f"Empty manifest: {path}")
        missing = [key for key in (cls.KEY_ID, cls.KEY_AUDIO, cls.KEY_N_FRAMES) if key not in samples[0]]
        if missing:
            raise ValueError(f"{path}: the columns {', '.join(missing)} are missing")
        return [{key: value or "" for key, value in sample.items()} for sample in samples]

    @classmethod
    def from_tsv(
        cls,
        root: str,
        cfg: S2TDataConfig,
        splits: str,
        tgt_dict: Any,
        pre_tokenizer: Any,
        bpe_tokenizer: Any,
        is_train_split: bool,
        epoch: int,
        seed: int,
        n_frames_per_step: int = 1,
        speaker_to_id: Optional[dict[str, int]] = None,
        multitask: Any = None,
    ) -> Any:
        """The data of one or several splits (``splits``: names separated by commas).

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: it is empty, or lacks a column.
        """
        datasets: list[Any] = [
            cls._from_list(
                split,
                is_train_split,
                cls._load_samples_from_tsv(root, split),
                cfg,
                tgt_dict,
                pre_tokenizer,
                bpe_tokenizer,
                n_frames_per_step,
                speaker_to_id,
                multitask,
            )
            for split in splits.split(",")
        ]
        if is_train_split and len(datasets) > 1 and cfg.sampling_alpha != 1.0:
            ratios = cls.get_size_ratios(datasets, alpha=cfg.sampling_alpha)
            datasets = [
                ResamplingDataset(dataset, size_ratio=ratio, seed=seed, epoch=epoch, replace=ratio >= 1.0)
                for dataset, ratio in zip(datasets, ratios)
            ]
        return ConcatDataset(datasets) if len(datasets) > 1 else datasets[0]
