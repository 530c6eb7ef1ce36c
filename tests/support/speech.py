"""Speech without words: syllables of a simple formant synthesizer, which both speech detectors take for speech."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from affectstream.stream.media.types import SAMPLE_RATE

_VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480))
_FORMANTS = ((1.0, 100.0), (0.5, 130.0), (0.25, 200.0))
"""Strength and bandwidth in Hz."""


def babble(seconds: float, hz: float = 120.0, seed: int = 0) -> NDArray[np.float32]:
    """16 kHz sound (n,) float32 of a voice at about `hz`, in phrases with short pauses between them."""
    random = np.random.default_rng(seed)
    length, parts = round(seconds * SAMPLE_RATE), list[NDArray[np.float64]]()
    while sum(map(len, parts)) < length:
        for number in range(int(random.integers(4, 8))):
            parts.append(_syllable(random, hz * (1.1 - 0.04 * number)) * random.uniform(0.6, 1.0))
        parts.append(np.zeros(round(random.uniform(0.15, 0.3) * SAMPLE_RATE)))
    return np.concatenate(parts)[:length].astype(np.float32) * 0.4


def _syllable(random: np.random.Generator, hz: float) -> NDArray[np.float64]:
    """A hissed or stopped consonant and two vowels that glide into each other."""
    seconds = random.uniform(0.10, 0.24)
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    first, last = (np.array(_VOWELS[random.integers(len(_VOWELS))]) for _ in range(2))
    formants = first + (last - first) * (t / seconds)[:, None]
    pitch = hz * np.linspace(1.06, 0.94, len(t))
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    wave = np.zeros(len(t))
    for k in range(1, int(4500 / hz)):
        peaks = (
            strength / (1 + ((k * pitch - formants[:, n]) / (width / 2)) ** 2)
            for n, (strength, width) in enumerate(_FORMANTS)
        )
        wave += sum(peaks) * np.sin(k * phase + random.uniform(0, 2 * np.pi)) / k**0.2
    wave *= np.minimum(1, t / 0.02) * np.minimum(1, (seconds - t) / 0.04) / np.abs(wave).max()
    if random.integers(2):
        hiss = random.standard_normal(round(0.08 * SAMPLE_RATE))
        hiss = np.diff(hiss, prepend=0.0) * np.hanning(len(hiss))
        return np.concatenate([0.2 * hiss / np.abs(hiss).max(), wave])
    stop = 0.15 * random.standard_normal(round(0.012 * SAMPLE_RATE))
    return np.concatenate([np.zeros(round(0.04 * SAMPLE_RATE)), stop, wave])
