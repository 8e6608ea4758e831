"""Kaldi's filter bank: against torchaudio where it is installed, and by its properties."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fairseq.data.audio import audio_utils, filter_banks
from fairseq.data.audio.filter_banks import kaldi_fbank


@pytest.mark.parametrize(("rate", "bins"), [(16000, 80), (8000, 23), (44100, 40), (22050, 80)])
def test_torchaudio_agrees(rate: int, bins: int) -> None:
    try:
        kaldi = pytest.importorskip("torchaudio.compliance.kaldi", reason="compares with torchaudio")
    except OSError:
        pytest.skip("compares with torchaudio, which was built for another version of torch")
    audio = torch.from_numpy(np.random.RandomState(1).uniform(-9000, 9000, (1, rate // 2)).astype(np.float32))
    wanted = kaldi.fbank(audio, num_mel_bins=bins, sample_frequency=rate)
    torch.testing.assert_close(kaldi_fbank(audio[0], rate, bins), wanted, rtol=0, atol=1e-3)


def test_long_audio_is_computed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    audio = torch.from_numpy(np.random.RandomState(1).uniform(-9000, 9000, 16000).astype(np.float32))
    whole = kaldi_fbank(audio, 16000)
    monkeypatch.setattr(filter_banks, "CHUNK", 7)
    torch.testing.assert_close(kaldi_fbank(audio, 16000), whole, rtol=0, atol=1e-5)
    assert whole.shape == (98, 80)


def test_the_names_of_preparation_scripts_give_the_same() -> None:
    audio = np.random.RandomState(1).uniform(-9000, 9000, (1, 2000)).astype(np.float32)
    wanted = kaldi_fbank(torch.from_numpy(audio[0]), 16000, 40).numpy()
    np.testing.assert_array_equal(audio_utils._get_torchaudio_fbank(audio, 16000, 40), wanted)
    np.testing.assert_array_equal(audio_utils._get_kaldi_fbank(audio, 16000, 40), wanted)


def test_less_than_a_frame_is_refused() -> None:
    with pytest.raises(AssertionError, match="399 samples at 16000 Hz are less than one frame of 25 ms"):
        kaldi_fbank(torch.zeros(399), 16000)


def test_mel_filters_have_the_same_area() -> None:
    filters = audio_utils.get_mel_filters(16000, 4096, 20, 20, 8000)
    areas = filters.sum(1) * 16000 / 4096
    torch.testing.assert_close(areas, torch.ones(20), rtol=0, atol=0.02)


def test_a_window_longer_than_the_transform_is_refused() -> None:
    with pytest.raises(ValueError, match="a window of 65 samples does not fit in n_fft 64"):
        audio_utils.get_window(torch.hann_window, 64, 65)
