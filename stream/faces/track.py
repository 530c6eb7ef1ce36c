"""Tracking faces: each person keeps a number through crossings, cuts and short absences.

A track predicts where its face will be, and remembers how the face looks. In each frame the present tracks
are matched with the faces near them, cheapest pair first; the cost is the distance in face sizes plus the
difference in appearance. An unmatched face starts a tentative track. It takes the number of a missing track
that looks alike; otherwise it gets a new number once it is certain that a person is there. Tentative tracks
are not reported, so a glimpse of a dim audience, or a microphone detected as a mouth, uses up no number.

The thresholds come from ten real recordings at 8 frames a second, of one person or of several people in
cuts between shots. Similarity of a track to a later detection of the same person, and to other people in
the same recording:

    share of detections less similar    1 %   5 %   25 %  50 %
        same person, 1/8 s later        0.76  0.88  0.96  0.98   (839 detections)
        same person, 2 s later          0.70  0.83  0.92  0.96   (611)
    share of detections more similar    1 %   5 %   25 %  50 %
        another person                  0.82  0.78  0.69  0.57   (2,342)

Two people who appeared, after a cut, in the place of another had similarities of 0.30 and 0.61.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from affectstream.stream.faces.appearance import appearance_similarity
from affectstream.stream.faces.face import Face, FrameObservation

MEMORY_US = 5_000_000
"""A track without a face for longer is forgotten; its number is never used again."""

MIN_HITS, TENTATIVE_FRAMES = 3, 8
"""A tentative track is confirmed by `MIN_HITS` faces within `TENTATIVE_FRAMES` (a second of `pocket`)."""
CONFIRM_SCORE = 0.55
"""The best of these faces must have this score. `pocket`'s detector reports scores from 0.45; a glass that
it detected again and again in the recordings had 0.49 at most, and dim or turned people 0.54 to 0.67."""
INSTANT_SCORE = 0.8
"""A face with this score is confirmed at once, unless a track is missing. In recordings of one person every
detection has 0.85 or more; the best false detection, a microphone, had 0.61."""

_PRESENT_US = 1_000_000
"""A track that has had no face for up to this long counts as present, where it was heading: a person who
passes behind another is hidden for most of a second, and looks different while half covered."""
_AHEAD_US = 500_000
"""How far a track's movement is extrapolated."""
_REACH = 1.5
"""Largest distance of a face from the prediction of a present track, in face sizes."""
_SIMILAR_NEAR = 0.68
"""Lowest similarity of a face near a present track: after a cut another person may be in the same place.
A detection that is refused by chance is lost, and nothing else."""
_SIMILAR_FAR = 0.80
"""The same at more than half of `_REACH`. No two people in one frame were more similar."""
SAME_PERSON = 0.83
"""Lowest similarity of a face anywhere to a missing track. Of 252 people who returned after 2 s elsewhere
in the picture, 249 kept their number; 4 of 134 other people took over a number (0.80: 250 and 10; 0.85: 243
and 2)."""
_TENTATIVE_COST = 1.0
"""Extra cost of a tentative track, so that confirmed tracks are matched first."""
_REFRESH = 0.2
"""Weight of the newest face in a track's appearance."""


@dataclass(slots=True, eq=False)
class _Track:
    face: Face
    seen_us: int
    frame: int  # number of the frame of `face`
    appearance: NDArray[np.float32]
    hits: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=MIN_HITS))
    """Frame and score of the newest faces while tentative."""
    velocity: tuple[float, float] = (0.0, 0.0)  # pixels a second
    number: int | None = None

    def follow(self, face: Face, now_us: int, frame: int) -> None:
        gap_s = max(1e-3, (now_us - self.seen_us) / 1e6)
        if gap_s < _AHEAD_US / 1e6:
            (x0, y0), (x1, y1) = self.face.center, face.center
            fresh = ((x1 - x0) / gap_s, (y1 - y0) / gap_s)
            old = self.velocity
            self.velocity = (0.5 * (old[0] + fresh[0]), 0.5 * (old[1] + fresh[1]))
        else:
            self.velocity = (0.0, 0.0)
        self.appearance = (1 - _REFRESH) * self.appearance + _REFRESH * face.appearance
        self.face, self.seen_us, self.frame = face, now_us, frame

    @property
    def has_enough_hits(self) -> bool:
        """Whether the newest faces make it certain that a person is there."""
        close = len(self.hits) == MIN_HITS and self.hits[-1][0] - self.hits[0][0] < TENTATIVE_FRAMES
        return close and max(score for _, score in self.hits) >= CONFIRM_SCORE

    def distance(self, face: Face, now_us: int) -> float:
        """Between the predicted and the detected center, in face sizes."""
        ahead_s = min(now_us - self.seen_us, _AHEAD_US) / 1e6
        (x, y), (fx, fy) = self.face.center, face.center
        dx, dy = x + self.velocity[0] * ahead_s - fx, y + self.velocity[1] * ahead_s - fy
        return math.hypot(dx, dy) / max(self.face.side, face.side)


