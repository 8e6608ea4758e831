"""Reading audio and features from files, archives and memory.

Audio is read by soundfile (extra ``speech``); plain PCM ``.wav`` files also without it.
"""

import io
import mmap
import wave
from pathlib import Path
from typing import Any, BinaryIO, Optional, Union

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FEATURE_OR_SF_AUDIO_FILE_EXTENSIONS",
    "SF_AUDIO_FILE_EXTENSIONS",
    "convert_waveform",
    "get_fbank",
    "get_features_from_npy_or_audio",
    "get_features_or_waveform",
    "get_features_or_waveform_from_stored_zip",
    "get_waveform",
    "is_npy_data",
    "is_sf_audio_data",
    "mmap_read",
    "parse_path",
    "read_audio",
    "read_from_stored_zip",
]

SF_AUDIO_FILE_EXTENSIONS = {".wav", ".flac", ".ogg"}
FEATURE_OR_SF_AUDIO_FILE_EXTENSIONS = {".npy", ".wav", ".flac", ".ogg"}

Source = Union[str, BinaryIO]
PCM_TYPES: dict[int, np.dtype[Any]] = {1: np.dtype("u1"), 2: np.dtype("<i2"), 4: np.dtype("<i4")}


def read_audio(path_or_fp: Source, start: int = 0, frames: int = -1) -> tuple[NDArray[np.float32], int]:
    """Samples in ``[-1, 1]``, ``(frames, channels)``, and the sample rate.

    Raises:
        ImportError: the file is not plain PCM and soundfile is missing.
    """
    try:
        import soundfile
    except ImportError as error:
        try:
            return _read_pcm(path_or_fp, start, frames)
        except (wave.Error, EOFError):
            raise ImportError("Please install soundfile: pip install soundfile (or fairseq[speech])") from error
    return soundfile.read(path_or_fp, dtype="float32", always_2d=True, frames=frames, start=start)


def _read_pcm(path_or_fp: Source, start: int, frames: int) -> tuple[NDArray[np.float32], int]:
    with wave.open(path_or_fp, "rb") as file:
        width = file.getsampwidth()
        if width not in PCM_TYPES:
            raise wave.Error(f"samples of {width} bytes")
        file.setpos(min(start, file.getnframes()))
        body = file.readframes(file.getnframes() if frames < 0 else frames)
        samples = np.frombuffer(body, dtype=PCM_TYPES[width]).astype(np.float32).reshape(-1, file.getnchannels())
        if width == 1:
            samples -= 128.0
        return samples / float(2 ** (8 * width - 1)), file.getframerate()


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
    import torch

    audio = torch.from_numpy(np.ascontiguousarray(waveform)) if isinstance(waveform, np.ndarray) else waveform
    if normalize_volume:
        audio = audio / audio.abs().max().clamp_min(1e-8)
    if to_mono and audio.shape[0] > 1:
        audio = audio.mean(dim=0, keepdim=True)
    if to_sample_rate is not None and to_sample_rate != sample_rate:
        try:
            from torchaudio.functional import resample
        except ImportError as error:
            raise ImportError("Please install torchaudio to resample audio: pip install torchaudio") from error
        audio = resample(audio, sample_rate, to_sample_rate)
        sample_rate = to_sample_rate
    return (audio.numpy() if isinstance(waveform, np.ndarray) else audio), sample_rate


