"""Voices as they come from bad microphones, rooms and lines.

Each function takes a sound (n,) float32 at 16 kHz and a generator of random numbers, and returns a sound.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from affectstream.stream.media.types import SAMPLE_RATE

Sound = NDArray[np.float32]
Random = np.random.Generator


def noisy(sound: Sound, random: Random, *, snr_db: float, slope: float) -> Sound:
    """With noise this far below the voice; its power falls with frequency to the power `slope` (0: white)."""
    spectrum = np.fft.rfft(random.normal(size=len(sound)))
    hz = np.maximum(np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE), 20.0)
    noise = np.fft.irfft(spectrum / hz ** (slope / 2), len(sound))
    scale = _level(sound) / max(_level(noise), 1e-12) * 10 ** (-snr_db / 20)
    return _clipped(sound + scale * noise)


def room(sound: Sound, random: Random) -> Sound:
    """From the other end of a room that echoes for about half a second."""
    t = np.arange(int(0.4 * SAMPLE_RATE)) / SAMPLE_RATE
    echo = random.normal(size=len(t)) * np.exp(-t / 0.08)
    echo[0] = 8.0
    size = len(sound) + len(echo)
    wet = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(echo, size), size)[: len(sound)]
    return _clipped(wet * (_level(sound) / max(_level(wet), 1e-12)))


def telephone(sound: Sound, random: Random) -> Sound:
    """Only what a telephone passes: 300 to 3,400 Hz."""
    spectrum = np.fft.rfft(sound)
    hz = np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE)
    spectrum[(hz < 300) | (hz > 3400)] = 0
    return _clipped(np.fft.irfft(spectrum, len(sound)))


def part(sound: Sound, random: Random) -> Sound:
    """Only a part of it, 0.8 to 1.8 seconds: the window begins or ends within the sentence."""
    length = min(len(sound), round(random.uniform(0.8, 1.8) * SAMPLE_RATE))
    first = int(random.integers(0, len(sound) - length + 1))
    return sound[first : first + length]


DEGRADATIONS: dict[str, Callable[[Sound, Random], Sound]] = {
    "white_noise_10_db": partial(noisy, snr_db=10.0, slope=0.0),
    "pink_noise_10_db": partial(noisy, snr_db=10.0, slope=1.0),
    "pink_noise_0_db": partial(noisy, snr_db=0.0, slope=1.0),
    "room": room,
    "telephone": telephone,
    "part": part,
}


def _level(sound: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))


def _clipped(sound: NDArray[np.floating]) -> Sound:
    return (sound / max(1.0, float(np.abs(sound).max(initial=0.0)))).astype(np.float32)
