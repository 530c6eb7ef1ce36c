"""Augmentation of sound, as batched operations on the device of the samples.

`augment` changes windows of samples. Speed is perturbed by resampling, which moves tempo and pitch together
(Ko et al., 2015): it costs a fiftieth of a phase vocoder. Everything else is a product of spectra, so that a
window is transformed there and back once. Encoders that compute log-mels call SpecAugment (Park et al., 2019)
and `change_mel`, which changes tempo and pitch apart from each other.

A window ends now and may begin with zeros. Augmented sound ends where the original ends.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

SPEED = 0.12
"""Largest change of the speed, as a share."""
SPEED_SHARE, ROOM_SHARE, LINE_SHARE = 0.6, 0.35, 0.4
NOISE_SHARE, BABBLE_SHARE, COARSE_SHARE = 0.5, 0.2, 0.15
"""Probability of each change, for each row."""
NOISE_DB = (0.0, 35.0)
"""Ratio of the sound to the added noise."""
BABBLE_DB = (5.0, 25.0)
"""Ratio of the sound to that of the other rows."""
DECAY_S = (0.1, 0.7)
"""Time in which the echo of a room falls by 60 dB."""
DIRECT_DB = (-3.0, 12.0)
"""Ratio of the direct sound to the echo."""
BARS = 2
"""Bars that `spec_augment` hides along each axis."""
MAX_WIDTH = 0.15
"""Of a bar, as a share of its axis."""

_RATE = 16_000
_ECHO = 8_000  # samples of an echo, half a second
_DECIBEL = math.log(10.0) / 10.0


def augment(samples: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Windows (N, L) float32 in [-1, 1] at 16 kHz, each changed at random, in the same form.

    Speed; the echo of a room; a line with fewer frequencies, tilted; noise of random color; the sound of
    other rows; loudness, clipping and the steps of an 8-bit code. Zeros before the sound stay zeros, silence
    stays silence. Without a `generator`, torch's own for the device is used.
    """
    count, length = samples.shape
    device = samples.device

    def draw(low: float, high: float) -> Tensor:
        dice = torch.rand(count, 1, generator=generator, device=device)
        return dice * (high - low) + low

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=device)

    speed = torch.where(draw(0, 1) < SPEED_SHARE, torch.exp(draw(-SPEED, SPEED)), 1.0)
    changed = change_speed(samples, speed[:, 0])
    audible = _since_onset(changed)

    size = _fast_length(length + _ECHO)
    hertz = torch.fft.rfftfreq(size, 1 / _RATE, device=device).unsqueeze(0)
    clean = torch.fft.rfft(changed, size)
    echo = _echoes(normal(count, _ECHO), draw(*DECAY_S), draw(*DIRECT_DB))
    echo = torch.where(draw(0, 1) < ROOM_SHARE, echo, 0.0)
    heard = clean * (1.0 + torch.fft.rfft(echo, size))

    level = _power(heard).sqrt() * (size / audible.sum(1, keepdim=True).clamp(min=1)).sqrt()
    color = (hertz.clamp(min=50.0) / 1000.0) ** draw(-1.2, 0.3)
    grain = torch.view_as_complex(normal(count, hertz.shape[1], 2)) * color
    share = torch.where(draw(0, 1) < NOISE_SHARE, 10 ** (-draw(*NOISE_DB) / 20), 0.0)
    heard = heard + grain * (share * level / _power(grain).sqrt().clamp(min=1e-12))
    others = clean.roll(1, 0) + clean.roll(2, 0)
    share = torch.where(draw(0, 1) < BABBLE_SHARE, 10 ** (-draw(*BABBLE_DB) / 20), 0.0)
    heard = heard + others * (share * (_power(heard) / _power(others).clamp(min=1e-12)).sqrt())

    line = _line(hertz, draw(50, 350), draw(2_800, 7_800), draw(-9, 9))
    heard = heard * torch.where(draw(0, 1) < LINE_SHARE, line, 1.0)
    changed = torch.fft.irfft(heard, size)[:, :length] * audible

    peak = changed.abs().amax(1, keepdim=True).clamp(min=1e-9)
    limit = torch.where(draw(0, 1) < COARSE_SHARE, draw(0.3, 1.0), 1.0)
    changed = (changed / peak).clamp(-limit, limit) / limit
    coarse = _eight_bits(changed)
    changed = torch.where(draw(0, 1) < COARSE_SHARE, coarse, changed)
    gain = (peak * 10 ** (draw(-12, 6) / 20)).clamp(max=1.0)
    return changed * gain * (peak > 1e-8)


def change_speed(samples: Tensor, speed: Tensor) -> Tensor:
    """Windows (N, L) float32 played `speed` (N,) times as fast, so higher and shorter: (N, L).

    The end stays where it was: a faster window gets zeros before it, a slower one loses its beginning.
    """
    length = samples.shape[1]
    back = torch.arange(length, 0, -1, device=samples.device)
    # Zeros on both sides, so that a cubic has its four neighbors everywhere.
    padded = F.pad(samples, (2, 2))
    place = length + 2 - back * speed.double().unsqueeze(1)
    return _read(padded, place.clamp(min=0.0)) * (place >= 1.0)


def _read(sound: Tensor, at: Tensor) -> Tensor:
    """Sound (N, M) at places (N, L) float64 between its samples, by a cubic through four neighbors."""
    before = at.floor().clamp(1, sound.shape[1] - 3)
    t = (at - before).float()
    index = before.long()
    a, b, c, d = (sound.gather(1, index + k) for k in (-1, 0, 1, 2))
    return b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))


