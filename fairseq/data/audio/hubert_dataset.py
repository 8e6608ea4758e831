"""Waveforms with labels per frame or per utterance (HuBERT, Hsu et al. 2021)."""

import itertools
import logging
import os
from collections.abc import Callable, Sequence
from typing import Any, Optional, Union

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fairseq.data import data_utils
from fairseq.data.audio.audio_files import naming_the_place
from fairseq.data.audio.audio_utils import _read_listed_audio, _to_mono
from fairseq.data.fairseq_dataset import FairseqDataset

__all__ = ["HubertDataset", "load_audio", "load_label", "load_label_offset", "verify_label_lengths"]

logger = logging.getLogger(__name__)

FilePath = Union[str, "os.PathLike[str]"]


def load_audio(
    manifest_path: FilePath, max_keep: Optional[int], min_keep: Optional[int]
) -> tuple[str, list[str], list[int], int, list[int]]:
    """Read a manifest: the folder in the first line, then ``PATH<TAB>SAMPLES``.

    Args:
        max_keep, min_keep: longer and shorter files are left out; ``None`` for no limit.

    Returns:
        the folder; names, line numbers (0 for the first file) and lengths of the files that are kept; how many files
        there are.

    Raises:
        AssertionError: a line without exactly two columns.
        ValueError: a length that is no whole number. Both name the line.
    """
    names: list[str] = []
    kept: list[int] = []
    sizes: list[int] = []
    short, long = 0, 0
    total = 0
    with open(manifest_path, encoding="utf-8-sig") as file:
        root = file.readline().strip()
        for total, line in enumerate(file, 1):
            columns = line.rstrip("\n").split("\t")
            place = f"{os.fspath(manifest_path)}, line {total + 1}"
            if len(columns) != 2:
                raise AssertionError(f"{place}: expected PATH<TAB>SAMPLES, got {line!r}")
            if not columns[1].strip().isdecimal():
                raise ValueError(f"{place}: the second column is the number of samples, got {columns[1]!r}")
            size = int(columns[1])
            if min_keep is not None and size < min_keep:
                short += 1
            elif max_keep is not None and size > max_keep:
                long += 1
            else:
                names.append(columns[0])
                kept.append(total - 1)
                sizes.append(size)
    logger.info(
        "max_keep=%s, min_keep=%s, loaded %s, skipped %s short and %s long, longest-loaded=%s, shortest-loaded=%s",
        max_keep, min_keep, len(names), short, long, max(sizes, default=0), min(sizes, default=0),
    )  # fmt: skip
    return root, names, kept, total, sizes


def _check_count(lines: int, tot: int, label_path: FilePath) -> None:
    if lines != tot:
        raise AssertionError(f"number of labels does not match ({lines} != {tot}): {os.fspath(label_path)}")


def load_label(label_path: FilePath, inds: Sequence[int], tot: int) -> list[str]:
    """The lines ``inds`` of a label file; ``AssertionError`` unless it has ``tot`` lines."""
    with open(label_path, encoding="utf-8") as file:
        labels = [line.rstrip() for line in file]
    _check_count(len(labels), tot, label_path)
    return [labels[i] for i in inds]


def load_label_offset(label_path: FilePath, inds: Sequence[int], tot: int) -> list[tuple[int, int]]:
    """First byte and the byte behind each of the lines ``inds``; ``AssertionError`` unless there are ``tot`` lines."""
    with open(label_path, "rb") as file:
        ends = list(itertools.accumulate(len(line) for line in file))
    _check_count(len(ends), tot, label_path)
    return [(ends[i - 1] if i else 0, ends[i]) for i in inds]


def verify_label_lengths(
    audio_sizes: Sequence[int], audio_rate: float, label_path: FilePath, label_rate: float, inds: Sequence[int],
    tot: int, tol: float = 0.1,
) -> None:  # fmt: skip
    """Warn about labels that last longer or shorter than their audio, by more than ``tol`` seconds.

    Args:
        audio_sizes: lengths of the audio that is kept, in samples.
        audio_rate, label_rate: samples and labels per second; labels below 0 per second are not checked.
        inds, tot: see :func:`load_label`.
    """
    if label_rate < 0:
        logger.info("%s holds sequence labels, whose lengths are not checked", os.fspath(label_path))
        return
    with open(label_path, encoding="utf-8") as file:
        lengths = [len(line.split()) for line in file]
    _check_count(len(lengths), tot, label_path)
    audio = np.asarray(audio_sizes, dtype=np.float64) / audio_rate
    labels = np.asarray(lengths, dtype=np.float64)[np.asarray(inds, dtype=np.int64)] / label_rate
    wrong = np.flatnonzero(np.abs(audio - labels) > tol)
    for number in wrong[:3].tolist():
        logger.warning(
            "audio and label duration differ too much (|%.2f - %.2f| > %s) in line %s of %s",
            audio[number], labels[number], tol, inds[number] + 1, os.fspath(label_path),
        )  # fmt: skip
    if len(wrong) > 0:
        logger.warning("total %s (%s) audio files whose labels last longer or shorter", len(wrong), tot)


