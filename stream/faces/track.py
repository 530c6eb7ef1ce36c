"""Faces through time: a number for each person that survives crossings, cuts and short absences.

Each track predicts where it will be and remembers what it looked like. Those in sight take the faces
near them, cheapest pair first, cost being distance in face sizes plus unlikeness. A face that nobody
took is on trial: it gets a number, an old one if it looks like someone who is missing, once it is
certain that somebody is there. Until then it is not reported, so a glimpse of a dim audience or a
microphone taken for a mouth uses no number up.

The thresholds come from ten real recordings: one person, or several in cuts between shots, 8 looks a
second. Likeness of a track to a later look at the same person, and to others in the same recording:

    a share of looks is less alike      1 %   5 %   25 %  50 %
        same person, 1/8 s later        0.76  0.88  0.96  0.98   (839 looks)
        same person, 2 s later          0.70  0.83  0.92  0.96   (611)
    a share of looks is more alike      1 %   5 %   25 %  50 %
        someone else                    0.82  0.78  0.69  0.57   (2,342)

Those who were shown where another had been before a cut were 0.30 and 0.61 alike.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from affectstream.stream.faces.face import Face, FrameObservation, appearance_similarity

MEMORY_US = 5_000_000
"""A track unseen for longer is forgotten; its number is never given again."""

LOOKS, TRIAL_FRAMES = 3, 8
"""A face is somebody once it was seen in this many of the last frames (a second of `pocket`)."""
LIKELY = 0.55
"""Score that the best of these looks must have. `pocket`'s detector reports from 0.45 on; a glass that it
saw again and again in the recordings had 0.49 at most, and dim or turned people 0.54 to 0.67."""
SURE = 0.8
"""A face with this score is somebody at first sight, unless it may be one who is missing. In recordings
of one person every look has 0.85 or more; what was no face had 0.61 at most, a microphone."""

_PRESENT_US = 1_000_000
"""Unseen for no longer, a track is taken to be where it was heading: one who passes behind another is
hidden for most of a second, and half covered, so not much alike, when coming out."""
_AHEAD_US = 500_000
"""How far a track's movement is carried on."""
_REACH = 1.5
"""Face sizes that a present track may be from its prediction."""
_NEAR = 0.68
"""Likeness that a face near a present track must have: at a cut the same place is someone else. A look
that is refused by chance costs nothing but itself."""
_FAR = 0.80
"""The same where it is more than half of `_REACH` away. No two people in one frame were more alike."""
_ALIKE = 0.83
"""Likeness that a face anywhere must have to one who is missing. Of 252 returns after 2 s elsewhere in
the picture 249 kept their number, and 4 of 134 others took one over (0.80: 250, 10; 0.85: 243, 2)."""
_TRIAL_COST = 1.0
"""What a track on trial is behind one that has a number."""
_REFRESH = 0.2
"""Weight of the newest look in a track's signature."""


@dataclass(slots=True, eq=False)
class _Track:
    face: Face
    seen_us: int
    frame: int  # number of the frame of `face`
    signature: NDArray[np.float32]
    looks: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=LOOKS))
    """Frame and score of the newest looks on trial."""
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
        self.signature = (1 - _REFRESH) * self.signature + _REFRESH * face.appearance
        self.face, self.seen_us, self.frame = face, now_us, frame

    @property
    def proven(self) -> bool:
        """Whether somebody is there, by the newest looks."""
        close = len(self.looks) == LOOKS and self.looks[-1][0] - self.looks[0][0] < TRIAL_FRAMES
        return close and max(score for _, score in self.looks) >= LIKELY

    def distance(self, face: Face, now_us: int) -> float:
        """Between the predicted and the found centre, in face sizes."""
        ahead_s = min(now_us - self.seen_us, _AHEAD_US) / 1e6
        (x, y), (fx, fy) = self.face.center, face.center
        dx, dy = x + self.velocity[0] * ahead_s - fx, y + self.velocity[1] * ahead_s - fy
        return math.hypot(dx, dy) / max(self.face.side, face.side)


class Tracker:
    """Gives the faces of each frame their numbers, from 1 upwards.

    The result depends on what was pushed alone, and not on the order of the faces within a frame.
    """

    def __init__(self) -> None:
        self._known: list[_Track] = []
        self._trials: list[_Track] = []
        self._frame = 0
        self._next = 1

    @property
    def count(self) -> int:
        """Numbers given so far."""
        return self._next - 1

    def push(self, seen: FrameObservation) -> list[tuple[int, Face]]:
        """Numbers of the faces in `seen`, in order of number. Times must not go back.

        A face on trial is left out; once it has a number, its earlier looks are not told again.
        """
        now, self._frame = seen.pts_us, self._frame + 1
        self._known = [t for t in self._known if now - t.seen_us <= MEMORY_US]
        self._trials = [t for t in self._trials if self._frame - t.frame < TRIAL_FRAMES]
        faces = self._continue([*self._known, *self._trials], sorted(seen.faces, key=_place), now)
        self._trials += [_Track(face, now, self._frame, face.appearance) for face in faces]
        for track in self._here(self._trials):
            track.looks.append((self._frame, track.face.score))
        self._return(now)
        self._admit()
        found = [(t.number, t.face) for t in self._here(self._known) if t.number is not None]
        return sorted(found, key=lambda pair: pair[0])

    def _here(self, tracks: Iterable[_Track]) -> list[_Track]:
        return [t for t in tracks if t.frame == self._frame]

    def _continue(self, tracks: list[_Track], faces: list[Face], now_us: int) -> list[Face]:
        """Let each of `tracks` take its face; the faces that are left."""
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

    def _return(self, now_us: int) -> None:
        """Give those on trial who look like one who is missing the old number."""
        missing = [t for t in self._known if t.frame != self._frame]
        trials = self._here(self._trials)
        pairs = [
            (-alike, m, t)
            for m, track in enumerate(missing)
            for t, trial in enumerate(trials)
            if (alike := appearance_similarity(track.signature, trial.signature)) >= _ALIKE
        ]
        for _, m, t in _cheapest(pairs):
            missing[m].follow(trials[t].face, now_us, self._frame)
            self._trials.remove(trials[t])

    def _admit(self) -> None:
        """Give those on trial who are certain to be somebody new a number."""
        all_here = all(t.frame == self._frame for t in self._known)
        for track in self._here(self._trials):
            if track.proven or (all_here and track.face.score >= SURE):
                track.number, self._next = self._next, self._next + 1
                self._trials.remove(track)
                self._known.append(track)


def _cost(track: _Track, face: Face, now_us: int) -> float | None:
    """Cost of taking `face` for `track`; None where it cannot be."""
    alike = appearance_similarity(track.signature, face.appearance)
    cost = 2.0 * (1.0 - alike) + (_TRIAL_COST if track.number is None else 0.0)
    if now_us - track.seen_us > _PRESENT_US:
        # Where someone went who is away cannot be known. They come after those in sight.
        return 2.0 * _REACH + cost if alike >= _ALIKE else None
    away = track.distance(face, now_us)
    if away > _REACH or alike < (_NEAR if away <= 0.5 * _REACH else _FAR):
        return None
    return away + cost


def _cheapest(pairs: Iterable[tuple[float, int, int]]) -> Iterable[tuple[float, int, int]]:
    """Of (cost, one, other) the cheapest, each one and each other at most once."""
    taken: set[int] = set()
    used: set[int] = set()
    for cost, one, other in sorted(pairs):
        if one not in taken and other not in used:
            taken.add(one)
            used.add(other)
            yield cost, one, other


def _place(face: Face) -> tuple[float, ...]:
    return (*face.box, -face.score)
