"""Speech with its transcription or translation, listed in TSV files."""

import csv
import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fairseq.data import data_utils
from fairseq.data.audio.audio_files import naming_the_place
from fairseq.data.audio.audio_utils import get_features_or_waveform
from fairseq.data.audio.data_cfg import S2TDataConfig
from fairseq.data.audio.dataset_transforms import CompositeAudioDatasetTransform
from fairseq.data.audio.dataset_transforms.concataugment import ConcatAugment
from fairseq.data.audio.dataset_transforms.noisyoverlapaugment import NoisyOverlapAugment
from fairseq.data.audio.feature_transforms import CompositeAudioFeatureTransform
from fairseq.data.audio.multitask_targets import TextTargetMultitaskData, WithMultitaskTargets
from fairseq.data.audio.waveform_transforms import CompositeAudioWaveformTransform
from fairseq.data.concat_dataset import ConcatDataset
from fairseq.data.fairseq_dataset import FairseqDataset
from fairseq.data.resampling_dataset import ResamplingDataset

__all__ = [
    "S2TDataConfig",
    "SpeechToTextDataset",
    "SpeechToTextDatasetCreator",
    "SpeechToTextDatasetItem",
    "SpeechToTextMultitaskDataset",
    "TextTargetMultitaskData",
]

logger = logging.getLogger(__name__)


def _collate_frames(frames: Sequence[Tensor], is_audio_input: bool = False) -> Tensor:
    """``(frames, channels)`` features, or ``(samples,)`` audio, padded with zeros and stacked."""
    return torch.nn.utils.rnn.pad_sequence(list(frames), batch_first=True)


def _behind_zeros(features: Tensor) -> Tensor:
    """Decoder input of features ``(B, T, C)``: a frame of zeros, then all frames but the last."""
    return torch.cat([torch.zeros_like(features[:, :1]), features[:, :-1]], dim=1)


