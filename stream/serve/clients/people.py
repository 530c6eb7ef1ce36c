"""Recognizes a person who returns with a new track number, so that the page can join their history.

A track is forgotten after ten seconds without a face, and its number is never used again. Events keep
these numbers. The page groups them by person: the first track of all tracks whose faces look alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from affectstream.stream.faces.face import Certainty, Face
from affectstream.stream.faces.measures.appearance import Appearances
from affectstream.stream.faces.tracking.track import MEMORY_US, lowest_similarity

_MEMORY_US = 120_000_000
"""As long as the history on the page."""
_COMPARE_US = 2_000_000
"""How long a new track is compared: at first its face may be turned or half covered."""


@dataclass(slots=True, eq=False)
class _Person:
    number: int
    appearances: Appearances
    best: Certainty
    first_us: int
    newest_us: int


class PersonMemory:
    """Which person each track belongs to. Its data ends with the session and is never written out."""

    def __init__(self) -> None:
        self._of_track: dict[int, _Person] = {}

    def update(self, faces: Mapping[int, Face], now_us: int) -> None:
        """Add the faces of one hop that ends at `now_us`, by track."""
        self._of_track = {
            track: person
            for track, person in self._of_track.items()
            if now_us - person.newest_us <= _MEMORY_US
        }
        for track, face in faces.items():
            person = self._of_track.get(track)
            if person is None:
                person = _Person(
                    track, Appearances(face.appearance), face.certainty, now_us, now_us
                )
            if person.number == track and now_us - person.first_us <= _COMPARE_US:
                person = self._find_forgotten(face, now_us) or person
            person.appearances.add(face.appearance)
            person.best = max(person.best, face.certainty)
            person.newest_us = now_us
            self._of_track[track] = person

    def person(self, track: int) -> int:
        """The number of this track's person: their first track."""
        person = self._of_track.get(track)
        return track if person is None else person.number

    def _find_forgotten(self, face: Face, now_us: int) -> _Person | None:
        """The person whose track was forgotten who looks most like `face`, if one looks enough like it."""
        forgotten = (p for p in self._of_track.values() if now_us - p.newest_us > MEMORY_US)
        pairs = [
            (similarity, person)
            for person in forgotten
            if (similarity := person.appearances.similarity(face.appearance))
            >= lowest_similarity(person.best, face.certainty)
        ]
        return max(pairs, key=lambda pair: pair[0], default=(0.0, None))[1]
