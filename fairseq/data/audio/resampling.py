"""Change of sample rate: band-limited interpolation with a windowed sinc (J. O. Smith, "Digital Audio Resampling").

Both rates are divided by their greatest common divisor: ``up`` new samples for ``down`` old ones. New sample ``n`` lies
``(n * down) % up`` parts of ``up`` behind old sample ``n * down // up``, so there are ``up`` different sets of weights.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["resample"]

# Zero crossings of the sinc on each side, pass band as a share of the lower Nyquist rate, shape of the Kaiser window.
# Together: flat within 0.01 dB up to 0.87 of the lower Nyquist rate, 100 dB down from 1.03 of it.
ZERO_CROSSINGS = 48
ROLLOFF = 0.95
KAISER_BETA = 10.0
# Largest matrix of weights, in numbers, for the way that multiplies whole blocks.
LARGEST_MATRIX = 1 << 22
# Old samples in a block of that way, at least.
BLOCK = 256
# Weights computed at a time by the other way.
CHUNK = 1 << 22


def resample(audio: Tensor, old_rate: int, new_rate: int) -> Tensor:
    """Resample along the last axis; beyond its ends the audio counts as silence.

    Args:
        audio: ``(..., samples)``, floating point.
        old_rate, new_rate: in Hz, whole and positive.

    Returns:
        ``(..., ceil(samples * new_rate / old_rate))``, of the dtype of ``audio``.

    Raises:
        ValueError: a rate is not positive.
    """
    if old_rate <= 0 or new_rate <= 0:
        raise ValueError(f"sample rates are positive; got {old_rate} and {new_rate}")
    divisor = math.gcd(int(old_rate), int(new_rate))
    up, down = int(new_rate) // divisor, int(old_rate) // divisor
    if up == down:
        return audio
    total = -(-audio.shape[-1] * up // down)
    if total == 0:
        return audio.new_zeros((*audio.shape[:-1], 0))
    if up * (down + 2 * _reach(up, down)) <= LARGEST_MATRIX:
        return _by_blocks(audio, up, down, total)
    return _by_samples(audio, up, down, total)


def _by_blocks(audio: Tensor, up: int, down: int, total: int) -> Tensor:
    """A block of old samples, with their neighbours, times one matrix makes a block of new ones."""
    matrix = _matrix(up, down).to(audio)
    reach, repeats = _reach(up, down), matrix.shape[1] // up
    up, down = up * repeats, down * repeats
    width, blocks = matrix.shape[0], -(-total // up)
    behind = max((blocks - 1) * down + width - audio.shape[-1] - reach, 0)
    padded = torch.nn.functional.pad(audio, (reach, behind))
    return (padded.unfold(-1, width, down)[..., :blocks, :] @ matrix).flatten(-2)[..., :total]


def _by_samples(audio: Tensor, up: int, down: int, total: int) -> Tensor:
    """Every new sample by itself, for rates whose matrix would be large (44,100 and 15,999)."""
    reach = _reach(up, down)
    taps = 2 * reach + 1
    windows = torch.nn.functional.pad(audio, (reach, reach)).unfold(-1, taps, 1)
    pieces = []
    for ticks in (torch.arange(total) * down).split(max(1, CHUNK // taps)):
        near = windows[..., torch.div(ticks, up, rounding_mode="floor").to(audio.device), :]
        pieces.append((near * _weights(ticks % up, up, down).to(audio)).sum(-1))
    return torch.cat(pieces, dim=-1)


@lru_cache(maxsize=16)
def _matrix(up: int, down: int) -> Tensor:
    """``(width, new samples)``: a column holds the weights of a new sample, shifted to its place in the block."""
    # Several periods at once where one is short, so that neighbours are read and multiplied together.
    ticks = torch.arange(up * max(1, BLOCK // down)) * down
    weights = _weights(ticks % up, up, down)
    first = torch.div(ticks, up, rounding_mode="floor")
    rows = first[:, None] + torch.arange(weights.shape[1])
    matrix = weights.new_zeros(int(rows.max()) + 1, len(ticks))
    return matrix.scatter_(0, rows.T, weights.T)


def _cutoff(up: int, down: int) -> float:
    """End of the pass band, as a share of the old Nyquist rate."""
    return ROLLOFF * min(1.0, up / down)


def _reach(up: int, down: int) -> int:
    """Old samples that count on each side of a new one."""
    return math.ceil(ZERO_CROSSINGS / _cutoff(up, down))


def _weights(phases: Tensor, up: int, down: int) -> Tensor:
    """Weights of the old samples around new ones, ``phases / up`` behind one: ``(new, taps)``, rows sum to 1."""
    reach = _reach(up, down)
    distances = torch.arange(-reach, reach + 1, dtype=torch.float64)[None, :] - (phases.double() / up)[:, None]
    inside = (1 - (distances / (reach + 1)) ** 2).clamp_min(0)
    weights = torch.sinc(distances * _cutoff(up, down)) * torch.special.i0(KAISER_BETA * inside.sqrt())
    return weights / weights.sum(dim=1, keepdim=True)