def _echoes(grain: Tensor, decay_s: Tensor, direct_db: Tensor) -> Tensor:
    """Responses (N, T) of rooms without the direct sound: noise `grain` (N, T) under an exponential decay,
    from 2 ms on, `direct_db` (N, 1) below a direct sound of 1."""
    time = torch.arange(grain.shape[1], device=grain.device) / _RATE
    shape = torch.exp(-6.9 * time / decay_s) * (time > 0.002)
    echo = grain * shape
    energy = echo.square().sum(1, keepdim=True).sqrt().clamp(min=1e-9)
    return echo / energy * 10 ** (-direct_db / 20)


def _line(hertz: Tensor, low: Tensor, high: Tensor, tilt_db: Tensor) -> Tensor:
    """Gain (N, F) at `hertz` (1, F) of a line from `low` to `high` (N, 1), tilted around 1 kHz by
    `tilt_db` over three octaves."""
    below = 1.0 / (1.0 + (low / hertz.clamp(min=1.0)) ** 8).sqrt()
    above = 1.0 / (1.0 + (hertz / high) ** 16).sqrt()
    octaves = (hertz.clamp(min=1.0) / 1000.0).log2().clamp(-3.0, 3.0)
    return below * above * 10 ** (tilt_db / 3.0 * octaves / 20)


def _eight_bits(samples: Tensor) -> Tensor:
    """Samples (N, L) in [-1, 1] in the 256 steps of the mu-law, as on a telephone."""
    mu = 255.0
    code = torch.sign(samples) * torch.log1p(mu * samples.abs()) / math.log1p(mu)
    code = (code * 127.0).round() / 127.0
    return torch.sign(code) * torch.expm1(code.abs() * math.log1p(mu)) / mu


def _power(spectrum: Tensor) -> Tensor:
    """Sum of squares (N, 1) of half spectra (N, F)."""
    return torch.view_as_real(spectrum).square().sum((1, 2)).unsqueeze(1)


def _fast_length(length: int) -> int:
    """The smallest product of a power of two and 1, 3, 5, 9 or 15 from `length` on: fast to transform."""
    return min(odd << max(0, math.ceil(math.log2(length / odd))) for odd in (1, 3, 5, 9, 15))


def _since_onset(samples: Tensor) -> Tensor:
    """(N, L) float32: 1 from the first sample that is not zero, 0 before it."""
    return ((samples != 0).cumsum(1) > 0).to(samples.dtype)


def spec_augment(
    mel: Tensor, generator: torch.Generator | None = None, *, bars: int = BARS
) -> Tensor:
    """Log-mels (N, B, T) with `bars` bars across frequency and as many across time hidden: their cells get
    the mean of the row. Without time warping, which helps least. Without a `generator` (on the device of the
    mels), torch's own is used."""
    count = len(mel)
    hidden = torch.zeros(mel.shape, dtype=torch.bool, device=mel.device)
    for axis in (1, 2):
        shape = [1, 1, 1]
        shape[axis] = size = mel.shape[axis]
        index = torch.arange(size, device=mel.device).view(shape)
        for _ in range(bars):
            dice = torch.rand(2, count, 1, 1, generator=generator, device=mel.device)
            width = dice[0] * MAX_WIDTH * size
            start = dice[1] * (size - width)
            hidden |= (index >= start) & (index < start + width)
    return torch.where(hidden, mel.mean((1, 2), keepdim=True), mel)


def change_mel(mel: Tensor) -> Tensor:
    """Log-mels (N, B, T), each with tempo, pitch, filtering, loudness, noise and bandwidth changed at random.

    Tempo by up to 10 %, pitch by up to 2.5 bands; noise of random color 3 to 45 dB below the sound, in six of
    ten; no high frequencies, as on a telephone, in three of ten. Torch's own generator decides.
    """
    count, bands, frames = mel.shape
    silence = mel.amin((1, 2), keepdim=True)

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(count, 1, 1, device=mel.device) * (high - low) + low

    tempo, shift = torch.exp(uniform(-0.1, 0.1)), uniform(-2.5, 2.5) * 2 / bands
    zero = torch.zeros_like(tempo)
    time, pitch = torch.cat([tempo, zero, zero], 2), torch.cat([zero, zero + 1, shift], 2)
    grid = F.affine_grid(
        torch.cat([time, pitch], 1), [count, 1, bands, frames], align_corners=False
    )
    # Shifted so that grid_sample's zeros outside the mel are silence.
    moved = F.grid_sample((mel - silence).unsqueeze(1), grid, align_corners=False)[:, 0] + silence
    axis = torch.linspace(-1.0, 1.0, bands, device=mel.device).view(1, bands, 1)
    bend = torch.cos(axis * uniform(1.0, 6.0) + uniform(0.0, 6.3)) * uniform(0.0, 4.0)
    moved = moved + (axis * uniform(-6.0, 6.0) + bend + uniform(-10.0, 10.0)) * _DECIBEL
    # A mel cell averages a few periodogram bins, each exponentially distributed.
    grain = -torch.log(torch.rand(2, *mel.shape, device=mel.device).clamp(min=1e-6)).mean(0)
    power = moved.exp().mean((1, 2), keepdim=True).log() - uniform(3.0, 45.0) * _DECIBEL
    noise = grain.log() + power + axis * uniform(-9.0, 3.0) * _DECIBEL
    moved = torch.where(uniform(0, 1) < 0.6, torch.logaddexp(moved, noise), moved)
    cut = torch.where(uniform(0, 1) < 0.3, uniform(0.3, 0.95), 2.0)
    return torch.maximum(moved - (axis - cut).clamp(min=0) * 48 * _DECIBEL, silence)
