"""Samples out of WAV files of every kind, and one line about files that do not hold what they say."""

from __future__ import annotations

import builtins
import io
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fairseq.data.audio import audio_utils
from fairseq.data.audio.audio_files import naming_the_place, read_audio

RATE = 16000


def wav(
    body: bytes, kind: int = 1, bits: int = 16, channels: int = 1, rate: int = RATE, promised: int | None = None,
    before: bytes = b"", frame: int | None = None,
) -> bytes:  # fmt: skip
    """A WAV file; ``promised``: bytes of samples that the header tells of, ``before``: chunks before the samples."""
    frame_bytes = channels * ((bits + 7) // 8) if frame is None else frame
    layout = struct.pack("<HHIIHH", kind, channels, rate, rate * frame_bytes % 2**32, frame_bytes, bits)
    data = struct.pack("<4sI", b"data", len(body) if promised is None else promised) + body
    chunks = struct.pack("<4sI", b"fmt ", len(layout)) + layout + before + data
    return struct.pack("<4sI4s", b"RIFF", 4 + len(chunks), b"WAVE") + chunks


@pytest.fixture
def no_soundfile(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without the extra ``speech``."""
    real = builtins.__import__

    def fail(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "soundfile":
            raise ImportError("no soundfile")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", fail)


SAMPLES = np.array([-0.75, -0.5, 0.0, 0.25, 0.5, 0.96875], dtype=np.float32)


def three_bytes(values: Any) -> bytes:
    return b"".join(int(value).to_bytes(3, "little", signed=True) for value in values)


@pytest.mark.parametrize(
    "data",
    [
        wav((SAMPLES * 128 + 128).astype("u1").tobytes(), bits=8),
        wav((SAMPLES * 2**15).astype("<i2").tobytes()),
        wav(three_bytes(SAMPLES * 2**23), bits=24),
        wav((SAMPLES.astype(np.float64) * 2**31).astype("<i4").tobytes(), bits=32),
        wav(SAMPLES.tobytes(), kind=3, bits=32),
        wav(SAMPLES.astype("<f8").tobytes(), kind=3, bits=64),
        wav((SAMPLES * 2**15).astype("<i2").tobytes(), before=b"LIST\x03\x00\x00\x00abc\x00"),
        wav((SAMPLES * 2**15).astype("<i2").tobytes(), promised=0xFFFFFFFF),
    ],
    ids=["8 bits", "16 bits", "24 bits", "32 bits", "floats", "doubles", "a chunk of odd length", "unknown length"],
)
def test_plain_wav_files_need_no_package(data: bytes, no_soundfile: None) -> None:
    found, rate = read_audio(io.BytesIO(data))
    assert rate == RATE
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[:, 0], SAMPLES)


def test_wav_files_are_read_as_soundfile_reads_them(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile", reason="compares with soundfile")
    values = np.random.RandomState(1).uniform(-1, 1, (500, 2))
    for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"):
        for start, frames in ((0, -1), (100, 50), (-30, -1), (-30, 10)):
            soundfile.write(tmp_path / "x.wav", values, RATE, subtype=subtype)
            wanted, _ = soundfile.read(tmp_path / "x.wav", dtype="float32", always_2d=True, start=start, frames=frames)
            found, _ = read_audio(tmp_path / "x.wav", start, frames)
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-7)


def test_flac_without_soundfile_names_the_extra(tmp_path: Path, no_soundfile: None) -> None:
    path = tmp_path / "x.flac"
    path.write_bytes(b"fLaC" + bytes(60))
    with pytest.raises(ImportError, match=r"x\.flac: please install soundfile.*fairseq\[speech\]"):
        audio_utils.get_waveform(path)


INT16 = (SAMPLES * 2**15).astype("<i2").tobytes()
DAMAGED = {
    "cut short": (wav(INT16, promised=1200), "promises 600 samples, the file holds 6"),
    "cut in the header": (wav(INT16)[:30], "cut short|ends before"),
    "no samples": (wav(b""), "holds no samples"),
    "not a number": (
        wav(np.array([0, np.nan], dtype="<f4").tobytes(), kind=3, bits=32),
        "1 samples are infinite or not",
    ),
    "infinite": (
        wav(np.array([np.inf, -np.inf], dtype="<f4").tobytes(), kind=3, bits=32),
        "2 samples are infinite or not",
    ),
    "no channels": (wav(INT16, channels=0, frame=0), "contradicts itself"),
    "frames of another size": (wav(INT16, frame=7), "contradicts itself"),
    "rate 0": (wav(INT16, rate=0), "a sample rate of 0 Hz"),
    "rate of 4 GHz": (wav(INT16, rate=2**32 - 1), "a sample rate of 4294967295 Hz"),
    "text": (b"this is text\n", "no readable audio|no WAV, FLAC or OGG audio"),
    "nothing": (b"", "no readable audio|no WAV, FLAC or OGG audio"),
}


@pytest.mark.parametrize("name", list(DAMAGED))
def test_damaged_files_are_named_in_one_line(name: str, tmp_path: Path) -> None:
    data, message = DAMAGED[name]
    path = tmp_path / "bad.wav"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message) as caught:
        audio_utils.get_waveform(str(path))
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"File not found: .*gone\.wav"):
        audio_utils.get_features_or_waveform(tmp_path / "gone.wav")
    with pytest.raises(FileNotFoundError, match=r"File not found: .*gone\.npy"):
        audio_utils.get_features_or_waveform(tmp_path / "gone.npy")
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(ValueError, match="is a folder"):
        audio_utils.get_waveform(tmp_path / "folder.wav")


def test_features_that_are_none_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    whole = io.BytesIO()
    np.save(whole, np.ones((20, 4), dtype=np.float32))
    for data in (b"text", whole.getvalue()[:-40], whole.getvalue()[:20]):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"x\.npy cannot be read as a file of NumPy arrays"):
            audio_utils.get_features_or_waveform(path)
    np.save(path, np.array([[1.0, np.nan]]))
    with pytest.raises(ValueError, match=r"x\.npy: 1 features are not a number"):
        audio_utils.get_features_or_waveform(path)


@pytest.mark.parametrize(("offset", "length"), [(0, 10**9), (-1, 4), (5, 0), (100, 1)])
def test_parts_outside_of_an_archive_are_refused(offset: int, length: int, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(bytes(100))
    with pytest.raises(ValueError, match=r"a\.zip has 100 bytes; there are no"):
        audio_utils.get_features_or_waveform(f"{path}:{offset}:{length}")


def test_a_lying_flac_header_is_found(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile", reason="FLAC files are read by soundfile")
    path = tmp_path / "x.flac"
    soundfile.write(path, np.random.RandomState(1).uniform(-1, 1, 20000), RATE, subtype="PCM_16")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"x\.flac"):
        audio_utils.get_waveform(path)
    # The number of samples stands in the lower 36 bits of bytes 18 to 25.
    lying = bytearray(whole)
    lying[21] |= 0x0F
    lying[22:26] = b"\xff\xff\xff\xf0"
    path.write_bytes(bytes(lying))
    with pytest.raises(ValueError, match=r"x\.flac"):
        audio_utils.get_waveform(path)


def test_changed_bytes_give_samples_or_one_line(tmp_path: Path) -> None:
    rng = np.random.RandomState(3)
    whole = wav(rng.randint(-9000, 9000, 200).astype("<i2").tobytes(), before=b"LIST\x04\x00\x00\x00abcd")
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            data[rng.randint(0, 64)] = rng.randint(0, 256)
        data = data[: rng.randint(1, len(data) + 1)]
        try:
            found, rate = read_audio(io.BytesIO(bytes(data)))
        except ValueError as error:
            assert "\n" not in str(error)
        else:
            assert found.size > 0
            assert rate > 0


def test_paths_may_be_any_path_like(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(wav(np.zeros(800, dtype="<i2").tobytes()))
    assert audio_utils.get_fbank(path).shape == (3, 80)
    assert audio_utils.parse_path(path) == (os.fspath(path), [])
    assert audio_utils.get_features_or_waveform(path, need_waveform=True).shape == (800,)


def test_the_place_comes_before_the_reason() -> None:
    with (
        pytest.raises(FileNotFoundError, match=r"train\.tsv, line 3: File not found: x\.wav"),
        naming_the_place("train.tsv, line 3"),
    ):
        raise FileNotFoundError("File not found: x.wav")
