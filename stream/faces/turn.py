"""A recording that lies on its side: pictures without a rotation mark in which all faces are turned.

Some cameras and converters lose the mark that says how a player turns the picture. The first frames with a
clear face decide: where all of them lie at about 90, 180 or 270 degrees, the whole recording is turned once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from affectstream.stream.faces.face import Face
from affectstream.stream.faces.find import FaceFinder
from affectstream.stream.media.picture import to_rgb
from affectstream.stream.media.types import RIGHT_ANGLES, UPRIGHT, Frame

SEARCH_US = 10_000_000
"""How long after the first frame a clear face is looked for; then the recording counts as upright."""
_CLEAR_SCORE = 0.7
"""The detector's score of a face that decides."""
_MIN_VOTES = 3
"""Frames that must agree on a turn. One frame with an upright face is enough against it."""


class TurnFinder:
    """Push the first frames of a recording until `quarters` is known."""

    def __init__(self, finder: FaceFinder, pixel_aspect: float = 1.0) -> None:
        self._finder, self._aspect = finder, pixel_aspect
        self._first_us: int | None = None
        self.quarters: int | None = None
        """Quarter turns counterclockwise that make the recording upright; None while undecided."""

    def push(self, frames: Sequence[Frame]) -> None:
        """Some consecutive frames. Only the first is examined, unless its faces are turned."""
        if not frames:
            return
        if self._first_us is None:
            self._first_us = frames[0].pts_us
        if frames[0].rotation != UPRIGHT or frames[0].pts_us - self._first_us > SEARCH_US:
            self.quarters = 0
            return
        votes: list[int] = []
        for frame in frames:
            vote = self._vote(to_rgb(frame, pixel_aspect=self._aspect))
            if vote == 0:
                self.quarters = 0
                return
            if vote is None and not votes:
                return
            votes += [] if vote is None else [vote]
        if len(votes) >= _MIN_VOTES and len(set(votes)) == 1:
            self.quarters = votes[0]

    def _vote(self, picture: NDArray[np.uint8]) -> int | None:
        """The turn that one picture suggests; None where no face is clear in any turn."""
        for quarters in (0, 1, 3, 2):
            turned = RIGHT_ANGLES[quarters].apply(picture)
            (faces,) = self._finder.find([turned])
            turns = [
                (quarters + _quarters_of(face)) % 4
                for face in faces
                if face.score >= _CLEAR_SCORE and face.is_usable(*turned.shape[:2])
            ]
            if turns:
                return 0 if 0 in turns else turns[0]
        return None


def _quarters_of(face: Face) -> int:
    """The nearest number of quarter turns by which a face leans clockwise."""
    right_eye, left_eye = face.landmarks[:2].tolist()
    roll = math.degrees(math.atan2(left_eye[1] - right_eye[1], left_eye[0] - right_eye[0]))
    return round(roll / 90)
