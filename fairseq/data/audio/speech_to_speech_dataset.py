"""Speech with its translation as units or as features, listed in TSV files."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import torch
from torch import Tensor

from fairseq.data import data_utils
from fairseq.data.audio.audio_files import naming_the_place
from fairseq.data.audio.audio_utils import get_features_or_waveform
from fairseq.data.audio.data_cfg import S2SDataConfig
from fairseq.data.audio.multitask_targets import WithMultitaskTargets
from fairseq.data.audio.speech_to_text_dataset import (
    SpeechToTextDataset,
    SpeechToTextDatasetCreator,
    _behind_zeros,
    _collate_frames,
    _longest_first,
)
from fairseq.data.concat_dataset import ConcatDataset

__all__ = [
    "SpeechToSpeechDataset",
    "SpeechToSpeechDatasetCreator",
    "SpeechToSpeechDatasetItem",
    "SpeechToSpeechMultitaskDataset",
]

logger = logging.getLogger(__name__)


@dataclass
class SpeechToSpeechDatasetItem:
    """One sample: number, source features or audio, units or features of the target, speaker, language token."""

    index: int
    source: Tensor
    target: Optional[Tensor] = None
    target_speaker: Optional[Tensor] = None
    tgt_lang_tag: Optional[int] = None


class SpeechToSpeechDataset(SpeechToTextDataset):
    """Speech and its translation.

    Args:
        src_audio_paths, src_n_frames: files of features or audio, and their lengths.
        tgt_audio_paths: units separated by spaces, or files of features.
        tgt_n_frames: their lengths.
        target_is_code: targets are units.
        n_frames_per_step: units or frames of the target that the decoder gives at a time.
        others: see :class:`SpeechToTextDataset`.
    """

    def __init__(
        self, split: str, is_train_split: bool, data_cfg: S2SDataConfig, src_audio_paths: list[str],
        src_n_frames: list[int], tgt_audio_paths: list[str], tgt_n_frames: list[int],
        src_langs: Optional[list[str]] = None, tgt_langs: Optional[list[str]] = None, ids: Optional[list[str]] = None,
        target_is_code: bool = False, tgt_dict: Any = None, n_frames_per_step: int = 1,
    ) -> None:  # fmt: skip
        tgt_texts = tgt_audio_paths if target_is_code else None
        if target_is_code and tgt_dict is None:
            raise AssertionError("units need a dictionary")
        super().__init__(
            split, is_train_split, data_cfg, src_audio_paths, src_n_frames, ids=ids, tgt_dict=tgt_dict,
            tgt_texts=tgt_texts, src_langs=src_langs, tgt_langs=tgt_langs, n_frames_per_step=n_frames_per_step,
        )  # fmt: skip
        self.cfg: S2SDataConfig
        self.tgt_audio_paths = tgt_audio_paths
        self.tgt_lens = [length // n_frames_per_step for length in tgt_n_frames]
        if not len(tgt_audio_paths) == len(tgt_n_frames) == self.n_samples:
            raise AssertionError(f"{len(tgt_audio_paths)} targets and {len(tgt_n_frames)} lengths for {self.n_samples}")
        self.target_is_code = target_is_code
        if data_cfg.prepend_tgt_lang_tag_as_bos:
            self.check_tgt_lang_tag()
        self.tgt_speakers = self._speaker_files()

    def _speaker_files(self) -> Optional[list[str]]:
        """The embedding of each sample's speaker, where the configuration names a folder of lists of them."""
        if not self.cfg.target_speaker_embed:
            return None
        samples = SpeechToTextDatasetCreator._load_samples_from_tsv(self.cfg.target_speaker_embed, self.split)
        name = f"{self.cfg.target_speaker_embed}/{self.split}"
        SpeechToTextDatasetCreator._check_columns(samples, ("id", "speaker_embed"), name)
        files = {sample["id"]: sample["speaker_embed"] for sample in samples}
        missing = [one for one in self.ids or [] if one not in files]
        if missing:
            raise ValueError(f"{name}.tsv: no speaker_embed for {missing[0]} and {len(missing) - 1} others")
        return [files[one] for one in self.ids or []]

    def pack_units(self, input: Tensor) -> Tensor:  # the parameter's name is public
        """Units and an end, ``(n * n_frames_per_step + 1,)``, as numbers of groups, ``(n + 1,)``; the end stays.

        A group is a number in the base of the number of units, its first unit the most significant.
        """
        if self.n_frames_per_step <= 1:
            return input
        special = self.tgt_dict.nspecial
        base = len(self.tgt_dict) - special
        groups = input[:-1].view(-1, self.n_frames_per_step) - special
        powers = base ** torch.arange(self.n_frames_per_step - 1, -1, -1)
        return torch.cat([(groups * powers).sum(1) + special, input[-1:]])

    def __getitem__(self, index: int) -> Any:
        source = self._get_source_audio(index)
        tag, speaker = None, None
        if self.cfg.prepend_tgt_lang_tag_as_bos and self.tgt_langs is not None:
            tag = self.get_lang_tag_idx(self.tgt_langs[index], self.tgt_dict)
        if self.target_is_code:
            units = self.tgt_dict.encode_line(
                self.tgt_audio_paths[index], add_if_not_exist=False, append_eos=True
            ).long()
            count = (len(units) - 1) // self.n_frames_per_step * self.n_frames_per_step
            target = torch.cat([units[:count], units[-1:]])
        else:
            with naming_the_place(self._place(index)):
                target = torch.from_numpy(get_features_or_waveform(self.tgt_audio_paths[index])).float()
            target = self.pack_frames(target)
        if self.tgt_speakers is not None:
            with naming_the_place(self._place(index)):
                speaker = torch.from_numpy(get_features_or_waveform(self.tgt_speakers[index])).float()
        return SpeechToSpeechDatasetItem(
            index=index, source=source, target=target, target_speaker=speaker, tgt_lang_tag=tag
        )

    def _decoder_side(self, targets: list[Tensor], tags: Optional[list[Any]]) -> tuple[Tensor, Tensor, Tensor, int]:
        """Target, decoder input, lengths of the input, tokens."""
        if not self.target_is_code:
            target = _collate_frames(targets, is_audio_input=False)
            lengths = torch.tensor([len(one) for one in targets], dtype=torch.long)
            return target, _behind_zeros(target), lengths, int(lengths.sum())
        pad, eos = self.tgt_dict.pad(), self.tgt_dict.eos()
        packed = [self.pack_units(one) for one in targets]
        previous = data_utils.collate_tokens(packed, pad, eos, move_eos_to_beginning=True)
        if tags is not None:
            previous[:, 0] = torch.tensor(tags)
        lengths = torch.tensor([len(one) for one in packed], dtype=torch.long)
        return data_utils.collate_tokens(targets, pad), previous, lengths, sum(len(one) for one in targets)

    def collater(self, samples: Sequence[Any], return_order: bool = False) -> dict[str, Any]:
        """A mini-batch, longest source first.

        Returns:
            ``id``; ``net_input`` with ``src_tokens``, ``src_lengths``, ``prev_output_tokens`` (groups of units
            ``(B, L)`` or features ``(B, T, C)``) and ``tgt_speaker``; ``speaker``, the same; ``target``,
            ``target_lengths``, ``ntokens``, ``nsentences``. No samples give ``{}``.
        """
        if len(samples) == 0:
            return {}
        lengths, order = _longest_first([sample.source for sample in samples])
        rows = [samples[i] for i in order.tolist()]
        tags = [row.tgt_lang_tag for row in rows] if self.cfg.prepend_tgt_lang_tag_as_bos else None
        target, previous, target_lengths, ntokens = self._decoder_side([row.target for row in rows], tags)
        speaker = None
        if self.cfg.target_speaker_embed:
            speaker = _collate_frames([row.target_speaker for row in rows], is_audio_input=True)
        batch: dict[str, Any] = {
            "id": torch.tensor([int(row.index) for row in rows], dtype=torch.long),
            "net_input": {
                "src_tokens": _collate_frames([row.source for row in rows], self.cfg.use_audio_input),
                "src_lengths": lengths,
                "prev_output_tokens": previous,
                "tgt_speaker": speaker,
            },
            "nsentences": len(samples),
            "ntokens": ntokens,
            "speaker": speaker,
            "target": target,
            "target_lengths": target_lengths,
        }
        if return_order:
            batch["order"] = order
        return batch


