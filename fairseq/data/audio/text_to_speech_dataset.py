"""Texts with speech to be made of them, listed in TSV files.

The roles of speech-to-text are swapped: ``tgt_text`` is what a model reads, and the features of ``audio``
are what it learns to give.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np
import torch
from torch import Tensor

from fairseq.data import data_utils
from fairseq.data.audio.audio_files import naming_the_place
from fairseq.data.audio.audio_utils import get_features_or_waveform
from fairseq.data.audio.data_cfg import S2TDataConfig
from fairseq.data.audio.speech_to_text_dataset import (
    SpeechToTextDataset,
    SpeechToTextDatasetCreator,
    _behind_zeros,
    _collate_frames,
    _longest_first,
)

__all__ = ["TextToSpeechDataset", "TextToSpeechDatasetCreator", "TextToSpeechDatasetItem"]


@dataclass
class TextToSpeechDatasetItem:
    """One sample: its number, features ``(frames, channels)``, tokens, speaker, and per token frames, pitch, energy."""

    index: int
    source: Tensor
    target: Optional[Tensor] = None
    speaker_id: Optional[int] = None
    duration: Optional[Tensor] = None
    pitch: Optional[Tensor] = None
    energy: Optional[Tensor] = None


class TextToSpeechDataset(SpeechToTextDataset):
    """Texts and speech.

    Args:
        durations: per sample, the frames of every token.
        pitches, energies: per sample, a ``.npy`` file with a number per token.
        others: see :class:`SpeechToTextDataset`.
    """

    def __init__(
        self, split: str, is_train_split: bool, cfg: S2TDataConfig, audio_paths: list[str], n_frames: list[int],
        src_texts: Optional[list[str]] = None, tgt_texts: Optional[list[str]] = None,
        speakers: Optional[list[str]] = None, src_langs: Optional[list[str]] = None,
        tgt_langs: Optional[list[str]] = None, ids: Optional[list[str]] = None, tgt_dict: Any = None,
        pre_tokenizer: Any = None, bpe_tokenizer: Any = None, n_frames_per_step: int = 1,
        speaker_to_id: Optional[dict[str, int]] = None, durations: Optional[list[list[int]]] = None,
        pitches: Optional[list[str]] = None, energies: Optional[list[str]] = None,
    ) -> None:  # fmt: skip
        super().__init__(
            split, is_train_split, cfg, audio_paths, n_frames, src_texts=src_texts, tgt_texts=tgt_texts,
            speakers=speakers, src_langs=src_langs, tgt_langs=tgt_langs, ids=ids, tgt_dict=tgt_dict,
            pre_tokenizer=pre_tokenizer, bpe_tokenizer=bpe_tokenizer, n_frames_per_step=n_frames_per_step,
            speaker_to_id=speaker_to_id,
        )  # fmt: skip
        self.durations = durations
        self.pitches = pitches
        self.energies = energies

    def _per_token(self, paths: Optional[list[str]], index: int) -> Optional[Tensor]:
        """The numbers of a file, and 0 for the end of sentence."""
        if paths is None:
            return None
        with naming_the_place(self._place(index)):
            numbers = get_features_or_waveform(paths[index])
        return torch.from_numpy(np.concatenate((numbers, [0]))).float()

    def __getitem__(self, index: int) -> TextToSpeechDatasetItem:
        item = super().__getitem__(index)
        duration = None
        if self.durations is not None:
            duration = torch.tensor([*self.durations[index], 0], dtype=torch.long)
        return TextToSpeechDatasetItem(
            index=index,
            source=item.source,
            target=item.target,
            speaker_id=item.speaker_id,
            duration=duration,
            pitch=self._per_token(self.pitches, index),
            energy=self._per_token(self.energies, index),
        )

    def collater(self, samples: Sequence[Any], return_order: bool = False) -> dict[str, Any]:
        """A mini-batch, longest text first.

        Returns:
            ``id``; ``net_input`` with ``src_tokens`` ``(B, L)``, ``src_lengths`` and ``prev_output_tokens``
            ``(B, T, C)``, the features behind a frame of zeros; ``target`` ``(B, T, C)``, ``target_lengths``;
            ``durations``, ``pitches``, ``energies`` ``(B, L)`` or ``None``; ``speaker``, ``ntokens`` (frames),
            ``nsentences``, ``src_texts``. No samples give ``{}``.
        """
        if len(samples) == 0:
            return {}
        texts: list[Tensor] = [sample.target for sample in samples]  # type: ignore[misc]
        lengths, order = _longest_first(texts)
        rows = [samples[i] for i in order.tolist()]
        target = _collate_frames([row.source for row in rows], self.cfg.use_audio_input)
        frames = torch.tensor([len(row.source) for row in rows], dtype=torch.long)
        tokens = data_utils.collate_tokens([texts[i] for i in order.tolist()], self.tgt_dict.pad())
        speaker = None
        if self.speaker_to_id is not None:
            speaker = torch.tensor([row.speaker_id for row in rows], dtype=torch.long).view(-1, 1)

        def per_token(name: str, values: Any) -> Optional[Tensor]:
            return None if values is None else data_utils.collate_tokens([getattr(row, name) for row in rows], 0)

        batch: dict[str, Any] = {
            "id": torch.tensor([int(row.index) for row in rows], dtype=torch.long),
            "net_input": {
                "src_tokens": tokens,
                "src_lengths": lengths,
                "prev_output_tokens": _behind_zeros(target),
            },
            "speaker": speaker,
            "target": target,
            "durations": per_token("duration", self.durations),
            "pitches": per_token("pitch", self.pitches),
            "energies": per_token("energy", self.energies),
            "target_lengths": frames,
            "ntokens": int(frames.sum()),
            "nsentences": len(samples),
            "src_texts": [self.tgt_dict.string(texts[i]) for i in order.tolist()],
        }
        if return_order:
            batch["order"] = order
        return batch


class TextToSpeechDatasetCreator(SpeechToTextDatasetCreator):
    """Makes data sets from TSV files; a further column counts if every row has it."""

    KEY_DURATION, KEY_PITCH, KEY_ENERGY = "duration", "pitch", "energy"

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
    ) -> TextToSpeechDataset:
        common = cls._columns(samples, cfg, split_name)
        root = Path(cfg.audio_root)

        def column(key: str) -> Optional[list[str]]:
            values = [sample.get(key, "") for sample in samples]
            return values if all(values) else None

        def paths(key: str) -> Optional[list[str]]:
            values = column(key)
            return None if values is None else [(root / value).as_posix() for value in values]

        durations = column(cls.KEY_DURATION)
        return TextToSpeechDataset(
            split_name, is_train_split, cfg, **common, tgt_dict=tgt_dict, pre_tokenizer=pre_tokenizer,
            bpe_tokenizer=bpe_tokenizer, n_frames_per_step=n_frames_per_step, speaker_to_id=speaker_to_id,
            durations=None if durations is None else [[int(word) for word in row.split()] for row in durations],
            pitches=paths(cls.KEY_PITCH), energies=paths(cls.KEY_ENERGY),
        )  # fmt: skip
