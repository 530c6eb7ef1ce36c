"""Tracking faces: each person keeps a number through turns, crossings, cuts and absences.

A track predicts where its face will be, and remembers how the face looked. While a shot lasts, the place
decides: a face that has only one track near it continues that track, even where it looks different, because
it turned, laughs or is half covered. Where several people are near each other, the cheapest pairs are
matched first; the cost is the distance in face sizes plus the difference in appearance. After a cut (see
`cut`) no place means what it meant, and only the appearance decides.

An unmatched face starts a tentative track. It takes the number of a missing track that looks alike;
otherwise it gets a new number once it is certain that a person is there. Tentative tracks are not
reported, so a glimpse of a dim audience, or a microphone detected as a mouth, uses up no number.

The thresholds are chosen on animated photos (`affectstream bench tracking --photos 14`). Similarity of
three detections to a track of two seconds, whichever is highest:

    share of pairs less similar       1 %   5 %   25 %
        same person, 2 s later        0.74  0.82  0.92   (168 pairs)
    share of pairs more similar       1 %   5 %   50 %
        another person                0.52  0.48  0.28   (1,092)
        another person, without color 0.80  0.76  0.62   (1,092)
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from affectstream.stream.faces.face import Certainty, Face, FrameObservation
from affectstream.stream.faces.measures.appearance import Appearances
from affectstream.stream.faces.measures.cut import CutDetector

MEMORY_US = 10_000_000
"""A track without a face for longer is forgotten; its number is never used again."""

MIN_HITS, TENTATIVE_FRAMES = 3, 8
"""A tentative track is confirmed by `MIN_HITS` faces within `TENTATIVE_FRAMES` (a second of `pocket`), one of
them certain; or at once by a clear one, unless a track is missing."""

_PRESENT_US = 1_000_000
"""A track that has had no face for up to this long counts as present, where it was heading: a person who
passes behind another is hidden for most of a second, and looks different while half covered."""
_AHEAD_US = 500_000
"""How far a track's movement is extrapolated."""
_REACH = 1.5
"""Largest distance of a face from the prediction of a present track, in face sizes."""
_SIMILAR_NEAR, _SIMILAR_FAR = 0.50, 0.65
"""Lowest similarity of a face near a present track, and at more than half of `_REACH`, with others around."""
_SIMILAR_ALONE = 0.35
"""The same where only this face and only this track are near: without a cut it is hardly anybody else."""
_SAME_PERSON = 0.72
"""Lowest similarity of a face anywhere to a missing track, where both have been detected clearly."""
_SAME_DOUBTFUL = 0.85
"""The same where one of them was never clear: all dim and blurred faces look alike."""
_SAME_PLACE = 0.5
"""The same of the only face near the place where the only missing track there was last detected."""
_TENTATIVE_COST = 1.0
"""Extra cost of a tentative track, so that confirmed tracks are matched first."""


@dataclass(slots=True, eq=False)
class _Track:
    face: Face
    seen_us: int
    frame: int  # number of the frame of `face`
    appearances: Appearances
    best: Certainty
    hits: deque[tuple[int, Certainty]] = field(default_factory=lambda: deque(maxlen=MIN_HITS))
    """Frame and certainty of the newest faces while tentative."""
    velocity: tuple[float, float] = (0.0, 0.0)  # pixels a second
    number: int | None = None
    placed: bool = True
    """Whether the shot of `face` goes on, so that its place means something."""

    @classmethod
    def start(cls, face: Face, now_us: int, frame: int) -> _Track:
        """A tentative track of one face."""
        return cls(face, now_us, frame, Appearances(face.appearance), face.certainty)

    def follow(self, face: Face, now_us: int, frame: int) -> None:
        """Continue with a face. The velocity comes from detected places only, also after an absence."""
        gap_s = max(1e-3, (now_us - self.seen_us) / 1e6)
        (x0, y0), (x1, y1), old = self.face.center, face.center, self.velocity
        fresh = ((x1 - x0) / gap_s, (y1 - y0) / gap_s)
        steady = 0.5 if gap_s < _AHEAD_US / 1e6 else 0.0
        self.velocity = (0.0, 0.0)
        if self.placed:
            self.velocity = (
                steady * old[0] + (1 - steady) * fresh[0],
                steady * old[1] + (1 - steady) * fresh[1],
            )
        self.appearances.add(face.appearance)
        self.best = max(self.best, face.certainty)
        self.face, self.seen_us, self.frame, self.placed = face, now_us, frame, True

    @property
    def has_enough_hits(self) -> bool:
        """Whether the newest faces make it certain that a person is there."""
        close = len(self.hits) == MIN_HITS and self.hits[-1][0] - self.hits[0][0] < TENTATIVE_FRAMES
        return close and max(certainty for _, certainty in self.hits) >= Certainty.CERTAIN

    def distance(self, face: Face, now_us: int) -> float:
        """Between the predicted and the detected center, in face sizes; infinite after a cut."""
        if not self.placed:
            return math.inf
        ahead_s = min(now_us - self.seen_us, _AHEAD_US) / 1e6
        (x, y), (fx, fy) = self.face.center, face.center
        dx, dy = x + self.velocity[0] * ahead_s - fx, y + self.velocity[1] * ahead_s - fy
        return math.hypot(dx, dy) / max(self.face.side, face.side)


