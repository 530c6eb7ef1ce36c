"""Faces through time: a number for each person that survives crossings and short absences.

Each track predicts where it will be and remembers what it looked like. Pairs of track and face are
taken cheapest first, cost being distance in face sizes plus unlikeness. Position counts for less the
longer a track has been out of sight, so a person who comes back elsewhere is still the same number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from affectstream.stream.faces.face import Face, Seen, likeness

MEMORY_US = 5_000_000
"""A track unseen for longer is forgotten; its number is never given again."""

_PRESENT_US = 400_000
"""Unseen for less than this, a track is taken to be where it was heading."""
_REACH = 1.5
"""Face sizes that a present track may be from its prediction."""
_ALIKE = 0.80
"""Likeness that a face elsewhere, or a track that was away, must have to be the same."""
_REFRESH = 0.2
"""Weight of the newest look in a track's signature."""


@dataclass(slots=True, eq=False)
class _Track:
    number: int
    face: Face
    seen_us: int
    signature: NDArray[np.float32]
    velocity: tuple[float, float] = (0.0, 0.0)  # pixels a second
    looks: int = field(default=1)

    def follow(self, face: Face, now_us: int) -> None:
        gap_s = max(1e-3, (now_us - self.seen_us) / 1e6)
        if gap_s < _PRESENT_US / 1e6:
            (x0, y0), (x1, y1) = self.face.centre, face.centre
            fresh = ((x1 - x0) / gap_s, (y1 - y0) / gap_s)
            old = self.velocity
            self.velocity = (0.5 * (old[0] + fresh[0]), 0.5 * (old[1] + fresh[1]))
        else:
            self.velocity = (0.0, 0.0)
        self.signature = (1 - _REFRESH) * self.signature + _REFRESH * face.signature
        self.face, self.seen_us, self.looks = face, now_us, self.looks + 1

    def distance(self, face: Face, now_us: int) -> float:
        """Between the predicted and the found centre, in face sizes."""
        ahead_s = min(now_us - self.seen_us, _PRESENT_US) / 1e6
        (x, y), (fx, fy) = self.face.centre, face.centre
        dx, dy = x + self.velocity[0] * ahead_s - fx, y + self.velocity[1] * ahead_s - fy
        return math.hypot(dx, dy) / max(self.face.side, face.side)


class Tracker:
    """Gives the faces of each frame their numbers, from 1 upwards."""

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._next = 1

    @property
    def count(self) -> int:
        """Numbers given so far."""
        return self._next - 1

    def push(self, seen: Seen) -> list[tuple[int, Face]]:
        """Numbers of the faces in `seen`, in order of number. Times must not go back."""
        now = seen.pts_us
        self._tracks = [t for t in self._tracks if now - t.seen_us <= MEMORY_US]
        free_tracks, free_faces = list(self._tracks), list(range(len(seen.faces)))
        pairs = [
            (cost, track.number, index)
            for track in free_tracks
            for index in free_faces
            if (cost := self._cost(track, seen.faces[index], now)) is not None
        ]
        found: dict[int, Face] = {}
        by_number = {t.number: t for t in free_tracks}
        for _, number, index in sorted(pairs):
            if number in found or index not in free_faces:
                continue
            by_number[number].follow(seen.faces[index], now)
            found[number] = seen.faces[index]
            free_faces.remove(index)
        for index in free_faces:
            face = seen.faces[index]
            self._tracks.append(_Track(self._next, face, now, face.signature))
            found[self._next] = face
            self._next += 1
        return sorted(found.items())

    def _cost(self, track: _Track, face: Face, now_us: int) -> float | None:
        """Cost of taking `face` for `track`; None where it cannot be."""
        alike = likeness(track.signature, face.signature)
        away = track.distance(face, now_us)
        if now_us - track.seen_us <= _PRESENT_US:
            if away > _REACH or (away > 0.5 * _REACH and alike < _ALIKE - 0.3):
                return None
            return away + 2.0 * (1.0 - alike)
        if alike < _ALIKE and away > 0.5:
            return None
        # One who was away: after those in sight, and by looks more than by place.
        return 2.0 + 0.2 * min(away, 5.0) + 2.0 * (1.0 - alike)
