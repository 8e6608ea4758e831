"""Waveforms, cropped or padded to batches (wav2vec and its kin)."""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fairseq.data import data_utils
from fairseq.data.audio.audio_files import naming_the_place
from fairseq.data.audio.audio_utils import _read_listed_audio, _to_mono
from fairseq.data.data_utils import get_bucketed_sizes, get_buckets
from fairseq.data.fairseq_dataset import FairseqDataset
from fairseq.data.text_compressor import TextCompressionLevel, TextCompressor
from fairseq.utils.literals import parse_literal

__all__ = ["BinarizedAudioDataset", "FileAudioDataset", "RawAudioDataset"]

logger = logging.getLogger(__name__)


class RawAudioDataset(FairseqDataset):
    """Base of data sets of mono audio; a subclass sets ``sizes`` and gives samples ``{"id", "source"}``.

    Args:
        sample_rate: what audio has to have, in Hz.
        max_sample_size: longer samples are cropped, at random.
        min_sample_size: shorter ones are left out (by subclasses that read manifests); ``None`` for no limit.
        shuffle: shuffle samples of equal length.
        pad: pad batches to their longest sample; otherwise crop to their shortest.
        normalize: mean 0 and variance 1 over each sample.
        compute_mask: put masks over the frames of the model's features into batches, as ``net_input.precomputed_mask``
            ``(clone_batch * B, frames)``, 1.0 where masked (data2vec 2.0); the other models make their own.
        feature_encoder_spec: ``(channels, kernel, stride)`` of the convolutions that make frames of samples.
        mask_prob, mask_length, inverse_mask, require_same_masks, expand_adjacent, mask_dropout, non_overlapping: see
            :func:`fairseq.data.data_utils.compute_block_mask_1d`.
        mask_prob_adjust: kept, and without effect on these masks, as in every release.
        clone_batch: how many times the model repeats a batch, each time with other masks.
        corpus_key: put into batches as ``net_input.corpus_key``.
    """

    def __init__(
        self, sample_rate: int, max_sample_size: Optional[int] = None, min_sample_size: Optional[int] = 0,
        shuffle: bool = True, pad: bool = False, normalize: bool = False, compute_mask: bool = False,
        feature_encoder_spec: str = "None", mask_prob: float = 0.75, mask_prob_adjust: float = 0, mask_length: int = 1,
        inverse_mask: bool = False, require_same_masks: bool = True, clone_batch: int = 1,
        expand_adjacent: bool = False, mask_dropout: float = 0, non_overlapping: bool = False,
        corpus_key: Optional[str] = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.sample_rate = sample_rate
        self.sizes: Any = []
        self.max_sample_size = max_sample_size if max_sample_size is not None else sys.maxsize
        self.min_sample_size = min_sample_size
        self.pad = pad
        self.shuffle = shuffle
        self.normalize = normalize
        self.corpus_key = corpus_key
        self.is_compute_mask = compute_mask
        # Parsed here, so that a wrong one is found before training.
        self._convolutions = parse_literal(feature_encoder_spec) if compute_mask else []
        self.feature_encoder_spec = feature_encoder_spec
        self.mask_prob, self.mask_length, self.mask_dropout = mask_prob, mask_length, mask_dropout
        self.mask_prob_adjust = mask_prob_adjust
        self.inverse_mask, self.non_overlapping = inverse_mask, non_overlapping
        self.expand_adjacent = expand_adjacent
        self.require_same_masks = require_same_masks
        self.clone_batch = clone_batch
        self.num_buckets = 0
        self.buckets: Optional[NDArray[Any]] = None

    def __getitem__(self, index: int) -> dict[str, Any]:
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.sizes)

    def postprocess(self, feats: Tensor, curr_sample_rate: int) -> Tensor:
        """``(samples,)`` or ``(samples, channels)`` -> ``(samples,)``, normalised if that is asked for.

        Raises:
            ValueError: another sample rate.
        """
        if curr_sample_rate != self.sample_rate:
            raise ValueError(f"sample rate: {curr_sample_rate}, need {self.sample_rate}")
        return _to_mono(feats, self.normalize)

    def crop_to_max_size(self, t: Tensor, target_size: int, dim: int = 0) -> Tensor:
        """``target_size`` consecutive entries along ``dim``, from a random place."""
        excess = t.size(dim) - target_size
        if excess <= 0:
            return t
        return t.narrow(dim, np.random.randint(0, excess + 1), target_size)

    def collater(self, samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """A mini-batch.

        Returns:
            ``id`` ``(B,)`` and ``net_input``: ``source`` ``(B, T)``, when padding ``padding_mask`` ``(B, T)``, and
            ``precomputed_mask`` and ``corpus_key`` where they are asked for. No samples give ``{}``.
        """
        samples = [sample for sample in samples if sample["source"] is not None]
        if len(samples) == 0:
            return {}
        sources = [sample["source"] for sample in samples]
        lengths = [len(source) for source in sources]
        width = min(max(lengths) if self.pad else min(lengths), self.max_sample_size)
        # One draw after the other, in the order of the batch: recorded batches depend on it.
        cropped = [self.crop_to_max_size(source, width) for source in sources]
        batch = torch.nn.utils.rnn.pad_sequence(cropped, batch_first=True)
        net_input: dict[str, Any] = {"source": batch}
        if self.corpus_key is not None:
            net_input["corpus_key"] = [self.corpus_key] * len(sources)
        if self.pad:
            ends = torch.tensor([len(source) for source in cropped])[:, None]
            net_input["padding_mask"] = torch.arange(width) >= ends
        if self.num_buckets > 0:
            if not self.pad:
                raise AssertionError("Cannot bucket without padding first.")
            missing = max(int(self._bucketed_sizes[sample["id"]]) for sample in samples) - width
            net_input["source"] = F.pad(batch, (0, missing))
            net_input["padding_mask"] = F.pad(net_input["padding_mask"], (0, missing), value=True)
        if self.is_compute_mask:
            frames = self._num_frames(net_input["source"].shape[1])
            masks = [self.crop_to_max_size(sample["precomputed_mask"], frames, dim=1) for sample in samples]
            net_input["precomputed_mask"] = torch.cat([F.pad(mask, (0, frames - mask.shape[1])) for mask in masks])
        return {"id": torch.tensor([sample["id"] for sample in samples], dtype=torch.long), "net_input": net_input}

    def _num_frames(self, samples: int) -> int:
        """Frames that the convolutions of the model make of samples."""
        for _, kernel, stride in self._convolutions:
            samples = (samples - kernel) // stride + 1
        return samples

    def _sample(self, index: int, source: Tensor) -> dict[str, Any]:
        """A sample: its number, audio ``(samples,)`` and, with ``compute_mask``, masks ``(clone_batch, frames)``."""
        sample: dict[str, Any] = {"id": index, "source": source}
        if self.is_compute_mask:
            sample["precomputed_mask"] = data_utils.compute_block_mask_1d(
                (self.clone_batch, self._num_frames(len(source))),
                mask_prob=self.mask_prob,
                mask_length=self.mask_length,
                inverse_mask=self.inverse_mask,
                require_same_masks=self.require_same_masks,
                expand_adjcent=self.expand_adjacent,
                mask_dropout=self.mask_dropout,
                non_overlapping=self.non_overlapping,
            ).float()
        return sample

    def _read(self, name: Union[str, "os.PathLike[str]"]) -> Tensor:
        """Audio of a file, or of ``ARCHIVE:OFFSET:LENGTH``, after :meth:`postprocess`."""
        samples, sample_rate = _read_listed_audio(name)
        return self.postprocess(torch.from_numpy(samples), sample_rate)

    def num_tokens(self, index: int) -> int:
        return self.size(index)

    def size(self, index: int) -> int:
        """Samples that will be in a batch."""
        if self.pad:
            return int(self.sizes[index])
        return min(int(self.sizes[index]), self.max_sample_size)

    def ordered_indices(self) -> NDArray[np.int64]:
        """Longest first, ties at random; as stored without ``shuffle``."""
        if not self.shuffle:
            return np.arange(len(self))
        lengths = np.minimum(np.array(self.sizes), self.max_sample_size)
        return np.lexsort([np.random.permutation(len(self)), lengths])[::-1]

    def filter_indices_by_size(self, indices: Any, max_sizes: Any) -> tuple[Any, list[int]]:
        """All of them: long samples are cropped, not left out."""
        return indices, []

    def set_bucket_info(self, num_buckets: int) -> None:
        """Pad to one of so many lengths; 0 for no such thing."""
        self.num_buckets = num_buckets
        if num_buckets <= 0:
            return
        lengths = np.minimum(np.array(self.sizes), self.max_sample_size)
        self.buckets = get_buckets(lengths, num_buckets)
        self._bucketed_sizes = get_bucketed_sizes(lengths, self.buckets)
        logger.info("%s bucket(s) for the audio dataset: %s", len(self.buckets), self.buckets.tolist())


class FileAudioDataset(RawAudioDataset):
    """Audio files listed in a manifest: the folder in the first line, then ``PATH<TAB>SAMPLES``.

    Args:
        manifest_path: the list.
        num_buckets: see ``set_bucket_info``.
        text_compression_level: how names are kept in memory.
        others: see :class:`RawAudioDataset`.

    Attributes:
        skipped_indices: numbers of the files that are too short, counted from 0.

    Raises:
        AssertionError: a line without exactly two columns.
        ValueError: a length that is no whole number. Both name the line.
    """

    def __init__(
        self,
        manifest_path: Union[str, "os.PathLike[str]"],
        sample_rate: int,
        max_sample_size: Optional[int] = None,
        min_sample_size: Optional[int] = 0,
        shuffle: bool = True,
        pad: bool = False,
        normalize: bool = False,
        num_buckets: int = 0,
        compute_mask: bool = False,
        text_compression_level: TextCompressionLevel = TextCompressionLevel.none,
        **mask_compute_kwargs: Any,
    ) -> None:
        super().__init__(
            sample_rate,
            max_sample_size,
            min_sample_size,
            compute_mask=compute_mask,
            normalize=normalize,
            pad=pad,
            shuffle=shuffle,
            **mask_compute_kwargs,
        )
        self.text_compressor = TextCompressor(level=text_compression_level)
        self.skipped_indices: set[int] = set()
        self.manifest_path = os.fspath(manifest_path)
        self.fnames: list[bytes] = []
        sizes: list[int] = []
        lines: list[int] = []
        with open(manifest_path, encoding="utf-8-sig") as file:
            self.root_dir = file.readline().strip()
            for number, line in enumerate(file):
                name, size = self._parse_line(line, number + 2)
                if self.min_sample_size is not None and size < self.min_sample_size:
                    self.skipped_indices.add(number)
                    continue
                self.fnames.append(self.text_compressor.compress(name))
                sizes.append(size)
                lines.append(number + 2)
        logger.info("loaded %s, skipped %s samples", len(self.fnames), len(self.skipped_indices))
        self.sizes = np.array(sizes, dtype=np.int64)
        self._lines = np.array(lines, dtype=np.int64)
        self.set_bucket_info(num_buckets)

    def _parse_line(self, line: str, number: int) -> tuple[str, int]:
        columns = line.rstrip("\n").split("\t")
        if len(columns) != 2:
            raise AssertionError(f"{self.manifest_path}, line {number}: expected PATH<TAB>SAMPLES, got {line!r}")
        if not columns[1].strip().isdecimal():
            raise ValueError(
                f"{self.manifest_path}, line {number}: the second column is the number of samples, got {columns[1]!r}"
            )
        return columns[0], int(columns[1])

    def __getitem__(self, index: int) -> dict[str, Any]:
        name = self.text_compressor.decompress(self.fnames[index])
        with naming_the_place(f"{self.manifest_path}, line {self._lines[index]}"):
            source = self._read(os.path.join(self.root_dir, name))
        return self._sample(index, source)


class BinarizedAudioDataset(RawAudioDataset):
    """Audio files whose names are an indexed data set of pieces.

    ``DATA_DIR`` holds ``dict.txt``, ``SPLIT.bin`` and ``SPLIT.idx`` (pieces that are joined without a separator),
    ``SPLIT.lengths`` (samples, one number per line) and perhaps ``SPLIT.root`` (the folder that names start from).

    Args:
        data_dir, split: see above.
        num_buckets: see ``set_bucket_info``.
        others: see :class:`RawAudioDataset`.

    Raises:
        AssertionError: a file is shorter than ``min_sample_size``, or names and lengths differ in number.
        FileNotFoundError: a file of the folder is missing.
    """

    def __init__(
        self, data_dir: Union[str, "os.PathLike[str]"], split: str, sample_rate: int,
        max_sample_size: Optional[int] = None, min_sample_size: Optional[int] = 0, shuffle: bool = True,
        pad: bool = False, normalize: bool = False, num_buckets: int = 0, compute_mask: bool = False,
        **mask_compute_kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(
            sample_rate, max_sample_size, min_sample_size, compute_mask=compute_mask, normalize=normalize, pad=pad,
            shuffle=shuffle, **mask_compute_kwargs,
        )  # fmt: skip
        from fairseq.data.dictionary import Dictionary

        folder = Path(data_dir)
        self.fnames_dict = Dictionary.load(str(folder / "dict.txt"))
        self.fnames = data_utils.load_indexed_dataset(str(folder / split), self.fnames_dict)
        if self.fnames is None:
            raise FileNotFoundError(f"File not found: {folder / split}.idx")
        root_file = folder / f"{split}.root"
        self.root_dir = root_file.read_text(encoding="utf-8").strip() if root_file.is_file() else ""
        self.lengths_path = folder / f"{split}.lengths"
        self.sizes = self._read_lengths()
        logger.info("loaded %s samples", len(self.fnames))
        self.set_bucket_info(num_buckets)

    def _read_lengths(self) -> NDArray[np.int64]:
        words = self.lengths_path.read_text(encoding="utf-8").split()
        wrong = next((number for number, word in enumerate(words, 1) if not word.isdecimal()), None)
        if wrong is not None:
            raise ValueError(f"{self.lengths_path}, line {wrong}: expected a whole number, got {words[wrong - 1]!r}")
        sizes = np.array(words, dtype=np.int64)
        if len(sizes) != len(self.fnames):
            raise AssertionError(f"{self.lengths_path}: {len(sizes)} lengths for {len(self.fnames)} files")
        if self.min_sample_size is not None and len(sizes) and sizes.min() < self.min_sample_size:
            raise AssertionError(
                f"{self.lengths_path}: {sizes.min()} samples are below min_sample_size {self.min_sample_size}; "
                "leave such files out when the data is prepared"
            )
        return sizes

    def __getitem__(self, index: int) -> dict[str, Any]:
        name = self.fnames_dict.string(self.fnames[index], separator="")
        with naming_the_place(f"{self.lengths_path}, line {index + 1}"):
            source = self._read(os.path.join(self.root_dir, name))
        return self._sample(index, source)
