"""Who of the people in view speaks: whose mouth moves while the voice is loud, and rests in its pauses.

A small Bayesian filter. Between two grid points a mouth rests or moves; the change of its opening tells
which, up to noise. How often it moves depends on what the person does:

    speaks              90 % of the steps with loud sound, 30 % of those with none, in proportion between them
    listens             12 % of all steps
    does something else that moves the mouth (eats, laughs, talks without being heard): 75 % of all steps

Evidence fades over seconds, because speakers take turns. The probability that a face speaks is that of all
others listening or moving, against somebody else in view speaking, or somebody out of view.

The numbers are set by reasoning and on one recording of two people in turn (`two_people.mp4`), whose face and
sound were combined with other faces. `affectstream bench behaviour --only speaker` measures on others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from affectstream.stream.faces.measures.quality import MIN_QUALITY
from affectstream.stream.media.grid import time_of_point
from affectstream.stream.media.types import SAMPLE_RATE
from affectstream.stream.windowing.windows import TrackSample, Window

SPEAKS = 0.6
"""Lowest probability with which a voice is given to a face by its mouth."""
CONTRADICTS = 0.05
"""With a lower one a voice is not given to the only face in view: its mouth rests while somebody speaks."""

_REST, _MOVE = 0.02, 0.12
"""Mean change of the opening (0 to 1) of a mouth that rests, by noise, and of one that moves; exponential."""
_LARGEST = 0.4
_LOUD_MOVES, _QUIET_MOVES, _LISTENER_MOVES, _OTHER_MOVES = 0.9, 0.3, 0.12, 0.75
_OTHER, _NOBODY = 0.3, 0.1
"""Prior probabilities that somebody who does not speak moves the mouth, and that nobody in view speaks."""
_MIN_MOVED = math.log(4.0)
"""How much likelier speaking must be than listening: a face whose mouth is hardly seen must not win because
the others rest."""
_FADE_S = 4.0
_STEP_S = 0.125
"""Evidence of shorter steps counts in proportion: neighboring frames show the same movement."""
_QUIET_DB, _SILENT_DB = 20.0, 30.0
"""Sound this far below the loudest is quiet, and not louder than silence."""
_FLOOR_DB, _PEAK_FALLS_DB = -60.0, 1.0
"""The loudest level is at least this one, and is forgotten by so many dB a second."""
_BAND_HZ = 300.0, 3500.0


@dataclass(slots=True)
class _Evidence:
    """Log likelihoods of what one mouth did."""

    speaks: float = 0.0
    listens: float = 0.0
    other: float = 0.0

    def fade(self, by: float) -> None:
        self.speaks, self.listens, self.other = (
            by * self.speaks,
            by * self.listens,
            by * self.other,
        )

    def add(self, change: float, loudness: float, weight: float) -> None:
        """The opening changed by `change` while the sound had `loudness`, 0 to 1."""
        rest, move = _exponential(change, _REST), _exponential(change, _MOVE)
        moves = _QUIET_MOVES + (_LOUD_MOVES - _QUIET_MOVES) * loudness
        self.speaks += weight * _log_mix(moves, move, rest)
        self.listens += weight * _log_mix(_LISTENER_MOVES, move, rest)
        self.other += weight * _log_mix(_OTHER_MOVES, move, rest)

    @property
    def ratio(self) -> float:
        """Log likelihood of speaking, against not speaking."""
        silent = np.logaddexp(math.log(1 - _OTHER) + self.listens, math.log(_OTHER) + self.other)
        return self.speaks - float(silent)

    @property
    def moved(self) -> float:
        """Log likelihood of speaking, against listening."""
        return self.speaks - self.listens


@dataclass(frozen=True, slots=True)
class Speaking:
    """The probability that each face in view speaks. A face whose mouth was not measured has none."""

    by_track: Mapping[int, float] = field(default_factory=dict)
    speaker: int | None = None
    """The track that speaks, where that is sure enough."""

    def contradicts(self, track: int) -> bool:
        """Whether the mouth of a face that is alone in view says that somebody else speaks."""
        return self.by_track.get(track, 1.0) < CONTRADICTS


class SpeakingMouths:
    """Push the windows of one source in order; each gives the probabilities at its end."""

    def __init__(self, frame_hz: int, points_per_hop: int) -> None:
        self._frame_hz, self._points = frame_hz, points_per_hop
        self._evidence: dict[int, _Evidence] = {}
        self._peak_db = _FLOOR_DB

    def push(self, window: Window, present: Sequence[int], *, voiced: bool) -> Speaking:
        """Compare the mouths in the hop at the end of `window` with its sound; `voiced`: there is a voice.

        `present` are the tracks in view. Without a voice the evidence only fades.
        """
        step_s = 1 / self._frame_hz
        self._peak_db = max(_FLOOR_DB, self._peak_db - _PEAK_FALLS_DB * step_s * self._points)
        self._evidence = {t: self._evidence.get(t, _Evidence()) for t in window.tracks}
        first = window.hop * self._points
        loudness = self._loudness(window, first) if voiced else np.zeros(0)
        for track, evidence in self._evidence.items():
            changes = _changes(window.tracks[track], first)
            for n in range(self._points):
                evidence.fade(math.exp(-step_s / _FADE_S))
                if voiced and first + n in changes:
                    weight = min(1.0, step_s / _STEP_S)
                    evidence.add(changes[first + n], float(loudness[n]), weight)
        return self._decide(present)

    def _decide(self, present: Sequence[int]) -> Speaking:
        ratios = {t: self._evidence[t].ratio for t in present if t in self._evidence}
        if not ratios:
            return Speaking()
        prior = math.log((1 - _NOBODY) / len(ratios))
        logs = {t: prior + ratio for t, ratio in ratios.items()}
        total = np.logaddexp.reduce([math.log(_NOBODY), *logs.values()])
        by_track = {t: float(np.exp(value - total)) for t, value in logs.items()}
        best = max(by_track, key=lambda t: by_track[t])
        sure = by_track[best] >= SPEAKS and self._evidence[best].moved >= _MIN_MOVED
        return Speaking(by_track, best if sure else None)

    def _loudness(self, window: Window, first: int) -> NDArray[np.float64]:
        """How loud the sound is before each grid point of the hop, from 0 (quiet) to 1.

        It is the mean level of two pieces of sound, each a step long, around this point and the one before.
        """
        step = SAMPLE_RATE // self._frame_hz
        # The filter rings for milliseconds: twice the sound that is measured is enough.
        recent = window.sound[-2 * (self._points + 1) * step :]
        sound = _in_band(recent.mean(axis=1, dtype=np.float64))
        centers = len(sound) - (self._points - np.arange(-1, self._points)) * step
        centers += round(self._lateness_us(window, first) * SAMPLE_RATE / 1e6)
        starts = np.clip(centers - step // 2, 0, len(sound) - step)
        power = [float(np.mean(sound[s : s + step] ** 2)) for s in starts]
        level = 10 * np.log10(np.array(power) + 1e-12)
        level = np.maximum(level, self._peak_db - _SILENT_DB)
        mean = (level[1:] + level[:-1]) / 2
        self._peak_db = max(self._peak_db, float(mean.max()))
        return np.asarray(np.clip(1 - (self._peak_db - mean) / _QUIET_DB, 0.0, 1.0), np.float64)

    def _lateness_us(self, window: Window, first: int) -> float:
        """How long after their grid points the frames of the hop were captured; 0 if before, as in files."""
        late_us = [
            sample.pts_us - time_of_point(sample.point, self._frame_hz)
            for samples in window.tracks.values()
            for sample in samples
            if sample.point >= first
        ]
        return max(0.0, float(np.median(late_us))) if late_us else 0.0


def _changes(samples: Sequence[TrackSample], first: int) -> dict[int, float]:
    """How far the mouth opened or closed before each grid point from `first` on, where it was measured."""
    openings = {
        sample.point: sample.face.mouth_open
        for sample in samples
        if sample.face.mouth_open is not None and sample.face.quality.value >= MIN_QUALITY
    }
    return {
        point: min(_LARGEST, abs(opening - openings[point - 1]))
        for point, opening in openings.items()
        if point >= first and point - 1 in openings
    }


def _in_band(sound: NDArray[np.float64]) -> NDArray[np.float64]:
    """The band of voices in `sound` (n,): neither hum nor hiss."""
    spectrum = np.fft.rfft(sound)
    hz = np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE)
    spectrum[(hz < _BAND_HZ[0]) | (hz > _BAND_HZ[1])] = 0.0
    return np.asarray(np.fft.irfft(spectrum, len(sound)))


def _exponential(value: float, mean: float) -> float:
    return math.exp(-value / mean) / mean


def _log_mix(share: float, one: float, other: float) -> float:
    return math.log(share * one + (1 - share) * other)
