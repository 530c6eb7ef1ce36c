"""Sound that is no speech, made by a small synthesiser: 16 kHz mono float32 with a stated level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from affectstream.bench.behaviour.material.media import Sound
from affectstream.stream.media.types import SAMPLE_RATE

LEVELS_DBFS = (-40, -30, -20, -10)
"""Levels of noise, as root mean square."""
_LOUD_DBFS = -20.0


@dataclass(frozen=True, slots=True, eq=False)
class NonSpeech:
    """One sound. `kind` is what it is, such as ``music``."""

    name: str
    kind: str
    sound: Sound


def non_speech(seconds: float) -> list[NonSpeech]:
    """All sounds, each `seconds` long; the same every time."""
    n = round(seconds * SAMPLE_RATE)
    random = np.random.default_rng(0)
    found = [
        NonSpeech(f"{color} noise {level} dBFS", "noise", at_level(_noise(n, power, random), level))
        for color, power in (("white", 0.0), ("pink", 1.0), ("brown", 2.0))
        for level in LEVELS_DBFS
    ]
    makers: dict[str, tuple[str, Callable[[], Sound]]] = {
        "tone 120 Hz": ("tone", lambda: _tone(n, [120.0])),
        "tone 440 Hz": ("tone", lambda: _tone(n, [440.0])),
        "tone 1 kHz": ("tone", lambda: _tone(n, [1000.0])),
        "mains hum": ("hum", lambda: _tone(n, [50.0 * k for k in range(1, 9)])),
        "chords": ("music", lambda: _chords(n)),
        "arpeggios": ("music", lambda: _notes(n, _ARPEGGIO, 0.18)),
        "melody with vibrato": ("music", lambda: _melody(n)),
        "bass and drums": ("music", lambda: _band(n, random)),
        "claps": ("claps", lambda: _hits(n, random, 2.0, 0.012)),
        "keyboard clicks": ("clicks", lambda: _hits(n, random, 7.0, 0.002)),
    }
    found += [
        NonSpeech(name, kind, at_level(make(), _LOUD_DBFS)) for name, (kind, make) in makers.items()
    ]
    return [*found, NonSpeech("silence", "silence", np.zeros(n, np.float32))]


def at_level(sound: Sound, dbfs: float) -> Sound:
    """`sound` with this root mean square, in dB of full scale."""
    rms = float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))
    return (sound * (10 ** (dbfs / 20) / max(rms, 1e-12))).astype(np.float32)


def mix(speech: Sound, noise: Sound, snr_db: float) -> Sound:
    """Speech with noise under it, at this ratio of their levels, scaled so that it does not clip."""
    level = 10 * np.log10(np.mean(np.square(speech, dtype=np.float64)) + 1e-12)
    both = speech + at_level(np.resize(noise, len(speech)), level - snr_db)
    return (both / max(1.0, float(np.abs(both).max()))).astype(np.float32)


def _noise(n: int, power: float, random: np.random.Generator) -> Sound:
    """Noise whose power falls with frequency to `power`: 0 white, 1 pink, 2 brown."""
    spectrum = np.fft.rfft(random.normal(size=n))
    hz = np.maximum(np.fft.rfftfreq(n, 1 / SAMPLE_RATE), 20.0)
    return np.asarray(np.fft.irfft(spectrum / hz ** (power / 2), n), np.float32)


def _tone(n: int, hz: Sequence[float]) -> Sound:
    t = np.arange(n) / SAMPLE_RATE
    wave = sum(np.sin(2 * np.pi * f * t) / (k + 1) for k, f in enumerate(hz))
    return np.asarray(wave, np.float32)


def _note(hz: float, seconds: float, harmonics: int = 6, vibrato: float = 0.0) -> Sound:
    """A plucked tone: harmonics that fall off, and decay over time."""
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    phase = 2 * np.pi * hz * t + vibrato * np.sin(2 * np.pi * 5.5 * t)
    wave = sum(np.sin(k * phase) / k**1.5 for k in range(1, harmonics + 1))
    attack = np.minimum(1.0, t / 0.01)
    return np.asarray(wave * attack * np.exp(-2.0 * t / max(seconds, 0.3)), np.float32)


_C = 261.63
_ARPEGGIO = [_C * 2 ** (k / 12) for k in (0, 4, 7, 12, 7, 4, -3, 0, 4, 9, 4, 0, -5, -1, 2, 7)]
_CHORDS = ((0, 4, 7), (-3, 0, 4), (-7, -3, 0), (-5, -1, 2))


def _notes(n: int, hz: Sequence[float], step_s: float, length_s: float = 0.6) -> Sound:
    out = np.zeros(n, np.float32)
    for number, first in enumerate(range(0, n, round(step_s * SAMPLE_RATE))):
        note = _note(hz[number % len(hz)], length_s)[: n - first]
        out[first : first + len(note)] += note
    return out


def _chords(n: int) -> Sound:
    """A pad: a chord every second, with two octaves."""
    out = np.zeros(n, np.float32)
    for number, first in enumerate(range(0, n, SAMPLE_RATE)):
        for semitone in _CHORDS[number % len(_CHORDS)]:
            for octave in (0.5, 1.0):
                note = _note(_C * octave * 2 ** (semitone / 12), 1.4)[: n - first]
                out[first : first + len(note)] += note
    return out


def _melody(n: int) -> Sound:
    """One voice-like line, such as a violin's."""
    scale = [_C * 2 ** (k / 12) for k in (0, 2, 4, 5, 7, 5, 4, 7, 9, 7, 5, 4, 2, 0)]
    out = np.zeros(n, np.float32)
    for number, first in enumerate(range(0, n, round(0.45 * SAMPLE_RATE))):
        note = _note(scale[number % len(scale)], 0.5, harmonics=10, vibrato=0.8)[: n - first]
        out[first : first + len(note)] += note
    return out


def _band(n: int, random: np.random.Generator) -> Sound:
    bass = _notes(n, [_C / 4 * 2 ** (k / 12) for k in (0, 0, -3, -3, -7, -7, -5, -5)], 0.5, 0.5)
    drums = _hits(n, random, 4.0, 0.03)
    return np.asarray(
        bass / max(1e-6, np.abs(bass).max()) + drums / max(1e-6, np.abs(drums).max()), np.float32
    )


def _hits(n: int, random: np.random.Generator, per_s: float, decay_s: float) -> Sound:
    """Short bursts of noise at uneven times."""
    out = np.zeros(n, np.float32)
    at = 0
    while at < n:
        t = np.arange(round(6 * decay_s * SAMPLE_RATE)) / SAMPLE_RATE
        hit = (random.normal(size=len(t)) * np.exp(-t / decay_s)).astype(np.float32)[: n - at]
        out[at : at + len(hit)] += hit * random.uniform(0.5, 1.0)
        at += round(SAMPLE_RATE / per_s * random.uniform(0.5, 1.5))
    return out
