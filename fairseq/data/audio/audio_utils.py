"""Audio and features from files, archives and memory.

``audio_files``   samples out of files
``resampling``    other sample rates
``filter_banks``  features of waveforms
"""

import mmap
import os
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fairseq.data.audio.audio_files import AudioSource, bytes_as_file, name_of, read_audio
from fairseq.data.audio.filter_banks import (
    TTSMelScale,
    TTSSpectrogram,
    get_fourier_basis,
    get_mel_filters,
    get_window,
    kaldi_fbank,
)
from fairseq.data.audio.resampling import resample
from fairseq.utils.source_names import naming_array

__all__ = [
    "FEATURE_OR_SF_AUDIO_FILE_EXTENSIONS",
    "SF_AUDIO_FILE_EXTENSIONS",
    "TTSMelScale",
    "TTSSpectrogram",
    "convert_waveform",
    "get_fbank",
    "get_features_from_npy_or_audio",
    "get_features_or_waveform",
    "get_features_or_waveform_from_stored_zip",
    "get_fourier_basis",
    "get_mel_filters",
    "get_waveform",
    "get_window",
    "is_npy_data",
    "is_sf_audio_data",
    "mmap_read",
    "parse_path",
    "read_audio",
    "read_from_stored_zip",
]

SF_AUDIO_FILE_EXTENSIONS = {".wav", ".flac", ".ogg"}
FEATURE_OR_SF_AUDIO_FILE_EXTENSIONS = {".npy", ".wav", ".flac", ".ogg"}

FilePath = Union[str, "os.PathLike[str]"]


def convert_waveform(
    waveform: Any,
    sample_rate: int,
    normalize_volume: bool = False,
    to_mono: bool = False,
    to_sample_rate: Optional[int] = None,
) -> tuple[Any, int]:
    """Change level, channels and rate of ``(channels, samples)`` audio; an array in gives an array out.

    Args:
        waveform: array or tensor.
        sample_rate: of ``waveform``.
        normalize_volume: scale so that the largest sample is 1 in size.
        to_mono: average the channels.
        to_sample_rate: resample.
    """
    audio = torch.from_numpy(np.ascontiguousarray(waveform)) if isinstance(waveform, np.ndarray) else waveform
    if normalize_volume:
        audio = audio / audio.abs().max().clamp_min(1e-8)
    if to_mono and audio.shape[0] > 1:
        audio = audio.mean(dim=0, keepdim=True)
    if to_sample_rate is not None and to_sample_rate != sample_rate:
        audio = resample(audio if audio.is_floating_point() else audio.float(), sample_rate, to_sample_rate)
        sample_rate = to_sample_rate
    return (audio.numpy() if isinstance(waveform, np.ndarray) else audio), sample_rate


def get_waveform(
    path_or_fp: AudioSource, normalization: bool = True, mono: bool = True, frames: int = -1, start: int = 0,
    always_2d: bool = True, output_sample_rate: Optional[int] = None, normalize_volume: bool = False,
    waveform_transforms: Any = None,
) -> tuple[NDArray[np.float32], int]:  # fmt: skip
    """Samples ``(channels, samples)`` and the sample rate of an audio file.

    Args:
        path_or_fp: path, or an open binary file.
        normalization: samples in ``[-1, 1]``; otherwise in the range of 16-bit integers.
        mono: average the channels.
        frames: how many to read; -1 for all. start: where.
        always_2d: otherwise a single channel gives ``(samples,)``.
        output_sample_rate: resample.
        normalize_volume: scale to the full range.
        waveform_transforms: applied last.

    Raises:
        FileNotFoundError, ValueError, ImportError: see :func:`fairseq.data.audio.audio_files.read_audio`.
        ValueError: unknown kind of file, or several channels without ``mono`` and ``always_2d``.
    """
    if isinstance(path_or_fp, (str, os.PathLike)) and Path(path_or_fp).suffix.lower() not in SF_AUDIO_FILE_EXTENSIONS:
        raise ValueError(f"Unsupported audio format: {Path(path_or_fp).suffix.lower()} ({os.fspath(path_or_fp)})")
    samples, sample_rate = read_audio(path_or_fp, start, frames)
    waveform: Any = np.ascontiguousarray(samples.T)
    waveform, sample_rate = convert_waveform(waveform, sample_rate, normalize_volume, mono, output_sample_rate)
    if not normalization:
        waveform = waveform * 2**15
    if waveform_transforms is not None:
        waveform, sample_rate = waveform_transforms(waveform, sample_rate)
    return (waveform if always_2d else waveform.squeeze(axis=0)), sample_rate