def lowest_similarity(*best: Certainty) -> float:
    """The similarity from which two faces anywhere are one person; `best` are the best detections of each."""
    return _SAME_PERSON if min(best) is Certainty.CLEAR else _SAME_DOUBTFUL


class Tracker:
    """Numbers the faces of each frame by track, from 1 upwards.

    The result depends only on what was pushed, and not on the order of the faces within a frame.
    """

    def __init__(self) -> None:
        self._confirmed: list[_Track] = []
        self._tentative: list[_Track] = []
        self._cuts = CutDetector()
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
        if self._cuts.push(observation.thumbnail):
            self._tentative = []
            for track in self._confirmed:
                track.placed = False
        faces = self._match(sorted(observation.faces, key=_place), now)
        self._tentative += [_Track.start(face, now, self._frame) for face in faces]
        for track in self._matched(self._tentative):
            track.hits.append((self._frame, track.face.certainty))
        self._revive(now)
        self._confirm()
        found = [(t.number, t.face) for t in self._matched(self._confirmed) if t.number is not None]
        return sorted(found, key=lambda pair: pair[0])

    def _matched(self, tracks: Iterable[_Track]) -> list[_Track]:
        return [t for t in tracks if t.frame == self._frame]

    def _match(self, faces: list[Face], now_us: int) -> list[Face]:
        """Match present tracks with the faces near them, cheapest pair first; the faces that are left."""
        tracks = [*self._confirmed, *self._tentative]
        away = [[t.distance(face, now_us) for face in faces] for t in tracks]
        alike = [[t.appearances.similarity(face.appearance) for face in faces] for t in tracks]
        pairs = []
        for t, track in enumerate(tracks):
            if now_us - track.seen_us > _PRESENT_US:
                continue
            for f in range(len(faces)):
                alone = track.number is not None and self._alone(t, f, away, alike)
                lowest = _SIMILAR_NEAR if away[t][f] <= 0.5 * _REACH else _SIMILAR_FAR
                if away[t][f] <= _REACH and alike[t][f] >= (_SIMILAR_ALONE if alone else lowest):
                    extra = _TENTATIVE_COST if track.number is None else 0.0
                    pairs.append((away[t][f] + 2 * (1 - alike[t][f]) + extra, t, f))
        free = dict(enumerate(faces))
        for _, t, f in _cheapest(pairs):
            tracks[t].follow(free.pop(f), now_us, self._frame)
        return list(free.values())

    def _alone(
        self, t: int, f: int, away: Sequence[Sequence[float]], alike: Sequence[Sequence[float]]
    ) -> bool:
        """Whether confirmed track `t` and face `f` have only each other near, and the face is not rather that
        of another track."""
        others = [n for n in range(len(self._confirmed)) if n != t]
        return (
            sum(distance <= _REACH for distance in away[t]) == 1
            and all(away[n][f] > _REACH for n in others)
            and all(alike[n][f] < max(_SAME_PERSON, alike[t][f]) for n in others)
        )

    def _revive(self, now_us: int) -> None:
        """Give tentative tracks that look like a missing track its number."""
        missing = [t for t in self._confirmed if t.frame != self._frame]
        candidates = self._matched(self._tentative)
        away = [[m.distance(c.face, now_us) for c in candidates] for m in missing]
        pairs = []
        for m, track in enumerate(missing):
            for c, candidate in enumerate(candidates):
                alone = (
                    away[m][c] <= _REACH
                    and sum(distance <= _REACH for distance in away[m]) == 1
                    and sum(row[c] <= _REACH for row in away) == 1
                )
                lowest = lowest_similarity(track.best, candidate.best)
                similarity = track.appearances.similarity(candidate.face.appearance)
                if similarity >= (_SAME_PLACE if alone else lowest):
                    pairs.append((-similarity, m, c))
        for _, m, c in _cheapest(pairs):
            missing[m].follow(candidates[c].face, now_us, self._frame)
            self._tentative.remove(candidates[c])

    def _confirm(self) -> None:
        """Give tentative tracks that are confirmed to be a new person a number."""
        all_here = all(t.frame == self._frame for t in self._confirmed)
        for track in self._matched(self._tentative):
            if track.has_enough_hits or (all_here and track.face.certainty is Certainty.CLEAR):
                track.number, self._next = self._next, self._next + 1
                self._tentative.remove(track)
                self._confirmed.append(track)


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
