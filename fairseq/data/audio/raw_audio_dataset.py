"""Waveforms, cropped or padded to batches (wav2vec and its kin)."""

import io
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any, Optional, Union

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fairseq.data.audio.audio_utils import is_sf_audio_data, parse_path, read_audio, read_from_stored_zip
from fairseq.data.data_utils import get_bucketed_sizes, get_buckets
from fairseq.data.fairseq_dataset import FairseqDataset
from fairseq.data.text_compressor import TextCompressionLevel, TextCompressor

__all__ = ["FileAudioDataset", "RawAudioDataset"]

logger = logging.getLogger(__name__)


class RawAudioDataset(FairseqDataset):
    """Base of data sets of mono audio; a subclass sets ``sizes`` and gives samples ``{"id", "source"}``.

    Args:
        sample_rate: what audio has to have, in Hz.
        max_sample_size: longer samples are cropped, at random.
        min_sample_size: shorter ones are left out (by subclasses that read manifests).
        shuffle: shuffle samples of equal length.
        pad: pad batches to their longest sample; otherwise crop to their shortest.
        normalize: mean 0 and variance 1 over each sample.
        compute_mask: make masks here; not available, the models that use it make their own.
        corpus_key: put into batches as ``net_input.corpus_key``.
        feature_encoder_spec, mask_prob, mask_prob_adjust, mask_length, inverse_mask, require_same_masks, clone_batch,
        expand_adjacent, mask_dropout, non_overlapping: of ``compute_mask``.

    Raises:
        NotImplementedError: ``compute_mask``.
    """

    def __init__(
        self, sample_rate: int, max_sample_size: Optional[int] = None, min_sample_size: int = 0, shuffle: bool = True,
        pad: bool = False, normalize: bool = False, compute_mask: bool = False, feature_encoder_spec: str = "None",
        mask_prob: float = 0.75, mask_prob_adjust: float = 0, mask_length: int = 1, inverse_mask: bool = False,
        require_same_masks: bool = True, clone_batch: int = 1, expand_adjacent: bool = False, mask_dropout: float = 0,
        non_overlapping: bool = False, corpus_key: Optional[str] = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if compute_mask:
            raise NotImplementedError("compute_mask: masks of data2vec 2.0 are not made by the data set here")
        self.sample_rate = sample_rate
        self.sizes: Any = []
        self.max_sample_size = max_sample_size if max_sample_size is not None else sys.maxsize
        self.min_sample_size = min_sample_size
        self.pad = pad
        self.shuffle = shuffle
        self.normalize = normalize
        self.corpus_key = corpus_key
        self.num_buckets = 0
        self.buckets: Optional[NDArray[Any]] = None

    def __getitem__(self, index: int) -> dict[str, Any]:
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.sizes)

    def postprocess(self, feats: Tensor, curr_sample_rate: int) -> Tensor:
        """``(samples,)`` or ``(samples, channels)`` -> ``(samples,)``, normalised if that is asked for.

        Raises:
            Exception: another sample rate.
        """
        if feats.dim() == 2:
            feats = feats.mean(-1)
        if curr_sample_rate != self.sample_rate:
            raise Exception(f"sample rate: {curr_sample_rate}, need {self.sample_rate}")
        if self.normalize:
            with torch.no_grad():
                feats = F.layer_norm(feats, feats.shape)
        return feats

    def crop_to_max_size(self, t: Tensor, target_size: int, dim: int = 0) -> Tensor:
        """``target_size`` consecutive entries along ``dim``, from a random place."""
        excess = t.size(dim) - target_size
        if excess <= 0:
            return t
        return t.narrow(dim, np.random.randint(0, excess + 1), target_size)

    def collater(self, samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """``id`` ``(B,)`` and ``net_input``: ``source`` ``(B, T)`` and, when padding, ``padding_mask`` ``(B, T)``."""
        samples = [sample for sample in samples if sample["source"] is not None]
        if len(samples) == 0:
            return {}
        sources = [sample["source"] for sample in samples]
        lengths = [len(source) for source in sources]
        width = min(max(lengths) if self.pad else min(lengths), self.max_sample_size)
        batch = sources[0].new_zeros(len(sources), width)
        mask = torch.zeros(batch.shape, dtype=torch.bool)
        for row, source in enumerate(sources):
            cropped = self.crop_to_max_size(source, width)
            batch[row, : len(cropped)] = cropped
            mask[row, len(cropped) :] = True
        net_input: dict[str, Any] = {"source": batch}
        if self.corpus_key is not None:
            net_input["corpus_key"] = [self.corpus_key] * len(sources)
        if self.pad:
            net_input["padding_mask"] = mask
        if self.num_buckets > 0:
            if not self.pad:
                raise AssertionError("Cannot bucket without padding first.")
            missing = max(int(self._bucketed_sizes[sample["id"]]) for sample in samples) - width
            net_input["source"] = F.pad(batch, (0, missing))
            net_input["padding_mask"] = F.pad(mask, (0, missing), value=True)
        return {"id": torch.tensor([sample["id"] for sample in samples], dtype=torch.long), "net_input": net_input}

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

    Raises:
        AssertionError: a line without exactly two columns.
    """

    def __init__(
        self,
        manifest_path: Union[str, "os.PathLike[str]"],
        sample_rate: int,
        max_sample_size: Optional[int] = None,
        min_sample_size: int = 0,
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
        self.fnames: list[bytes] = []
        sizes: list[int] = []
        with open(manifest_path, encoding="utf-8") as file:
            self.root_dir = file.readline().strip()
            for number, line in enumerate(file):
                columns = line.rstrip("\n").split("\t")
                if len(columns) != 2:
                    raise AssertionError(f"{manifest_path}, line {number + 2}: expected PATH<TAB>SAMPLES, got {line!r}")
                if int(columns[1]) < self.min_sample_size:
                    self.skipped_indices.add(number)
                    continue
                self.fnames.append(self.text_compressor.compress(columns[0]))
                sizes.append(int(columns[1]))
        logger.info("loaded %s, skipped %s samples", len(self.fnames), len(self.skipped_indices))
        self.sizes = np.array(sizes, dtype=np.int64)
        self.set_bucket_info(num_buckets)

    def __getitem__(self, index: int) -> dict[str, Any]:
        name = self.text_compressor.decompress(self.fnames[index])
        path, place = parse_path(os.path.join(self.root_dir, name))
        source: Any = path
        if place:
            data = read_from_stored_zip(path, place[0], place[1])
            if not is_sf_audio_data(data):
                raise ValueError(f"{path}, byte {place[0]}: no WAV, FLAC or OGG audio")
            source = io.BytesIO(data)
        samples, sample_rate = read_audio(source)
        audio = torch.from_numpy(samples).float()
        return {"id": index, "source": self.postprocess(audio, sample_rate)}