def get_waveform(
    path_or_fp: Source, normalization: bool = True, mono: bool = True, frames: int = -1, start: int = 0,
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
        ValueError: unknown kind of file.
    """
    if isinstance(path_or_fp, str) and Path(path_or_fp).suffix.lower() not in SF_AUDIO_FILE_EXTENSIONS:
        raise ValueError(f"Unsupported audio format: {Path(path_or_fp).suffix.lower()} ({path_or_fp})")
    samples, sample_rate = read_audio(path_or_fp, start, frames)
    waveform: Any = np.ascontiguousarray(samples.T)
    waveform, sample_rate = convert_waveform(waveform, sample_rate, normalize_volume, mono, output_sample_rate)
    if not normalization:
        waveform = waveform * 2**15
    if waveform_transforms is not None:
        waveform, sample_rate = waveform_transforms(waveform, sample_rate)
    return (waveform if always_2d else waveform.squeeze(axis=0)), sample_rate


def get_fbank(path_or_fp: Source, n_bins: int = 80, waveform_transforms: Any = None) -> NDArray[np.float32]:
    """Kaldi's log mel filter bank of an audio file, ``(frames, n_bins)``; needs torchaudio."""
    import torch

    try:
        import torchaudio.compliance.kaldi as kaldi
    except ImportError as error:
        raise ImportError("Please install torchaudio for filter banks: pip install torchaudio") from error
    waveform, sample_rate = get_waveform(path_or_fp, normalization=False, waveform_transforms=waveform_transforms)
    features = kaldi.fbank(torch.from_numpy(waveform), num_mel_bins=n_bins, sample_frequency=sample_rate)
    return features.numpy()


def is_npy_data(data: bytes) -> bool:
    """Whether bytes begin as a ``.npy`` file."""
    return data[:2] == b"\x93N"


def is_sf_audio_data(data: bytes) -> bool:
    """Whether bytes begin as a WAV, FLAC or OGG file."""
    return data[:3] in (b"RIF", b"fLa", b"Ogg")


def mmap_read(path: str, offset: int, length: int) -> bytes:
    """Part of a file."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), length=0, access=mmap.ACCESS_READ) as view:
        return view[offset : offset + length]


def read_from_stored_zip(zip_path: str, offset: int, length: int) -> bytes:
    """An uncompressed member of a zip archive, by its place."""
    return mmap_read(zip_path, offset, length)


def parse_path(path: str) -> tuple[str, list[int]]:
    """``FILE`` or ``ARCHIVE:OFFSET:LENGTH`` -> path and ``[]`` or ``[offset, length]``.

    Raises:
        FileNotFoundError: no such file.
        AssertionError: one number only, or more than two.
    """
    name, numbers = path, []
    if Path(path).suffix not in FEATURE_OR_SF_AUDIO_FILE_EXTENSIONS:
        name, *numbers = path.split(":")
    if not Path(name).is_file():
        raise FileNotFoundError(f"File not found: {name}")
    if len(numbers) not in (0, 2):
        raise AssertionError(f"Invalid path: {path}")
    return name, [int(number) for number in numbers]


def get_features_from_npy_or_audio(path: str, waveform_transforms: Any = None) -> Any:
    """Features ``(frames, channels)`` of a ``.npy`` file, or the filter bank of an audio file."""
    suffix = Path(path).suffix
    if suffix not in FEATURE_OR_SF_AUDIO_FILE_EXTENSIONS:
        raise ValueError(f'Unsupported file format for "{path}"')
    return np.load(path) if suffix == ".npy" else get_fbank(path, waveform_transforms=waveform_transforms)


def get_features_or_waveform_from_stored_zip(
    path: str,
    byte_offset: int,
    byte_size: int,
    need_waveform: bool = False,
    use_sample_rate: Optional[int] = None,
    waveform_transforms: Any = None,
) -> Any:
    """As :func:`get_features_or_waveform`, of a member of an uncompressed zip archive."""
    if Path(path).suffix != ".zip":
        raise AssertionError(f"expected a .zip archive, got {path}")
    data = read_from_stored_zip(path, byte_offset, byte_size)
    if is_npy_data(data):
        return np.load(io.BytesIO(data))
    if not is_sf_audio_data(data):
        raise ValueError(f'Unknown file format for "{path}" at {byte_offset}')
    if not need_waveform:
        return get_fbank(io.BytesIO(data), waveform_transforms=waveform_transforms)
    return get_waveform(
        io.BytesIO(data),
        always_2d=False,
        output_sample_rate=use_sample_rate,
        waveform_transforms=waveform_transforms,
    )[0]


def get_features_or_waveform(
    path: str, need_waveform: bool = False, use_sample_rate: Optional[int] = None, waveform_transforms: Any = None
) -> Any:
    """Features ``(frames, channels)``, or with ``need_waveform`` samples ``(samples,)``.

    Args:
        path: ``.npy`` features, an audio file, or ``ARCHIVE.zip:OFFSET:LENGTH`` of either.
        need_waveform: read samples.
        use_sample_rate: resample to this.
        waveform_transforms: applied to samples.
    """
    name, place = parse_path(path)
    if not place:
        if need_waveform:
            return get_waveform(
                name,
                always_2d=False,
                output_sample_rate=use_sample_rate,
                waveform_transforms=waveform_transforms,
            )[0]
        return get_features_from_npy_or_audio(name, waveform_transforms)
    return get_features_or_waveform_from_stored_zip(
        name, place[0], place[1], need_waveform, use_sample_rate, waveform_transforms
    )