class HubertDataset(FairseqDataset):
    """Audio of a manifest with one or several label files.

    Args:
        manifest_path: see :func:`load_audio`.
        sample_rate: what audio has to have, in Hz.
        label_paths: files with a line of labels per audio file.
        label_rates: labels per second of each file, or one number for all; below 0 for labels of the whole utterance.
        pad_list, eos_list: padding and end of sentence per label file.
        label_processors: line -> tokens, per label file; ``None`` leaves text.
        max_keep_sample_size, min_keep_sample_size: longer and shorter audio is left out.
        max_sample_size: longer audio is cropped.
        shuffle: shuffle samples of equal length.
        pad_audio: pad batches to their longest sample; otherwise crop to their shortest.
        normalize: mean 0 and variance 1 over each sample.
        store_labels: keep labels in memory; otherwise read them when they are needed.
        random_crop: crop at a random place; otherwise the end.
        single_target: give the labels of the first file as ``target``.

    Raises:
        AssertionError: numbers of audio files and labels, or of label files and their settings, differ.
    """

    def __init__(
        self, manifest_path: FilePath, sample_rate: float, label_paths: Sequence[str],
        label_rates: Union[Sequence[float], float], pad_list: Sequence[int], eos_list: Sequence[int],
        label_processors: Optional[Sequence[Callable[[str], Any]]] = None, max_keep_sample_size: Optional[int] = None,
        min_keep_sample_size: Optional[int] = None, max_sample_size: Optional[int] = None, shuffle: bool = True,
        pad_audio: bool = False, normalize: bool = False, store_labels: bool = True, random_crop: bool = False,
        single_target: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.manifest_path = os.fspath(manifest_path)
        self.audio_root, self.audio_names, self._kept, total, self.sizes = load_audio(
            manifest_path, max_keep_sample_size, min_keep_sample_size
        )
        self.sample_rate = sample_rate
        self.shuffle = shuffle
        self.random_crop = random_crop
        self.label_paths = label_paths
        self.num_labels = len(label_paths)
        self.pad_list, self.eos_list = pad_list, eos_list
        self.label_processors = label_processors
        self.single_target = single_target
        is_one = isinstance(label_rates, (int, float))
        self.label_rates: list[float] = [label_rates] * self.num_labels if is_one else list(label_rates)  # type: ignore
        settings = [self.label_rates, pad_list, eos_list, *([label_processors] if label_processors is not None else [])]
        if any(len(values) != self.num_labels for values in settings):
            raise AssertionError(
                f"rates, padding, ends and processors are needed for each of {self.num_labels} label files"
            )
        self.store_labels = store_labels
        if store_labels:
            self.label_list = [load_label(path, self._kept, total) for path in label_paths]
        else:
            self.label_offsets_list = [load_label_offset(path, self._kept, total) for path in label_paths]
        for path, rate in zip(label_paths, self.label_rates):
            verify_label_lengths(self.sizes, sample_rate, path, rate, self._kept, total)
        self.max_sample_size: Any = max_sample_size if max_sample_size is not None else float("inf")
        self.pad_audio = pad_audio
        self.normalize = normalize
        logger.info(
            "pad_audio=%s, random_crop=%s, normalize=%s, max_sample_size=%s",
            pad_audio, random_crop, normalize, self.max_sample_size,
        )  # fmt: skip

    def get_audio(self, index: int) -> Tensor:
        """Audio ``(samples,)`` of a file, after :meth:`postprocess`."""
        name = os.path.join(self.audio_root, self.audio_names[index])
        with naming_the_place(f"{self.manifest_path}, line {self._kept[index] + 2}"):
            samples, rate = _read_listed_audio(name)
            return self.postprocess(torch.from_numpy(samples), rate)

    def get_label(self, index: int, label_idx: int) -> Any:
        """Labels of a sample from one of the label files."""
        if self.store_labels:
            label = self.label_list[label_idx][index]
        else:
            start, end = self.label_offsets_list[label_idx][index]
            with open(self.label_paths[label_idx], "rb") as file:
                file.seek(start)
                label = file.read(end - start).decode("utf-8").rstrip()
        return label if self.label_processors is None else self.label_processors[label_idx](label)

    def get_labels(self, index: int) -> list[Any]:
        """Labels of a sample from every label file."""
        return [self.get_label(index, number) for number in range(self.num_labels)]

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"id": index, "source": self.get_audio(index), "label_list": self.get_labels(index)}

    def __len__(self) -> int:
        return len(self.sizes)

    def postprocess(self, wav: Tensor, cur_sample_rate: int) -> Tensor:
        """``(samples,)`` or ``(samples, channels)`` -> ``(samples,)``, normalised if that is asked for.

        Raises:
            ValueError: another sample rate.
        """
        if cur_sample_rate != self.sample_rate:
            raise ValueError(f"sr {cur_sample_rate} != {self.sample_rate}")
        return _to_mono(wav, self.normalize)

    def crop_to_max_size(self, wav: Tensor, target_size: int) -> tuple[Tensor, int]:
        """At most ``target_size`` samples, and the place of the first."""
        excess = len(wav) - target_size
        if excess <= 0:
            return wav, 0
        start = np.random.randint(0, excess + 1) if self.random_crop else 0
        return wav[start : start + target_size], start

    def collater(self, samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """A mini-batch.

        Returns:
            ``id`` ``(B,)``; ``net_input`` with ``source`` and ``padding_mask`` ``(B, T)``; ``target_list``,
            ``target_lengths_list`` and ``ntokens_list``, one entry per label file, or with ``single_target``
            ``target``, ``target_lengths`` and ``ntokens``. No samples give ``{}``.
        """
        samples = [sample for sample in samples if sample["source"] is not None]
        if len(samples) == 0:
            return {}
        sizes = [len(sample["source"]) for sample in samples]
        size = int(min(max(sizes) if self.pad_audio else min(sizes), self.max_sample_size))
        source, padding_mask, starts = self.collater_audio([sample["source"] for sample in samples], size)
        by_label = [[sample["label_list"][number] for sample in samples] for number in range(self.num_labels)]
        targets, lengths, ntokens = self.collater_label(by_label, size, starts)
        batch: dict[str, Any] = {
            "id": torch.tensor([sample["id"] for sample in samples], dtype=torch.long),
            "net_input": {"source": source, "padding_mask": padding_mask},
        }
        if self.single_target:
            batch.update(target_lengths=lengths[0], ntokens=ntokens[0], target=targets[0])
        else:
            batch.update(target_lengths_list=lengths, ntokens_list=ntokens, target_list=targets)
        return batch

    def collater_audio(self, audios: Sequence[Tensor], audio_size: int) -> tuple[Tensor, Tensor, list[int]]:
        """Audio and its padding mask ``(B, audio_size)``, and where each row begins in its sample."""
        # One draw after the other, in the order of the batch: recorded batches depend on it.
        cropped, starts = zip(*(self.crop_to_max_size(audio, audio_size) for audio in audios))
        source = torch.nn.utils.rnn.pad_sequence(list(cropped), batch_first=True)
        ends = torch.tensor([len(audio) for audio in cropped])[:, None]
        return source, torch.arange(audio_size) >= ends, list(starts)

    def collater_frm_label(
        self, targets: Sequence[Tensor], audio_size: int, audio_starts: Sequence[int], label_rate: float, pad: int
    ) -> tuple[Tensor, Tensor, int]:
        """Labels of the frames that a batch holds: ``(B, L)``, lengths ``(B,)`` and their sum."""
        per_sample = label_rate / self.sample_rate
        starts = [round(start * per_sample) for start in audio_starts]
        count = round(audio_size * per_sample)
        if not self.pad_audio:
            # Labels may end before their audio.
            count = min(count, *(len(target) - start for target, start in zip(targets, starts)))
        return self.collater_seq_label([target[start : start + count] for target, start in zip(targets, starts)], pad)

    def collater_seq_label(self, targets: Sequence[Tensor], pad: int) -> tuple[Tensor, Tensor, int]:
        """Labels of utterances: ``(B, L)``, lengths ``(B,)`` and their sum."""
        lengths = torch.tensor([len(target) for target in targets], dtype=torch.long)
        return data_utils.collate_tokens(targets, pad_idx=pad, left_pad=False), lengths, int(lengths.sum())

    def collater_label(
        self, targets_by_label: Sequence[Sequence[Tensor]], audio_size: int, audio_starts: Sequence[int]
    ) -> tuple[list[Tensor], list[Tensor], list[int]]:
        """Targets, lengths and numbers of labels, each a list over the label files."""
        parts = [
            self.collater_seq_label(targets, pad)
            if rate < 0
            else self.collater_frm_label(targets, audio_size, audio_starts, rate, pad)
            for targets, rate, pad in zip(targets_by_label, self.label_rates, self.pad_list)
        ]
        return [part[0] for part in parts], [part[1] for part in parts], [part[2] for part in parts]

    def num_tokens(self, index: int) -> int:
        return self.size(index)

    def size(self, index: int) -> int:
        """Samples that will be in a batch."""
        return self.sizes[index] if self.pad_audio else int(min(self.sizes[index], self.max_sample_size))

    def ordered_indices(self) -> NDArray[np.int64]:
        """Longest first, ties at random (``shuffle``) or the last one first."""
        first = np.random.permutation(len(self)) if self.shuffle else np.arange(len(self))
        return np.lexsort([first, np.asarray(self.sizes)])[::-1]
