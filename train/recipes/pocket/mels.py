"""Speech clips as cached log-mels, and augmented batches of randomly placed windows of them.

Log-mels are computed once for each of a few speeds. All other augmentation happens on the mels, where it
is cheap: filtering and gain are sums, noise is a sum of powers, a shift of pitch or tempo is an affine map.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from affectstream.train.data.reading.reader import sound_of
from affectstream.train.data.sample import Sample
from affectstream.train.loader.augment_sound import spec_augment
from affectstream.train.networks.mel import BANDS, FLOOR, LogMel
from affectstream.train.recipe import Batch
from affectstream.train.recipes.pocket.batches import Epochs

SPEEDS = (0.88, 0.94, 1.0, 1.06, 1.12)
SILENCE = float(np.log(FLOOR))
_DECIBEL = float(np.log(10.0) / 10.0)


def resample(samples: NDArray[np.float32], speed: float) -> Tensor:
    """(n,) samples `speed` times as fast, with the pitch raised: (n / speed,) float32."""
    spectrum = torch.fft.rfft(torch.from_numpy(samples))
    length = round(len(samples) / speed)
    resampled: Tensor = torch.fft.irfft(spectrum[: length // 2 + 1], n=length)
    return resampled * (length / len(samples))


class MelStore:
    """Log-mels (`BANDS`, frames) float16 of every clip at every speed."""

    def __init__(self, clips: Sequence[Sample], labels: tuple[str, ...]) -> None:
        transform = LogMel()
        self.labels = torch.tensor([labels.index(str(clip.emotion)) for clip in clips])
        self.mels: list[list[Tensor]] = []
        for clip in clips:
            resampled = [resample(sound_of(clip), speed) for speed in SPEEDS]
            self.mels.append([transform(s.unsqueeze(0))[0].to(torch.float16) for s in resampled])

    def window(self, clip: int, speed: int, frames: int, place: float) -> Tensor:
        """One window (`BANDS`, frames) float32; `place` in [0, 1) slides it over the speech.

        The window contains at least 60 % of the speech, or lies inside it; outside the clip it is silent.
        """
        mel = self.mels[clip][speed].to(torch.float32)
        level = mel.logsumexp(0)
        active = torch.nonzero(level > level.max() - 35 * _DECIBEL)
        first, last = int(active[0]), int(active[-1]) + 1
        slack = int(0.4 * min(last - first, frames))
        low, high = sorted((first - slack, last + slack - frames))
        start = low + int(place * (high - low + 1))
        out = torch.full((BANDS, frames), SILENCE)
        a, b = max(0, start), min(mel.shape[1], start + frames)
        out[:, a - start : b - start] = mel[:, a:b]
        return out


def balanced_windows(store: MelStore, *, frames: int, batch: int, steps: int, seed: int) -> Epochs:
    """Augmented batches in which every label is equally likely; the same for the same seed and epoch.

    A batch has ``mel`` (N, `BANDS`, frames) float32 log-mels and ``label`` (N,) int64.
    """
    members = [torch.nonzero(store.labels == k)[:, 0] for k in sorted(set(store.labels.tolist()))]

    def make(number: int) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(seed * 100_003 + number)
        for _ in range(steps):
            kinds = torch.randint(len(members), (batch,), generator=generator)
            dice = torch.rand(batch, 3, generator=generator).tolist()
            windows, labels = [], []
            for kind, (which, speed, place) in zip(kinds.tolist(), dice, strict=True):
                clip = int(members[kind][int(which * len(members[kind]))])
                windows.append(store.window(clip, int(speed * len(SPEEDS)), frames, place))
                labels.append(store.labels[clip])
            mel = spec_augment(augment(torch.stack(windows), generator), generator)
            yield {"mel": mel, "label": torch.stack(labels)}

    return Epochs(steps, make)


def augment(mel: Tensor, generator: torch.Generator) -> Tensor:
    """Random tempo, pitch, filtering, loudness, band limit and noise; (N, bands, frames) log-mels."""
    count, bands, frames = mel.shape

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(count, 1, 1, generator=generator) * (high - low) + low

    tempo, shift = torch.exp(uniform(-0.1, 0.1)), uniform(-2.5, 2.5) * 2 / bands
    zero = torch.zeros_like(tempo)
    theta = torch.cat(
        [torch.cat([tempo, zero, zero], 2), torch.cat([zero, torch.ones_like(zero), shift], 2)], 1
    )
    grid = F.affine_grid(theta, [count, 1, bands, frames], align_corners=False)
    # Shifted so that grid_sample's zeros outside the mel are silence.
    moved = F.grid_sample(mel.unsqueeze(1) - SILENCE, grid, align_corners=False)[:, 0] + SILENCE
    axis = torch.linspace(-1.0, 1.0, bands).view(1, bands, 1)
    bend = torch.cos(axis * uniform(1.0, 6.0) + uniform(0.0, 6.3)) * uniform(0.0, 4.0)
    moved = moved + (axis * uniform(-6.0, 6.0) + bend + uniform(-10.0, 10.0)) * _DECIBEL
    noise = _noise(moved, axis, generator)
    moved = torch.where(uniform(0, 1) < 0.6, torch.logaddexp(moved, noise), moved)
    # A telephone or a codec: levels above a cut fall by 1.5 dB per band.
    cut = torch.where(uniform(0, 1) < 0.3, uniform(0.3, 0.95), 2.0)
    return (moved - (axis - cut).clamp(min=0) * 48 * _DECIBEL).clamp(min=SILENCE)


def _noise(mel: Tensor, axis: Tensor, generator: torch.Generator) -> Tensor:
    """Stationary noise of random color, 3 to 45 dB under the mean power of each window."""
    count = len(mel)

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(count, 1, 1, generator=generator) * (high - low) + low

    # A mel cell averages a few periodogram bins, each exponentially distributed.
    grain = -torch.log(torch.rand(2, *mel.shape, generator=generator).clamp(min=1e-6)).mean(0)
    level = mel.exp().mean((1, 2), keepdim=True).log() - uniform(3.0, 45.0) * _DECIBEL
    return grain.log() + level + axis * uniform(-9.0, 3.0) * _DECIBEL
