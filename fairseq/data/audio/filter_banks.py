"""Spectral features of waveforms.

``kaldi_fbank``                  log mel filter bank as Kaldi computes it, for recognition and translation
``TTSSpectrogram``, ``TTSMelScale``  magnitudes and mel bands, for speech synthesis
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Union

import numpy as np
import torch
from torch import Tensor, nn

__all__ = [
    "TTSMelScale",
    "TTSSpectrogram",
    "get_fourier_basis",
    "get_mel_filters",
    "get_window",
    "kaldi_fbank",
]

FRAME_SECONDS, SHIFT_SECONDS = 0.025, 0.01
PRE_EMPHASIS = 0.97
LOWEST_HZ = 20.0
FLOOR = torch.finfo(torch.float32).eps
# Frames whose spectra are held at a time.
CHUNK = 1 << 13


def kaldi_fbank(waveform: Tensor, sample_rate: int, n_bins: int = 80) -> Tensor:
    """Log mel energies of 25 ms frames every 10 ms, without dither and energy (Kaldi's ``compute-fbank-feats``).

    Args:
        waveform: ``(samples,)``, in the range of 16-bit integers.
        sample_rate: in Hz.
        n_bins: number of mel bands.

    Returns:
        ``(1 + (samples - frame) // shift, n_bins)``, float32; what remains behind the last whole frame is dropped.

    Raises:
        AssertionError: fewer samples than one frame has.
    """
    length, shift = int(sample_rate * FRAME_SECONDS), int(sample_rate * SHIFT_SECONDS)
    if shift < 1 or waveform.shape[-1] < length or length < 2:
        raise AssertionError(
            f"{waveform.shape[-1]} samples at {sample_rate} Hz are less than one frame of {FRAME_SECONDS * 1000:g} ms"
        )
    padded = 1 << (length - 1).bit_length()
    window, filters = _povey_window(length), _kaldi_mel_filters(n_bins, sample_rate, padded)
    frames = waveform.float().unfold(0, length, shift)
    features = frames.new_empty(len(frames), n_bins)
    for start in range(0, len(frames), CHUNK):
        part = frames[start : start + CHUNK]
        part = part - part.mean(dim=1, keepdim=True)
        # The first sample of a frame has none before it and is weighed against itself.
        part = part - PRE_EMPHASIS * torch.cat([part[:, :1], part[:, :-1]], dim=1)
        power = torch.fft.rfft(part * window, n=padded).abs().square()
        features[start : start + CHUNK] = (power @ filters).clamp_min(FLOOR).log()
    return features


@lru_cache(maxsize=16)
def _povey_window(length: int) -> Tensor:
    return torch.hann_window(length, periodic=False) ** 0.85


@lru_cache(maxsize=16)
def _kaldi_mel_filters(n_bins: int, sample_rate: int, n_fft: int) -> Tensor:
    """Triangles over the mel scale from 20 Hz to the Nyquist rate, ``(n_fft // 2 + 1, n_bins)``."""

    def mel(hertz: Tensor) -> Tensor:
        return 1127.0 * (1.0 + hertz / 700.0).log()

    ends = mel(torch.tensor([LOWEST_HZ, sample_rate / 2], dtype=torch.float64))
    corners = torch.linspace(float(ends[0]), float(ends[1]), n_bins + 2, dtype=torch.float64)
    bins = mel(torch.arange(n_fft // 2 + 1, dtype=torch.float64) * sample_rate / n_fft)[:, None]
    rising = (bins - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - bins) / (corners[2:] - corners[1:-1])
    filters = torch.minimum(rising, falling).clamp_min(0)
    # Kaldi leaves the Nyquist bin out.
    filters[-1] = 0
    return filters.float()


def get_window(window_fn: Callable[..., Tensor], n_fft: int, win_length: int) -> Tensor:
    """``window_fn(win_length)`` with zeros on both sides, ``(n_fft,)``.

    Raises:
        ValueError: the window is longer than ``n_fft``.
    """
    missing = n_fft - win_length
    if missing < 0:
        raise ValueError(f"a window of {win_length} samples does not fit in n_fft {n_fft}")
    return nn.functional.pad(window_fn(win_length), (missing // 2, missing - missing // 2))


def get_fourier_basis(n_fft: int) -> Tensor:
    """Real, then imaginary parts of the discrete Fourier transform: ``(2 * (n_fft // 2 + 1), n_fft)``, float32."""
    basis = torch.fft.rfft(torch.eye(n_fft, dtype=torch.float64), dim=0)
    return torch.cat([basis.real, basis.imag]).float()


def _mel_of_hertz(hertz: Any) -> Any:
    """Slaney's mel scale: straight up to 1000 Hz (15 mels), logarithmic above (27 steps for a factor of 6.4)."""
    hertz = np.asarray(hertz, dtype=np.float64)
    return np.where(hertz < 1000.0, hertz * 3 / 200, 15 + 27 * np.log(np.maximum(hertz, 1000.0) / 1000) / np.log(6.4))


def _hertz_of_mel(mel: Any) -> Any:
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


def get_mel_filters(sample_rate: int, n_fft: int, n_mels: int, f_min: float, f_max: Union[float, None]) -> Tensor:
    """Triangles of equal area over Slaney's mel scale, ``(n_mels, n_fft // 2 + 1)``, float32.

    Args:
        sample_rate, f_min, f_max: in Hz; ``f_max`` ``None`` for the Nyquist rate.
        n_fft: size of the Fourier transform.
        n_mels: number of bands.
    """
    highest = sample_rate / 2 if f_max is None else f_max
    corners = _hertz_of_mel(np.linspace(_mel_of_hertz(f_min), _mel_of_hertz(highest), n_mels + 2))[:, None]
    bins = np.linspace(0, sample_rate / 2, n_fft // 2 + 1)
    rising = (bins - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - bins) / (corners[2:] - corners[1:-1])
    triangles = np.maximum(0, np.minimum(rising, falling)) * 2 / (corners[2:] - corners[:-2])
    return torch.from_numpy(triangles.astype(np.float32))


class TTSSpectrogram(nn.Module):
    """Short-time Fourier transform of ``(channels, samples)`` audio, mirrored at its ends.

    Args:
        n_fft: size of the transform.
        win_length: size of the window, at most ``n_fft``.
        hop_length: samples between frames.
        window_fn: makes the window of a size.
        return_phase: give phases too.
    """

    basis: Tensor

    def __init__(
        self, n_fft: int, win_length: int, hop_length: int, window_fn: Callable[..., Tensor] = torch.hann_window,
        return_phase: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.return_phase = return_phase
        basis = get_fourier_basis(n_fft) * get_window(window_fn, n_fft, win_length)
        self.register_buffer("basis", basis.unsqueeze(1))

    def forward(self, waveform: Tensor) -> Union[Tensor, tuple[Tensor, Tensor]]:
        """Magnitudes ``(channels, n_fft // 2 + 1, frames)``, with ``return_phase`` also phases of the same shape."""
        margin = self.n_fft // 2
        mirrored = nn.functional.pad(waveform.unsqueeze(1), (margin, margin), mode="reflect")
        real, imaginary = nn.functional.conv1d(mirrored, self.basis, stride=self.hop_length).chunk(2, dim=1)
        magnitude = (real**2 + imaginary**2).sqrt()
        return (magnitude, torch.atan2(imaginary, real)) if self.return_phase else magnitude


class TTSMelScale(nn.Module):
    """Mel bands of magnitudes: ``(..., n_stft, frames)`` -> ``(..., n_mels, frames)``; see :func:`get_mel_filters`."""

    basis: Tensor

    def __init__(self, n_mels: int, sample_rate: int, f_min: float, f_max: float, n_stft: int) -> None:
        super().__init__()
        self.register_buffer("basis", get_mel_filters(sample_rate, (n_stft - 1) * 2, n_mels, f_min, f_max))

    def forward(self, specgram: Tensor) -> Tensor:
        """See the class."""
        return torch.matmul(self.basis, specgram)
