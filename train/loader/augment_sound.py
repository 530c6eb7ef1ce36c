"""Augmentation of sound: a little faster or slower, higher or lower, with a little noise.

Tempo and pitch are changed independently by a phase vocoder (Flanagan and Golden, 1966): each row is
stretched by its own factor, then resampled at its own speed. Encoders compute log-mels themselves, so they
call what works on these: SpecAugment (Park et al., 2019), which hides parts of them, and `change_mel`, which
does more for less there: filters and gain are sums, noise is a sum of powers.

A window ends now and may begin with zeros. Augmented sound ends where the original ends.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

STRETCH = 0.1
"""Largest change of the tempo, as a share."""
SEMITONES = 2.0
"""Largest change of the pitch."""
SNR_DB = 15.0
"""Ratio of the speech to the added noise."""
PROBABILITY = 0.5
"""Of each of the three changes, for each row."""
BARS = 2
"""Bars that `spec_augment` hides along each axis."""
MAX_WIDTH = 0.15
"""Of a bar, as a share of its axis."""

_DECIBEL = math.log(10.0) / 10.0
_FFT = 512  # 32 ms at 16 kHz: resolves both the harmonics and the syllables of a voice
_HOP = _FFT // 4
_FINER = 2  # oversampling of the stretched sound, so that a cubic can interpolate it
_ROWS = 8  # at a time: their spectra fit into the cache of a processor, which is twice as fast


def augment(samples: Tensor, generator: torch.Generator) -> Tensor:
    """Windows (N, L) float32 in [-1, 1] at 16 kHz, each changed at random, in the same form.

    Tempo by up to 10 %, pitch by up to 2 semitones, white noise 15 dB below the sound. Zeros before the
    sound stay zeros, silence stays silence. The result depends on `generator` alone.
    """

    def draw(low: float, high: float) -> Tensor:
        dice = torch.rand(len(samples), generator=generator, device=generator.device)
        return dice.to(samples.device) * (high - low) + low

    def sometimes(value: Tensor, otherwise: float) -> Tensor:
        return torch.where(draw(0, 1) < PROBABILITY, value, otherwise)

    tempo = sometimes(draw(1 - STRETCH, 1 + STRETCH), 1.0)
    pitch = sometimes(2 ** (draw(-SEMITONES, SEMITONES) / 12), 1.0)
    noisy = sometimes(torch.ones_like(tempo), 0.0)
    grain = torch.randn(samples.shape, generator=generator, device=generator.device)
    changed = samples.clone()
    for rows in torch.nonzero((tempo != 1) | (pitch != 1))[:, 0].split(_ROWS):
        if len(rows):
            changed[rows] = change(samples[rows], tempo[rows], pitch[rows])
    # No noise in the zeros before a short clip: they are not part of a recording.
    share = noisy.unsqueeze(1) * 10 ** (-SNR_DB / 20) * _since_onset(changed)
    return (changed + share * _loudness(changed) * grain.to(samples.device)).clamp(-1.0, 1.0)


def change(samples: Tensor, tempo: Tensor, pitch: Tensor) -> Tensor:
    """Windows (N, L) float32 played `tempo` (N,) times as fast and `pitch` (N,) times as high: (N, L).

    The end stays where it was: a faster window gets zeros before it, a slower one loses its beginning.
    """
    length = samples.shape[1]
    begin = length - (_since_onset(samples) > 0).sum(1)
    stretched = _stretch(samples, tempo / pitch, pitch)
    # The last sample of the result is the last sample of the stretched sound.
    back = torch.arange(length, 0, -1, device=samples.device)
    changed = _read(stretched, stretched.shape[1] - back * pitch.double().unsqueeze(1) * _FINER)
    first = length - (length - begin) / tempo
    return changed * (back <= (length - first).unsqueeze(1))


def _stretch(samples: Tensor, rate: Tensor, pitch: Tensor) -> Tensor:
    """The phase vocoder: (N, L) at `rate` (N,), oversampled by `_FINER`.

    The last frame stays the last, and enough frames come before it to be read `pitch` (N,) times as fast.
    Frequencies that would alias then are removed.
    """
    window = torch.hann_window(_FFT, device=samples.device)
    whole = F.pad(samples, (-samples.shape[1] % _HOP, 0))  # so that the last frame is at the end
    bins = torch.stft(
        whole, _FFT, _HOP, window=window, pad_mode="constant", return_complex=True
    ).transpose(1, 2)
    count = bins.shape[1]
    needed = (pitch.unsqueeze(1) * samples.shape[1] / _HOP).ceil() + 2
    back = torch.arange(int(needed.max()) - 1, -1, -1, device=rate.device)
    # The place of each new frame among the old ones; a negative place is before the first.
    place = count - 1 - rate.double().unsqueeze(1) * back
    before = place.clamp(0, count - 2).long()
    row = torch.arange(len(samples), device=samples.device).unsqueeze(1)
    size = bins.abs()
    share = (place - before).clamp(0, 1).float().unsqueeze(2)
    loud = torch.lerp(size[row, before], size[row, before + 1], share)
    hertz = torch.arange(_FFT // 2 + 1, device=samples.device) / (_FFT // 2)
    audible = (place >= 0).unsqueeze(2) & (hertz <= 1 / pitch.view(-1, 1, 1))
    angle = torch.where(size > 0, bins / size, 1.0)
    begun = (place >= 0) & (back < needed)  # every row has its own first frame
    phased = _phases(angle, _nearest_peak(size), before, begun) * angle[row, before]
    finer = F.pad(phased * (loud * audible), (0, (_FINER - 1) * _FFT // 2))
    wide = torch.hann_window(_FINER * _FFT, device=samples.device)
    sound: Tensor = torch.istft(finer.transpose(1, 2), _FINER * _FFT, _FINER * _HOP, window=wide)
    return sound * _FINER


def _phases(angle: Tensor, peak: Tensor, before: Tensor, begun: Tensor) -> Tensor:
    """The phase of each bin of the new frames relative to the old frame that it is made of.

    `angle` (N, T, F) complex and `peak` (N, T, F) are of the old frames, `before` (N, S) is the old frame
    before each new one, `begun` (N, S) whether the sound has begun. Returns (N, S, F) complex, on the unit
    circle. From one new frame to the next the phase of a peak advances as between old frames, and the bins
    around it advance with it (identity phase locking, Laroche and Dolson, 1999): bins that advance one by
    one would lose their phase relation, and the sound would become thin.
    """
    row = torch.arange(len(angle), device=angle.device).unsqueeze(1)
    advance = angle[row, before[:, :-1] + 1] * angle[row, before[:, 1:]].conj()
    advance = torch.where(begun[:, :-1].unsqueeze(2), advance, 1.0)
    around = peak[row, before[:, 1:]]
    phases = [torch.ones_like(angle[:, 0])]
    for step in range(advance.shape[1]):
        phases.append((phases[-1] * advance[:, step]).gather(1, around[:, step]))
    return torch.stack(phases, 1)


def _nearest_peak(size: Tensor) -> Tensor:
    """For each bin of (N, T, F) the number of the nearest bin that is louder than its neighbors."""
    count = size.shape[2]
    number = torch.arange(count, device=size.device)
    beside = F.pad(size, (1, 1), value=-1.0)
    peak = (size > beside[..., :-2]) & (size >= beside[..., 2:])
    below = torch.where(peak, number, -count).cummax(2).values
    above = torch.where(peak, number, 2 * count).flip(2).cummin(2).values.flip(2)
    nearest = torch.where(number - below <= above - number, below, above)
    return torch.where((nearest < 0) | (nearest >= count), number, nearest)


def _read(sound: Tensor, at: Tensor) -> Tensor:
    """Sound (N, M) at places (N, L) float64 between its samples, by a cubic through four neighbors."""
    before = at.floor().clamp(1, sound.shape[1] - 3)
    t = (at - before).float()
    index = before.long()
    a, b, c, d = (sound.gather(1, index + k) for k in (-1, 0, 1, 2))
    return b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))


def _since_onset(samples: Tensor) -> Tensor:
    """(N, L) float32: 1 from the first sample that is not zero, 0 before it."""
    return ((samples != 0).cumsum(1) > 0).to(samples.dtype)


def _loudness(samples: Tensor) -> Tensor:
    """Root mean square (N, 1) from the onset on, 0 for silence."""
    return (samples.square().sum(1) / _since_onset(samples).sum(1).clamp(min=1)).sqrt().unsqueeze(1)


def spec_augment(
    mel: Tensor, generator: torch.Generator | None = None, *, bars: int = BARS
) -> Tensor:
    """Log-mels (N, B, T) with `bars` bars across frequency and as many across time hidden.

    Hidden cells get the mean of their row. Time warping is left out: the authors of SpecAugment found that
    it helps least. Without a `generator`, torch's own is used.
    """
    count = len(mel)
    hidden = torch.zeros(mel.shape, dtype=torch.bool, device=mel.device)
    for axis in (1, 2):
        shape = [1, 1, 1]
        shape[axis] = size = mel.shape[axis]
        index = torch.arange(size, device=mel.device).view(shape)
        for _ in range(bars):
            dice = torch.rand(
                2, count, 1, 1, generator=generator, device=generator.device if generator else None
            ).to(mel.device)
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