def _longest_first(sequences: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """Lengths ``(B,)`` in falling order, and the order; equal lengths stay as they are."""
    return torch.tensor([len(one) for one in sequences]).sort(descending=True, stable=True)


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
    # The file that lists the samples, one per line from the second on, if there is one.
    manifest_path: Optional[str] = None

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
        self.dataset_transforms = CompositeAudioDatasetTransform.from_config_dict(
            cfg.get_dataset_transforms(split, is_train_split)
        )
        self._check_transforms()
        self.pre_tokenizer = pre_tokenizer
        self.bpe_tokenizer = bpe_tokenizer
        self.n_frames_per_step = n_frames_per_step
        self.speaker_to_id = speaker_to_id
        self.append_eos = append_eos
        if cfg.prepend_tgt_lang_tag:
            self.check_tgt_lang_tag()
        self.tgt_lens = self.get_tgt_lens_and_check_oov()
        logger.info("%r", self)

    def _check_transforms(self) -> None:
        """Warn about, or refuse, what does not go together with the input of the model."""
        if not self.cfg.use_audio_input:
            if self.dataset_transforms.has_transform(NoisyOverlapAugment):
                raise ValueError("noisyoverlapaugment mixes waveforms; it needs use_audio_input: true")
            return
        if self.feature_transforms is not None:
            logger.warning("feature transforms are not applied: the input of the model is audio (use_audio_input)")
        if self.cfg.config.get("standardize_audio") is False:
            logger.warning("standardize_audio: false has no effect; audio gets mean 0 and variance 1")

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(split="{self.split}", n_samples={self.n_samples:_}, '
            f"prepend_tgt_lang_tag={self.cfg.prepend_tgt_lang_tag}, n_frames_per_step={self.n_frames_per_step}, "
            f"shuffle={self.shuffle}, feature_transforms={self.feature_transforms}, "
            f"waveform_transforms={self.waveform_transforms}, dataset_transforms={self.dataset_transforms})"
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

    def get_tokenized_tgt_text(self, index: Union[int, Sequence[int]]) -> str:
        """A target, or several behind each other, in pieces separated by spaces."""
        if self.tgt_texts is None:
            raise AssertionError("there are no target texts")
        if _is_int_or_np_int(index):
            texts = [self.tgt_texts[index]]  # type: ignore[index]
        else:
            texts = [self.tgt_texts[one] for one in index]  # type: ignore[union-attr]
        return " ".join(self.tokenize(self.bpe_tokenizer, self.tokenize(self.pre_tokenizer, text)) for text in texts)

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

    def _place(self, index: int) -> str:
        """Where a sample is listed, for messages."""
        if self.manifest_path is not None:
            return f"{self.manifest_path}, line {index + 2}"
        return f"sample {self.ids[index] if self.ids is not None else index} of {self.split}"

    def _read_source(self, index: int) -> Tensor:
        with naming_the_place(self._place(index)):
            source = get_features_or_waveform(
                self.audio_paths[index],
                need_waveform=self.cfg.use_audio_input,
                use_sample_rate=self.cfg.use_sample_rate,
                waveform_transforms=self.waveform_transforms,
            )
        if self.cfg.use_audio_input:
            audio = torch.from_numpy(source).float()
            with torch.no_grad():
                return torch.nn.functional.layer_norm(audio, audio.shape)
        if self.feature_transforms is not None:
            source = self.feature_transforms(source)
        return torch.from_numpy(source).float()

    def _get_source_audio(self, index: Union[int, Sequence[int]]) -> Tensor:
        """Features ``(frames, channels)`` or audio ``(samples,)`` of a sample, or of several behind each other."""
        if _is_int_or_np_int(index):
            return self._read_source(index)  # type: ignore[arg-type]
        return torch.cat([self._read_source(one) for one in index])  # type: ignore[union-attr]

    def __getitem__(self, index: int) -> Any:
        indices: Union[int, list[int]] = index
        if self.dataset_transforms.has_transform(ConcatAugment):
            joiner = self.dataset_transforms.get_transform(ConcatAugment)
            indices = joiner.find_indices(index, self.n_frames, self.n_samples)
        source = self.pack_frames(self._get_source_audio(indices))
        target: Optional[Tensor] = None
        if self.tgt_texts is not None:
            text = self.get_tokenized_tgt_text(indices)
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
        sources: Sequence[Tensor] = [sample.source for sample in samples]
        if self.dataset_transforms.has_transform(NoisyOverlapAugment):
            sources = self.dataset_transforms.get_transform(NoisyOverlapAugment)(sources)
        frames = _collate_frames(sources, self.cfg.use_audio_input)
        lengths, order = _longest_first([sample.source for sample in samples])
        target, previous, target_lengths = None, None, None
        ntokens: Any = None
        if self.tgt_texts is not None:
            targets = [samples[i].target for i in order.tolist()]
            pad = self.tgt_dict.pad()
            target = data_utils.collate_tokens(targets, pad)  # type: ignore[arg-type]
            # What ends a target begins the decoder's input: the end of sentence or a language token.
            previous = data_utils.collate_tokens(targets, pad, move_eos_to_beginning=True)  # type: ignore[arg-type]
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


class SpeechToTextMultitaskDataset(WithMultitaskTargets, SpeechToTextDataset):
    """Speech and text with further targets; samples are pairs of an item and the targets of the tasks by name."""


class SpeechToTextDatasetCreator:
    """Makes data sets from TSV files; the class attributes are the names of their columns and the defaults."""

    KEY_ID, KEY_AUDIO, KEY_N_FRAMES = "id", "audio", "n_frames"
    KEY_TGT_TEXT = "tgt_text"
    KEY_SPEAKER, KEY_SRC_TEXT = "speaker", "src_text"
    KEY_SRC_LANG, KEY_TGT_LANG = "src_lang", "tgt_lang"
    DEFAULT_SPEAKER = DEFAULT_SRC_TEXT = DEFAULT_LANG = ""

    @staticmethod
    def _check_columns(samples: list[dict[str, str]], columns: Sequence[str], name: str) -> None:
        """Refuse a list without a column that is needed."""
        missing = [column for column in columns if column not in samples[0]]
        if missing:
            raise ValueError(f"{name}.tsv: the columns {', '.join(missing)} are missing")

    @classmethod
    def _columns(cls, samples: list[dict[str, str]], cfg: S2TDataConfig, name: str) -> dict[str, Any]:
        """What every data set of speech and text takes from a list, by the name of the parameter."""
        cls._check_columns(samples, (cls.KEY_ID, cls.KEY_AUDIO, cls.KEY_N_FRAMES, cls.KEY_TGT_TEXT), name)
        root = Path(cfg.audio_root)
        return {
            "audio_paths": [(root / sample[cls.KEY_AUDIO]).as_posix() for sample in samples],
            "n_frames": [int(sample[cls.KEY_N_FRAMES]) for sample in samples],
            "src_texts": [sample.get(cls.KEY_SRC_TEXT, cls.DEFAULT_SRC_TEXT) for sample in samples],
            "tgt_texts": [sample[cls.KEY_TGT_TEXT] for sample in samples],
            "speakers": [sample.get(cls.KEY_SPEAKER, cls.DEFAULT_SPEAKER) for sample in samples],
            "src_langs": [sample.get(cls.KEY_SRC_LANG, cls.DEFAULT_LANG) for sample in samples],
            "tgt_langs": [sample.get(cls.KEY_TGT_LANG, cls.DEFAULT_LANG) for sample in samples],
            "ids": [sample[cls.KEY_ID] for sample in samples],
        }

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
        dataset_class = SpeechToTextMultitaskDataset if multitask else SpeechToTextDataset
        dataset = dataset_class(
            split=split_name, is_train_split=is_train_split, cfg=cfg, **cls._columns(samples, cfg, split_name),
            tgt_dict=tgt_dict, pre_tokenizer=pre_tokenizer, bpe_tokenizer=bpe_tokenizer,
            n_frames_per_step=n_frames_per_step, speaker_to_id=speaker_to_id,
        )  # fmt: skip
        if isinstance(dataset, SpeechToTextMultitaskDataset):
            dataset.add_multitask_datasets(multitask, split_name)
        return dataset

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
    def _load_samples_from_tsv(cls, root: Union[str, "os.PathLike[str]"], split: str) -> list[dict[str, str]]:
        """Rows of ``ROOT/SPLIT.tsv`` by column, with ``""`` where a row ends early.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it has no rows, or a row that cannot be used, named with its line.
        """
        path = Path(root) / f"{split}.tsv"
        if not path.is_file():
            raise FileNotFoundError(f"Dataset not found: {path}")
        try:
            with open(path, encoding="utf-8-sig", newline="") as file:
                samples = list(csv.DictReader(file, delimiter="\t", quotechar=None, quoting=csv.QUOTE_NONE))
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: {error}") from None
        if len(samples) == 0:
            raise ValueError(f"Empty manifest: {path}")
        for line, sample in enumerate(samples, 2):
            if None in sample:
                raise ValueError(f"{path}, line {line}: more columns than the first line names")
            length = sample.get(cls.KEY_N_FRAMES, "0") or ""
            if not length.strip().isdecimal():
                raise ValueError(f"{path}, line {line}: {cls.KEY_N_FRAMES} should be a whole number, got {length!r}")
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
        datasets: list[Any] = []
        for split in splits.split(","):
            samples = cls._load_samples_from_tsv(root, split)
            dataset = cls._from_list(
                split, is_train_split, samples, cfg, tgt_dict, pre_tokenizer, bpe_tokenizer, n_frames_per_step,
                speaker_to_id, multitask,
            )  # fmt: skip
            dataset.manifest_path = str(Path(root) / f"{split}.tsv")
            datasets.append(dataset)
        return cls._joined(datasets, is_train_split, cfg, seed, epoch)

    @classmethod
    def _joined(
        cls, datasets: list[Any], is_train_split: bool, cfg: S2TDataConfig, seed: int, epoch: int
    ) -> Any:  # fmt: skip
        """One data set of several, sampled by ``sampling_alpha`` when they are trained on."""
        if is_train_split and len(datasets) > 1 and cfg.sampling_alpha != 1.0:
            ratios = cls.get_size_ratios(datasets, alpha=cfg.sampling_alpha)
            datasets = [
                ResamplingDataset(dataset, size_ratio=ratio, seed=seed, epoch=epoch, replace=ratio >= 1.0)
                for dataset, ratio in zip(datasets, ratios)
            ]
        return ConcatDataset(datasets) if len(datasets) > 1 else datasets[0]
