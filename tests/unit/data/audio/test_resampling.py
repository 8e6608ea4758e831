"""Resampling keeps what is below the lower Nyquist rate and nothing above it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from fairseq.data.audio import resampling
from fairseq.data.audio.audio_utils import convert_waveform
from fairseq.data.audio.resampling import resample

RATES = [(8000, 16000), (16000, 8000), (44100, 16000), (48000, 16000), (16000, 22050), (22050, 16000), (11025, 8000)]


def tone(hertz: float, rate: int, samples: int) -> torch.Tensor:
    return torch.sin(2 * math.pi * hertz * torch.arange(samples, dtype=torch.float64) / rate)


@pytest.mark.parametrize(("old", "new"), RATES)
def test_tones_below_the_limit_stay_and_those_above_vanish(old: int, new: int) -> None:
    limit = min(old, new) / 2
    inner = slice(new // 8, -(new // 8))
    for share in (0.01, 0.4, 0.85):
        found = resample(tone(share * limit, old, old), old, new)
        wanted = tone(share * limit, new, len(found))
        assert float((found - wanted)[inner].abs().max()) < 3e-5
    if new < old:
        assert float(resample(tone(1.05 * limit, old, old), old, new)[inner].abs().max()) < 3e-5


@pytest.mark.parametrize(("old", "new"), RATES)
@pytest.mark.parametrize("samples", [0, 1, 7, 1000, 1003])
def test_the_length_is_rounded_up(old: int, new: int, samples: int) -> None:
    found = resample(torch.ones(2, samples), old, new)
    assert found.shape == (2, -(-samples * new // old))
    assert found.dtype == torch.float32


@pytest.mark.parametrize(("old", "new"), [*RATES, (7, 5), (3, 11)])
def test_both_ways_give_the_same(old: int, new: int, monkeypatch: pytest.MonkeyPatch) -> None:
    audio = torch.from_numpy(np.random.RandomState(1).standard_normal((2, 1001)))
    by_blocks = resample(audio, old, new)
    monkeypatch.setattr(resampling, "LARGEST_MATRIX", 0)
    monkeypatch.setattr(resampling, "CHUNK", 5000)
    torch.testing.assert_close(resample(audio, old, new), by_blocks, rtol=1e-9, atol=1e-9)


def test_a_constant_stays_as_it_is() -> None:
    found = resample(torch.full((4000,), 0.5), 44100, 16000)
    torch.testing.assert_close(found[200:-200], torch.full_like(found[200:-200], 0.5), rtol=0, atol=1e-6)


def test_rates_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="sample rates are positive; got 16000 and 0"):
        resample(torch.ones(5), 16000, 0)


def test_scipy_agrees_on_audio_without_high_tones() -> None:
    signal = pytest.importorskip("scipy.signal", reason="compares with scipy")
    noise = np.random.RandomState(2).standard_normal(8000)
    spectrum = np.fft.rfft(noise)
    spectrum[int(0.4 * len(spectrum)) :] = 0
    audio = np.fft.irfft(spectrum, 8000)
    for up, down in ((2, 1), (1, 2), (3, 2), (160, 125)):
        wanted = signal.resample(audio, 8000 * up // down)
        found = resample(torch.from_numpy(audio), down * 1000, up * 1000).numpy()
        inner = slice(len(wanted) // 4, -len(wanted) // 4)
        np.testing.assert_allclose(found[: len(wanted)][inner], wanted[inner], rtol=0, atol=2e-4)


def test_mono_rate_and_level_are_changed_together(tmp_path: Path) -> None:
    audio = np.random.RandomState(4).uniform(-0.3, 0.3, (2, 800)).astype(np.float32)
    found, rate = convert_waveform(audio, 8000, normalize_volume=True, to_mono=True, to_sample_rate=16000)
    assert (rate, found.shape, found.dtype) == (16000, (1, 1600), np.float32)
    level = np.abs(audio).max()
    mixed = torch.from_numpy(audio / level).mean(0, keepdim=True)
    np.testing.assert_allclose(found, resample(mixed, 8000, 16000).numpy(), rtol=0, atol=1e-6)