class Tracker:
    """Numbers the faces of each frame by track, from 1 upwards.

    The result depends only on what was pushed, and not on the order of the faces within a frame.
    """

    def __init__(self) -> None:
        self._confirmed: list[_Track] = []
        self._tentative: list[_Track] = []
        self._frame = 0
        self._next = 1

    @property
    def count(self) -> int:
        """Tracks so far."""
        return self._next - 1

    def push(self, observation: FrameObservation) -> list[tuple[int, Face]]:
        """(track, face) of the faces in a frame, in order of track. Times must not go back.

        Faces of tentative tracks are left out, and are not reported later either.
        """
        now, self._frame = observation.pts_us, self._frame + 1
        self._confirmed = [t for t in self._confirmed if now - t.seen_us <= MEMORY_US]
        self._tentative = [t for t in self._tentative if self._frame - t.frame < TENTATIVE_FRAMES]
        faces = self._match(
            [*self._confirmed, *self._tentative], sorted(observation.faces, key=_place), now
        )
        self._tentative += [_Track(face, now, self._frame, face.appearance) for face in faces]
        for track in self._matched(self._tentative):
            track.hits.append((self._frame, track.face.score))
        self._revive(now)
        self._confirm()
        found = [(t.number, t.face) for t in self._matched(self._confirmed) if t.number is not None]
        return sorted(found, key=lambda pair: pair[0])

    def _matched(self, tracks: Iterable[_Track]) -> list[_Track]:
        return [t for t in tracks if t.frame == self._frame]

    def _match(self, tracks: list[_Track], faces: list[Face], now_us: int) -> list[Face]:
        """Match `tracks` with `faces`, cheapest pair first; the faces that are left."""
        pairs = [
            (cost, t, f)
            for t, track in enumerate(tracks)
            for f, face in enumerate(faces)
            if (cost := _cost(track, face, now_us)) is not None
        ]
        free = dict(enumerate(faces))
        for _, t, f in _cheapest(pairs):
            tracks[t].follow(free.pop(f), now_us, self._frame)
        return list(free.values())

    def _revive(self, now_us: int) -> None:
        """Give tentative tracks that look like a missing track its number."""
        missing = [t for t in self._confirmed if t.frame != self._frame]
        candidates = self._matched(self._tentative)
        pairs = [
            (-similarity, m, t)
            for m, track in enumerate(missing)
            for t, candidate in enumerate(candidates)
            if (similarity := appearance_similarity(track.appearance, candidate.appearance))
            >= SAME_PERSON
        ]
        for _, m, t in _cheapest(pairs):
            missing[m].follow(candidates[t].face, now_us, self._frame)
            self._tentative.remove(candidates[t])

    def _confirm(self) -> None:
        """Give tentative tracks that are confirmed to be a new person a number."""
        all_here = all(t.frame == self._frame for t in self._confirmed)
        for track in self._matched(self._tentative):
            if track.has_enough_hits or (all_here and track.face.score >= INSTANT_SCORE):
                track.number, self._next = self._next, self._next + 1
                self._tentative.remove(track)
                self._confirmed.append(track)


def _cost(track: _Track, face: Face, now_us: int) -> float | None:
    """Cost of matching `face` with `track`; None where they cannot match."""
    similarity = appearance_similarity(track.appearance, face.appearance)
    cost = 2.0 * (1.0 - similarity) + (_TENTATIVE_COST if track.number is None else 0.0)
    if now_us - track.seen_us > _PRESENT_US:
        # Nobody knows where a missing person went, so any place costs the same, and more than present tracks.
        return 2.0 * _REACH + cost if similarity >= SAME_PERSON else None
    away = track.distance(face, now_us)
    if away > _REACH or similarity < (_SIMILAR_NEAR if away <= 0.5 * _REACH else _SIMILAR_FAR):
        return None
    return away + cost


def _cheapest(pairs: Iterable[tuple[float, int, int]]) -> Iterable[tuple[float, int, int]]:
    """The cheapest of the pairs (cost, one, other) that use each one and each other at most once."""
    taken: set[int] = set()
    used: set[int] = set()
    for cost, one, other in sorted(pairs):
        if one not in taken and other not in used:
            taken.add(one)
            used.add(other)
            yield cost, one, other


def _place(face: Face) -> tuple[float, ...]:
    return (*face.box, -face.score)
