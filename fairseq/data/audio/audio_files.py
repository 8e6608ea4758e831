"""Samples out of audio files, and a sentence where a file does not hold what it says.

Plain WAV files (PCM or floats) are read here; FLAC, OGG and other kinds of WAV by soundfile (extra ``speech``),
which is imported when such a file is met.
"""

import io
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple, Optional, Union

import numpy as np
from numpy.typing import NDArray

__all__ = ["AudioSource", "bytes_as_file", "check_samples", "name_of", "naming_the_place", "read_audio"]

AudioSource = Union[str, "os.PathLike[str]", BinaryIO]

# (format tag, bytes per sample) -> how samples lie in the file, and what makes them [-1, 1].
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
WAV_TYPES: dict[tuple[int, int], tuple[str, float]] = {
    (PCM, 1): ("u1", 2.0**-7),
    (PCM, 2): ("<i2", 2.0**-15),
    (PCM, 3): ("u1", 2.0**-31),
    (PCM, 4): ("<i4", 2.0**-31),
    (FLOAT, 4): ("<f4", 1.0),
    (FLOAT, 8): ("<f8", 1.0),
}
# Programs that write to a pipe do not know the length and leave one of these.
UNKNOWN_LENGTHS = (0, 0x7FFFFFFF, 0xFFFFFFFF)
HIGHEST_RATE = 1_000_000
# Frames that soundfile decodes at a time: a header may promise any number of them.
BLOCK = 1 << 20


class _Wav(NamedTuple):
    """What a WAV header says: where samples begin, how many bytes of them there are, and how they are stored."""

    offset: int
    num_bytes: int
    kind: int
    width: int
    channels: int
    rate: int


