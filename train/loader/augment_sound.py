"""Sound as it might have been said: a little faster or slower, higher or lower, in a little noise.

Tempo and pitch are changed apart from each other by a phase vocoder (Flanagan and Golden, 1966): each
row is stretched by its own factor, then read at its own speed. SpecAugment (Park et al., 2019) hides
parts of what an encoder hears: the log-mels are made inside the encoders, so it is theirs to call.

Windows end now and may begin with zeros: what comes out ends where what went in did.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

STRETCH = 0.1
"""Tempo changes by up to this share."""
SEMITONES = 2.0
"""Pitch changes by up to so many."""
SNR_DB = 15.0
"""Of speech to the noise that is added."""
CHANCE = 0.5
"""Of each of the three, for each row."""
BARS = 2
"""Bars that `spec_augment` hides along each axis."""
WIDEST = 0.15
"""Of a bar, as a share of its axis."""

_FFT = 512  # 32 ms at 16 kHz: the harmonics of a voice apart, its syllables too
_HOP = _FFT // 4
_FINER = 2  # samples of the stretched sound for one, so that four neighbours tell what lies between
_TOGETHER = 8  # rows whose spectra fit into a processor's cache; all at once takes twice as long


def augment(samples: Tensor, generator: torch.Generator) -> Tensor:
    """Windows (N, L) float32 in [-1, 1] at 16 kHz, each changed by chance, as the same.

    Tempo by up to 10 %, pitch by up to 2 semitones, white noise 15 dB under the sound. Zeros in front
    of the sound stay zeros, silence stays silence. The same for the same state of `generator`.
    """

    def draw(low: float, high: float) -> Tensor:
        dice = torch.rand(len(samples), generator=generator, device=generator.device)
        return dice.to(samples.device) * (high - low) + low

    def by_chance(value: Tensor, nothing: float) -> Tensor:
        return torch.where(draw(0, 1) < CHANCE, value, nothing)

    tempo = by_chance(draw(1 - STRETCH, 1 + STRETCH), 1.0)
    pitch = by_chance(2 ** (draw(-SEMITONES, SEMITONES) / 12), 1.0)
    noisy = by_chance(torch.ones_like(tempo), 0.0)
    grain = torch.randn(samples.shape, generator=generator, device=generator.device)
    changed = samples.clone()
    for rows in torch.nonzero((tempo != 1) | (pitch != 1))[:, 0].split(_TOGETHER):
        if len(rows):
            changed[rows] = change(samples[rows], tempo[rows], pitch[rows])
    # Noise comes with the sound: the zeros before a short clip are no part of any recording.
    share = noisy.unsqueeze(1) * 10 ** (-SNR_DB / 20) * _heard(changed)
    return (changed + share * _loudness(changed) * grain.to(samples.device)).clamp(-1.0, 1.0)


def change(samples: Tensor, tempo: Tensor, pitch: Tensor) -> Tensor:
    """Windows (N, L) float32 played `tempo` (N,) times as fast and `pitch` (N,) times as high.

    (N, L) again, with the end where it was: a faster one has zeros in front, of a slower one the
    beginning is lost.
    """
    length = samples.shape[1]
    begin = length - (_heard(samples) > 0).sum(1)
    stretched = _stretch(samples, tempo / pitch, pitch)
    # Both ends agree: sample L of the result is the last of what was stretched.
    back = torch.arange(length, 0, -1, device=samples.device)
    changed = _read(stretched, stretched.shape[1] - back * pitch.double().unsqueeze(1) * _FINER)
    first = length - (length - begin) / tempo
    return changed * (back <= (length - first).unsqueeze(1))


def _stretch(samples: Tensor, rate: Tensor, pitch: Tensor) -> Tensor:
    """The phase vocoder: (N, L) at `rate` (N,), with `_FINER` samples for one.

    The last frame stays the last, and there is enough before it to be read `pitch` (N,) times as fast.
    What would fold then is left out.
    """
    window = torch.hann_window(_FFT, device=samples.device)
    whole = F.pad(samples, (-samples.shape[1] % _HOP, 0))  # so that the last frame is at the end
    bins = torch.stft(
        whole, _FFT, _HOP, window=window, pad_mode="constant", return_complex=True
    ).transpose(1, 2)
    count = bins.shape[1]
    needed = (pitch.unsqueeze(1) * samples.shape[1] / _HOP).ceil() + 2
    back = torch.arange(int(needed.max()) - 1, -1, -1, device=rate.device)
    # Where each new frame lies among the old ones; before the first there is nothing.
    place = count - 1 - rate.double().unsqueeze(1) * back
    before = place.clamp(0, count - 2).long()
    row = torch.arange(len(samples), device=samples.device).unsqueeze(1)
    size = bins.abs()
    share = (place - before).clamp(0, 1).float().unsqueeze(2)
    loud = torch.lerp(size[row, before], size[row, before + 1], share)
    hertz = torch.arange(_FFT // 2 + 1, device=samples.device) / (_FFT // 2)
    heard = (place >= 0).unsqueeze(2) & (hertz <= 1 / pitch.view(-1, 1, 1))
    angle = torch.where(size > 0, bins / size, 1.0)
    begun = (place >= 0) & (back < needed)  # each row begins by itself, whatever others need
    turned = _turned(angle, _nearest_peak(size), before, begun) * angle[row, before]
    finer = F.pad(turned * (loud * heard), (0, (_FINER - 1) * _FFT // 2))
    wide = torch.hann_window(_FINER * _FFT, device=samples.device)
    sound: Tensor = torch.istft(finer.transpose(1, 2), _FINER * _FFT, _FINER * _HOP, window=wide)
    return sound * _FINER


def _turned(angle: Tensor, peak: Tensor, before: Tensor, begun: Tensor) -> Tensor:
    """How far each bin of the new frames is turned against the old frame that it is made of.

    `angle` (N, T, F) complex and `peak` (N, T, F) are of the old frames, `before` (N, S) says which of
    them each new one follows, `begun` (N, S) from where on; (N, S, F) complex, on the unit circle.
    From one new frame to the next a peak turns as it does between old ones, and the bins around it turn
    with it (identity phase locking, Laroche and Dolson, 1999): turned one by one they would fall out of
    step, and the sound grow thin.
    """
    row = torch.arange(len(angle), device=angle.device).unsqueeze(1)
    goes_on = angle[row, before[:, :-1] + 1] * angle[row, before[:, 1:]].conj()
    goes_on = torch.where(begun[:, :-1].unsqueeze(2), goes_on, 1.0)
    around = peak[row, before[:, 1:]]
    turns = [torch.ones_like(angle[:, 0])]
    for step in range(goes_on.shape[1]):
        turns.append((turns[-1] * goes_on[:, step]).gather(1, around[:, step]))
    return torch.stack(turns, 1)


def _nearest_peak(size: Tensor) -> Tensor:
    """For each bin of (N, T, F) the number of the nearest that is louder than its neighbours."""
    count = size.shape[2]
    number = torch.arange(count, device=size.device)
    beside = F.pad(size, (1, 1), value=-1.0)
    peak = (size > beside[..., :-2]) & (size >= beside[..., 2:])
    below = torch.where(peak, number, -count).cummax(2).values
    above = torch.where(peak, number, 2 * count).flip(2).cummin(2).values.flip(2)
    nearest = torch.where(number - below <= above - number, below, above)
    return torch.where((nearest < 0) | (nearest >= count), number, nearest)


def _read(sound: Tensor, at: Tensor) -> Tensor:
    """Sound (N, M) at places (N, L) float64 between its samples, by a cubic through four neighbours."""
    before = at.floor().clamp(1, sound.shape[1] - 3)
    t = (at - before).float()
    index = before.long()
    a, b, c, d = (sound.gather(1, index + k) for k in (-1, 0, 1, 2))
    return b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))


def _heard(samples: Tensor) -> Tensor:
    """(N, L) float32: 1 from the first sample that is not zero, 0 before it."""
    return ((samples != 0).cumsum(1) > 0).to(samples.dtype)


def _loudness(samples: Tensor) -> Tensor:
    """Root of the mean power (N, 1) of what is heard, 0 where nothing is."""
    return (samples.square().sum(1) / _heard(samples).sum(1).clamp(min=1)).sqrt().unsqueeze(1)


def spec_augment(
    mel: Tensor, generator: torch.Generator | None = None, *, bars: int = BARS
) -> Tensor:
    """Log-mels (N, B, T) with `bars` across frequency and as many across time hidden, as the same.

    What is hidden becomes the mean of its row. Of SpecAugment this is the part that matters (its
    authors found that warping time helps least). Without a `generator`, torch's own.
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
            width = dice[0] * WIDEST * size
            start = dice[1] * (size - width)
            hidden |= (index >= start) & (index < start + width)
    return torch.where(hidden, mel.mean((1, 2), keepdim=True), mel)