def _get_torchaudio_fbank(waveform: NDArray[Any], sample_rate: int, n_bins: int = 80) -> NDArray[np.float32]:
    """Filter bank of the first channel of ``(channels, samples)`` audio in the range of 16-bit integers.

    The values are those of torchaudio's ``compliance.kaldi.fbank``; the package is not needed.
    """
    samples = torch.from_numpy(np.ascontiguousarray(np.atleast_2d(waveform)[0]))
    return kaldi_fbank(samples, sample_rate, n_bins).numpy()


def _get_kaldi_fbank(waveform: NDArray[Any], sample_rate: int, n_bins: int = 80) -> NDArray[np.float32]:
    """The same: preparation scripts of plug-ins ask for this one first, which used pyKaldi and its random dither."""
    return _get_torchaudio_fbank(waveform, sample_rate, n_bins)


def get_fbank(path_or_fp: AudioSource, n_bins: int = 80, waveform_transforms: Any = None) -> NDArray[np.float32]:
    """Kaldi's log mel filter bank of an audio file, ``(frames, n_bins)``; see :func:`.filter_banks.kaldi_fbank`.

    Raises:
        AssertionError: the audio is shorter than 25 ms.
    """
    waveform, sample_rate = get_waveform(path_or_fp, normalization=False, waveform_transforms=waveform_transforms)
    try:
        return _get_torchaudio_fbank(waveform, sample_rate, n_bins)
    except AssertionError as error:
        raise AssertionError(f"{name_of(path_or_fp)}: {error}") from None


def is_npy_data(data: bytes) -> bool:
    """Whether bytes begin as a ``.npy`` file."""
    return data[:2] == b"\x93N"


def is_sf_audio_data(data: bytes) -> bool:
    """Whether bytes begin as a WAV, FLAC or OGG file."""
    return data[:3] in (b"RIF", b"fLa", b"Ogg")


def mmap_read(path: FilePath, offset: int, length: int) -> bytes:
    """Part of a file.

    Raises:
        ValueError: the part does not lie within the file.
    """
    size = os.path.getsize(path)
    if offset < 0 or length < 1 or offset + length > size:
        raise ValueError(f"{os.fspath(path)} has {size} bytes; there are no {length} bytes from byte {offset}")
    with open(path, "rb") as file, mmap.mmap(file.fileno(), length=0, access=mmap.ACCESS_READ) as view:
        return view[offset : offset + length]


def read_from_stored_zip(zip_path: FilePath, offset: int, length: int) -> bytes:
    """An uncompressed member of a zip archive, by its place."""
    return mmap_read(zip_path, offset, length)


def parse_path(path: FilePath) -> tuple[str, list[int]]:
    """``FILE`` or ``ARCHIVE:OFFSET:LENGTH`` -> path and ``[]`` or ``[offset, length]``.

    A plain file of features or audio need not exist yet: it is looked for when it is read.

    Raises:
        FileNotFoundError: no such archive.
        AssertionError: one number only, or more than two.
        ValueError: something else than numbers.
    """
    path = os.fspath(path)
    if Path(path).suffix in FEATURE_OR_SF_AUDIO_FILE_EXTENSIONS:
        return path, []
    name, *numbers = path.split(":")
    if not Path(name).is_file():
        raise FileNotFoundError(f"File not found: {name}")
    if len(numbers) not in (0, 2):
        raise AssertionError(f"Invalid path: {path}")
    try:
        return name, [int(number) for number in numbers]
    except ValueError:
        raise ValueError(f"Invalid path: {path} (expected ARCHIVE:OFFSET:LENGTH)") from None