def name_of(source: Any) -> str:
    """A file's name for messages."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    return str(getattr(source, "name", "audio in memory"))


@contextmanager
def naming_the_place(place: str) -> Iterator[None]:
    """Put the file and line that list a sample before what is wrong with the sample."""
    try:
        yield
    except (FileNotFoundError, AssertionError, ValueError) as error:
        kind = next(kind for kind in (FileNotFoundError, AssertionError, ValueError) if isinstance(error, kind))
        raise kind(f"{place}: {error}") from None


def read_audio(path_or_fp: AudioSource, start: int = 0, frames: int = -1) -> tuple[NDArray[np.float32], int]:
    """Samples in ``[-1, 1]``, ``(frames, channels)``, and the sample rate.

    Args:
        path_or_fp: path, or an open binary file that can seek.
        start: first frame; below 0 from the end.
        frames: how many; -1 for all that follow.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: soundfile is needed and missing.
        ValueError: no audio, fewer samples than the header says, no samples, or values that are no numbers.
    """
    if isinstance(path_or_fp, (str, os.PathLike)):
        try:
            with open(path_or_fp, "rb") as file:
                return _read(file, os.fspath(path_or_fp), start, frames)
        except FileNotFoundError:
            raise FileNotFoundError(f"File not found: {os.fspath(path_or_fp)}") from None
        except IsADirectoryError:
            raise ValueError(f"{os.fspath(path_or_fp)} is a folder, not an audio file") from None
    return _read(path_or_fp, name_of(path_or_fp), start, frames)


def _read(file: BinaryIO, name: str, start: int, frames: int) -> tuple[NDArray[np.float32], int]:
    if not file.seekable():
        file = bytes_as_file(file.read(), name)
    begin = file.tell()
    size = file.seek(0, os.SEEK_END) - begin
    file.seek(begin)
    wav = _wav_header(file, name, size)
    file.seek(begin)
    if wav is None:
        samples, rate = _read_by_soundfile(file, name, start, frames)
    else:
        samples, rate = _read_wav(file, begin, wav, start, frames), wav.rate
    if not 0 < rate <= HIGHEST_RATE:
        raise ValueError(f"{name}: a sample rate of {rate} Hz")
    check_samples(samples, name)
    return samples, rate


def check_samples(samples: NDArray[Any], name: str) -> None:
    """Refuse audio without samples or with values that are no numbers; ``ValueError`` names the file."""
    if samples.size == 0:
        raise ValueError(f"{name} holds no samples")
    # A sum is one pass without a copy; only a suspicious one is looked at again.
    with np.errstate(invalid="ignore"):
        total = samples.sum(dtype=np.float64)
    if not np.isfinite(total) and not np.isfinite(samples).all():
        raise ValueError(f"{name}: {np.count_nonzero(~np.isfinite(samples))} samples are infinite or not a number")


def _wav_header(file: BinaryIO, name: str, size: int) -> Optional[_Wav]:
    """The header of a WAV file whose samples can be read here; ``None`` for other kinds of audio.

    Raises:
        ValueError: a WAV file that is cut short or contradicts itself.
    """
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    layout: Optional[tuple[int, int, int, int]] = None
    place = 12
    while place + 8 <= size:
        tag, length = struct.unpack("<4sI", file.read(8))
        place += 8
        if tag == b"fmt ":
            layout = _wav_layout(file.read(min(length, 40)), name)
            if layout is None:
                return None
        elif tag == b"data":
            if layout is None:
                raise ValueError(f"{name}: the samples of this WAV file come before their description")
            return _Wav(place, _data_length(length, size - place, layout, name), *layout)
        # Chunks begin at even places.
        place += length + length % 2
        file.seek(place - file.tell(), os.SEEK_CUR)
    raise ValueError(f"{name}: this WAV file ends before its samples begin; it is cut short or damaged")


def _wav_layout(chunk: bytes, name: str) -> Optional[tuple[int, int, int, int]]:
    """``(format, bytes per sample, channels, rate)`` of a ``fmt`` chunk; ``None`` for a format that soundfile knows."""
    if len(chunk) < 16:
        raise ValueError(f"{name}: the header of this WAV file is cut short")
    kind, channels, rate, _, frame_bytes, bits = struct.unpack("<HHIIHH", chunk[:16])
    if kind == EXTENSIBLE and len(chunk) >= 26:
        kind = struct.unpack("<H", chunk[24:26])[0]
    width = (bits + 7) // 8
    if (kind, width) not in WAV_TYPES:
        return None
    if channels == 0 or frame_bytes != channels * width:
        raise ValueError(
            f"{name}: the header of this WAV file contradicts itself: {channels} channels of {bits} bits in frames of "
            f"{frame_bytes} bytes"
        )
    return kind, width, channels, rate


def _data_length(promised: int, there: int, layout: tuple[int, int, int, int], name: str) -> int:
    """Bytes of samples."""
    _, width, channels, _ = layout
    frame = width * channels
    if promised in UNKNOWN_LENGTHS:
        return there - there % frame
    if promised > there:
        raise ValueError(
            f"{name}: the header promises {promised // frame} samples, the file holds {there // frame}; it is cut short"
        )
    return promised - promised % frame


def _read_wav(file: BinaryIO, begin: int, wav: _Wav, start: int, frames: int) -> NDArray[np.float32]:
    frame = wav.width * wav.channels
    total = wav.num_bytes // frame
    first = min(max(start + total, 0) if start < 0 else start, total)
    count = total - first if frames < 0 else min(frames, total - first)
    file.seek(begin + wav.offset + first * frame)
    body = file.read(count * frame)
    dtype, scale = WAV_TYPES[wav.kind, wav.width]
    raw = np.frombuffer(body, dtype=np.dtype(dtype))
    if wav.width == 3:
        # Three bytes become the upper three of a 32-bit integer.
        wide = np.zeros((len(raw) // 3, 4), dtype="u1")
        wide[:, 1:] = raw.reshape(-1, 3)
        raw = wide.reshape(-1).view("<i4")
    samples = raw.astype(np.float32)
    if wav.width == 1:
        samples -= 128.0
    if scale != 1.0:
        samples *= np.float32(scale)
    return samples.reshape(-1, wav.channels)


def _read_by_soundfile(file: BinaryIO, name: str, start: int, frames: int) -> tuple[NDArray[np.float32], int]:
    try:
        import soundfile
    except (ImportError, OSError) as error:
        magic = file.read(4)
        if magic not in (b"RIFF", b"fLaC", b"OggS"):
            raise ValueError(f"{name}: no WAV, FLAC or OGG audio") from None
        raise ImportError(f"{name}: please install soundfile to read it: pip install 'fairseq[speech]'") from error
    try:
        with soundfile.SoundFile(file) as audio:
            promised = audio.frames
            first = min(max(start + promised, 0) if start < 0 else start, promised)
            wanted = promised - first if frames < 0 else min(frames, promised - first)
            if first:
                audio.seek(first)
            blocks = []
            left = wanted
            while left > 0:
                block = audio.read(min(left, BLOCK), dtype="float32", always_2d=True)
                if len(block) == 0:
                    break
                blocks.append(block)
                left -= len(block)
            if left > 0:
                raise ValueError(
                    f"{name}: the header promises {promised} samples, the file holds fewer; it is cut short"
                )
            empty = np.zeros((0, audio.channels), dtype=np.float32)
            return (blocks[0] if len(blocks) == 1 else np.concatenate([empty, *blocks])), int(audio.samplerate)
    except RuntimeError as error:  # soundfile's own errors
        raise ValueError(f"{name}: no readable audio ({_reason(error)})") from None


def _reason(error: Exception) -> str:
    """soundfile's reason in one line, without the name of the object it read from."""
    text = " ".join(str(getattr(error, "error_string", error)).split())
    return text.rstrip(".") or type(error).__name__


def bytes_as_file(data: bytes, name: str) -> BinaryIO:
    """Bytes as a file that knows what messages should call it."""
    file = io.BytesIO(data)
    file.name = name  # type: ignore[attr-defined]
    return file
