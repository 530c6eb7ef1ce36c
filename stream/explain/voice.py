"""Occlusion of the voice: a stretch of a band of frequencies is made as quiet as its quiet moments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from affectstream.stream.explain.model import Given, HopModel
from affectstream.stream.explain.patches import patches, spread
from affectstream.stream.fusion.encoders import VoiceEncoder
from affectstream.stream.media.types import SAMPLE_RATE

_WINDOW, _STEP = 512, 128
_BANDS = 48
"""Rows of the spectrogram that is drawn, evenly spaced on the mel scale."""
_QUIET = 10
"""The percentile of a frequency's magnitudes in the window that counts as its quiet moments."""
_SILENT = 1e-5
"""Of the loudest magnitude: softer moments are digital silence."""
_BATCH = 32


@dataclass(frozen=True, slots=True, eq=False)
class VoiceEffect:
    """The effect of stretches of time and bands of frequency in the window of sound."""

    start_us: int
    end_us: int
    edges_hz: NDArray[np.float64]
    """(bands + 1,): the frequencies between the rows of `spectrogram` and `map`, lowest first."""
    spectrogram: NDArray[np.float64]
    """(bands, steps) in dB."""
    grid: NDArray[np.float64]
    """(patches in frequency, patches in time): how far the explained number falls without each."""
    map: NDArray[np.float64]
    """(bands, steps): the mean of the patches over each place."""


def voice_effects(model: HopModel, in_time: int, in_frequency: int) -> list[VoiceEffect]:
    """The effect for each different voice encoder that was used."""
    groups: dict[int, tuple[VoiceEncoder, int, list[int]]] = {}
    found = model.found
    for number, (member, own) in enumerate(zip(found.fuser.members, found.hop.inputs, strict=True)):
        channel = own[found.place].channel
        if member.voice is not None and channel is not None:
            groups.setdefault(id(member.voice), (member.voice, channel, []))[2].append(number)
    return [
        _effect(model, encoder, channel, members, in_time, in_frequency)
        for encoder, channel, members in groups.values()
    ]


def _effect(
    model: HopModel,
    encoder: VoiceEncoder,
    channel: int,
    members: list[int],
    in_time: int,
    in_frequency: int,
) -> VoiceEffect:
    window = model.found.hop.window
    sound = np.ascontiguousarray(window.sound[-encoder.samples :, channel])
    spectrum = stft(sound)
    magnitude = np.abs(spectrum)
    quiet = _quiet_level(magnitude)
    gain = np.minimum(1.0, quiet / np.maximum(magnitude, 1e-12))
    edges = _mel_edges()
    bins = np.linspace(0, SAMPLE_RATE / 2, len(spectrum))
    band = np.clip(np.searchsorted(edges, bins, side="right") - 1, 0, _BANDS - 1)
    found = patches(_BANDS, spectrum.shape[1], in_frequency, in_time)
    changes = []
    for start in range(0, len(found), _BATCH):
        changed = []
        for patch in found[start : start + _BATCH]:
            rows = (band >= patch.rows[0]) & (band < patch.rows[1])
            hidden = spectrum.copy()
            place = np.ix_(rows, np.arange(*patch.columns))
            hidden[place] *= gain[place]
            changed.append(inverse_stft(hidden, len(sound)))
        embeddings = encoder.encode_sound(np.stack(changed).astype(np.float32))
        changes.append(model.changes([_replaced(model.given, members, one) for one in embeddings]))
    power = np.zeros((_BANDS, spectrum.shape[1]))
    for row in range(_BANDS):
        inside = band == row
        nearest = np.abs(bins - (edges[row] + edges[row + 1]) / 2).argmin()
        power[row] = (magnitude[inside] if inside.any() else magnitude[[nearest]]).max(axis=0)
    effect = np.concatenate(changes)
    return VoiceEffect(
        window.end_us - len(sound) * 1_000_000 // SAMPLE_RATE,
        window.end_us,
        edges,
        20 * np.log10(power + 1e-6),
        effect.reshape(in_frequency, in_time),
        spread(found, effect, _BANDS, spectrum.shape[1]),
    )


def _quiet_level(magnitude: NDArray[np.float64]) -> NDArray[np.float64]:
    """The magnitude (bins, 1) of the quiet moments of each frequency. Digital silence, such as before the
    recording begins, does not count."""
    sounding = magnitude.max(axis=0) > _SILENT * magnitude.max()
    heard = magnitude[:, sounding] if sounding.any() else magnitude
    return np.asarray(np.percentile(heard, _QUIET, axis=1, keepdims=True))


def _replaced(given: Given, members: list[int], embedding: NDArray[np.float32]) -> Given:
    changed = list(given)
    for member in members:
        feeds = given[member]
        assert feeds is not None
        changed[member] = {**feeds, "voice": embedding}
    return tuple(changed)


def stft(sound: NDArray[np.float32]) -> NDArray[np.complex128]:
    """The short-time spectrum (bins, steps) of `sound` (n,), of windows of 32 ms every 8 ms."""
    padded = np.pad(sound.astype(np.float64), _WINDOW)
    steps = 1 + (len(padded) - _WINDOW) // _STEP
    index = np.arange(_WINDOW) + _STEP * np.arange(steps)[:, None]
    return np.asarray(np.fft.rfft(padded[index] * _hann(), axis=1).T)


def inverse_stft(spectrum: NDArray[np.complex128], length: int) -> NDArray[np.float64]:
    """The sound (length,) of a spectrum of `stft`; without changes the same sound again."""
    pieces = np.fft.irfft(spectrum.T, _WINDOW, axis=1) * _hann()
    total = np.zeros(_STEP * (len(pieces) - 1) + _WINDOW)
    weight = np.zeros_like(total)
    for n, piece in enumerate(pieces):
        total[n * _STEP : n * _STEP + _WINDOW] += piece
        weight[n * _STEP : n * _STEP + _WINDOW] += _hann() ** 2
    return np.asarray((total / np.maximum(weight, 1e-9))[_WINDOW : _WINDOW + length])


def _hann() -> NDArray[np.float64]:
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW))


def _mel_edges() -> NDArray[np.float64]:
    """Edges of bands of equal width on the mel scale (O'Shaughnessy), from 0 to 8000 Hz."""
    top = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    return np.asarray(700 * (10 ** (np.linspace(0, top, _BANDS + 1) / 2595) - 1))