def _read_listed_audio(name: FilePath) -> tuple[NDArray[Any], int]:
    """Audio of a file, or of ``ARCHIVE:OFFSET:LENGTH``, ``(samples,)`` or ``(samples, channels)``; its rate in Hz.

    Raises:
        ValueError: that place of the archive holds no audio.
    """
    path, place = parse_path(name)
    if not place:
        return read_audio(path)
    data = read_from_stored_zip(path, place[0], place[1])
    if not is_sf_audio_data(data):
        raise ValueError(f"{path}, byte {place[0]}: no WAV, FLAC or OGG audio")
    return read_audio(bytes_as_file(data, os.fspath(name)))


def _to_mono(audio: Tensor, normalize: bool) -> Tensor:
    """``(samples,)`` or ``(samples, channels)`` -> ``(samples,)``, with mean 0 and variance 1 for ``normalize``."""
    if audio.dim() == 2:
        audio = audio.mean(-1)
    if normalize:
        with torch.no_grad():
            audio = torch.nn.functional.layer_norm(audio, audio.shape)
    return audio


def _load_npy(path_or_fp: AudioSource) -> NDArray[Any]:
    """Features of a ``.npy`` file; ``ValueError`` names a file that holds none, or values that are not numbers."""
    name = name_of(path_or_fp)
    try:
        with naming_array(name):
            features = np.load(path_or_fp)
    except FileNotFoundError:
        raise FileNotFoundError(f"File not found: {name}") from None
    if not isinstance(features, np.ndarray) or features.dtype.kind not in "fiub":
        raise ValueError(f"{name}: expected an array of numbers")
    if features.dtype.kind == "f" and np.isnan(features).any():
        raise ValueError(f"{name}: {np.count_nonzero(np.isnan(features))} features are not a number")
    return features


def get_features_from_npy_or_audio(path: FilePath, waveform_transforms: Any = None) -> Any:
    """Features ``(frames, channels)`` of a ``.npy`` file, or the filter bank of an audio file."""
    suffix = Path(path).suffix
    if suffix not in FEATURE_OR_SF_AUDIO_FILE_EXTENSIONS:
        raise ValueError(f'Unsupported file format for "{os.fspath(path)}"')
    return _load_npy(path) if suffix == ".npy" else get_fbank(path, waveform_transforms=waveform_transforms)


def get_features_or_waveform_from_stored_zip(
    path: FilePath,
    byte_offset: int,
    byte_size: int,
    need_waveform: bool = False,
    use_sample_rate: Optional[int] = None,
    waveform_transforms: Any = None,
) -> Any:
    """As :func:`get_features_or_waveform`, of a member of an uncompressed zip archive."""
    if Path(path).suffix != ".zip":
        raise AssertionError(f"expected a .zip archive, got {os.fspath(path)}")
    data = read_from_stored_zip(path, byte_offset, byte_size)
    file = bytes_as_file(data, f"{os.fspath(path)}:{byte_offset}:{byte_size}")
    if is_npy_data(data):
        return _load_npy(file)
    if not is_sf_audio_data(data):
        raise ValueError(f'Unknown file format for "{os.fspath(path)}" at {byte_offset}')
    if not need_waveform:
        return get_fbank(file, waveform_transforms=waveform_transforms)
    return get_waveform(
        file,
        always_2d=False,
        output_sample_rate=use_sample_rate,
        waveform_transforms=waveform_transforms,
    )[0]


def get_features_or_waveform(
    path: FilePath, need_waveform: bool = False, use_sample_rate: Optional[int] = None, waveform_transforms: Any = None
) -> Any:
    """Features ``(frames, channels)``, or with ``need_waveform`` samples ``(samples,)``.

    Args:
        path: ``.npy`` features, an audio file, or ``ARCHIVE.zip:OFFSET:LENGTH`` of either.
        need_waveform: read samples.
        use_sample_rate: resample to this.
        waveform_transforms: applied to samples.
    """
    name, place = parse_path(path)
    if place:
        return get_features_or_waveform_from_stored_zip(
            name, place[0], place[1], need_waveform, use_sample_rate, waveform_transforms
        )
    if not need_waveform:
        return get_features_from_npy_or_audio(name, waveform_transforms)
    return get_waveform(
        name,
        always_2d=False,
        output_sample_rate=use_sample_rate,
        waveform_transforms=waveform_transforms,
    )[0]