class SpeechToSpeechMultitaskDataset(WithMultitaskTargets, SpeechToSpeechDataset):
    """Speech and its translation with further targets; samples are pairs of an item and the targets by name."""


class SpeechToSpeechDatasetCreator:
    """Makes data sets from TSV files; the class attributes are the names of their columns and the default."""

    DEFAULT_LANG = ""
    KEY_ID = "id"
    KEY_SRC_AUDIO, KEY_TGT_AUDIO = "src_audio", "tgt_audio"
    KEY_SRC_N_FRAMES, KEY_TGT_N_FRAMES = "src_n_frames", "tgt_n_frames"
    KEY_SRC_LANG, KEY_TGT_LANG = "src_lang", "tgt_lang"

    @classmethod
    def _from_list(
        cls, split_name: str, is_train_split: bool, samples: list[dict[str, str]], data_cfg: S2SDataConfig,
        target_is_code: bool = False, tgt_dict: Any = None, n_frames_per_step: int = 1, multitask: Any = None,
    ) -> SpeechToSpeechDataset:  # fmt: skip
        lengths = (cls.KEY_SRC_N_FRAMES, cls.KEY_TGT_N_FRAMES)
        columns = (cls.KEY_ID, cls.KEY_SRC_AUDIO, cls.KEY_TGT_AUDIO, *lengths)
        SpeechToTextDatasetCreator._check_columns(samples, columns, split_name)
        for line, sample in enumerate(samples, 2):
            for key in lengths:
                if not sample[key].strip().isdecimal():
                    raise ValueError(f"{split_name}.tsv, line {line}: {key} is no whole number: {sample[key]!r}")
        root = Path(data_cfg.audio_root)
        targets = [sample[cls.KEY_TGT_AUDIO] for sample in samples]
        dataset_class = SpeechToSpeechMultitaskDataset if multitask else SpeechToSpeechDataset
        dataset = dataset_class(
            split=split_name, is_train_split=is_train_split, data_cfg=data_cfg,
            src_audio_paths=[(root / sample[cls.KEY_SRC_AUDIO]).as_posix() for sample in samples],
            src_n_frames=[int(sample[cls.KEY_SRC_N_FRAMES]) for sample in samples],
            tgt_audio_paths=targets if target_is_code else [(root / path).as_posix() for path in targets],
            tgt_n_frames=[int(sample[cls.KEY_TGT_N_FRAMES]) for sample in samples],
            src_langs=[sample.get(cls.KEY_SRC_LANG, cls.DEFAULT_LANG) for sample in samples],
            tgt_langs=[sample.get(cls.KEY_TGT_LANG, cls.DEFAULT_LANG) for sample in samples],
            ids=[sample[cls.KEY_ID] for sample in samples], target_is_code=target_is_code, tgt_dict=tgt_dict,
            n_frames_per_step=n_frames_per_step,
        )  # fmt: skip
        if isinstance(dataset, SpeechToSpeechMultitaskDataset):
            dataset.add_multitask_datasets(multitask, split_name)
        return dataset

    @classmethod
    def from_tsv(
        cls, root: str, data_cfg: S2SDataConfig, splits: str, is_train_split: bool, epoch: int, seed: int,
        target_is_code: bool = False, tgt_dict: Any = None, n_frames_per_step: int = 1, multitask: Any = None,
    ) -> Any:  # fmt: skip
        """The data of one or several splits (``splits``: names separated by commas); all of it in every epoch.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: it is empty, lacks a column, or has a row that cannot be used.
        """
        datasets: list[Any] = []
        for split in splits.split(","):
            samples = SpeechToTextDatasetCreator._load_samples_from_tsv(root, split)
            dataset = cls._from_list(
                split, is_train_split, samples, data_cfg, target_is_code, tgt_dict, n_frames_per_step, multitask
            )
            dataset.manifest_path = str(Path(root) / f"{split}.tsv")
            datasets.append(dataset)
        return ConcatDataset(datasets) if len(datasets) > 1 else datasets[0]
