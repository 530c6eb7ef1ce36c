"""A recording that lies on its side: pictures without a rotation mark in which all faces are turned.

Some cameras and converters lose the mark that says how a player turns the picture. The first frames with a
clear face decide: where all of them lie at about 90, 180 or 270 degrees, the whole recording is turned once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from affectstream.stream.faces.detection.find import FaceFinder
from affectstream.stream.faces.face import Certainty, Face
from affectstream.stream.media.picture import to_rgb
from affectstream.stream.media.types import RIGHT_ANGLES, UPRIGHT, Frame

SEARCH_US = 10_000_000
"""How long after the first frame a clear face is looked for; then the recording counts as upright."""
_MAX_LEAN = 25.0
"""Degrees by which such a face may lean from a quarter turn: one that leans by 45 may be a tilted head."""
_MIN_VOTES = 3
"""Frames that must agree on a turn. One frame with an upright face is enough against it."""


@dataclass(frozen=True, slots=True)
class TurnState:
    """The time of the first frame, and the quarter turns; None while unknown."""

    first_us: int | None = None
    quarters: int | None = None


class TurnFinder:
    """Push the first frames of a recording until `quarters` is known."""

    def __init__(
        self, finder: FaceFinder, pixel_aspect: float = 1.0, state: TurnState | None = None
    ) -> None:
        """`state` is what is known from frames before."""
        self._finder, self._aspect = finder, pixel_aspect
        self._first_us = None if state is None else state.first_us
        self.quarters = None if state is None else state.quarters
        """Quarter turns counterclockwise that make the recording upright; None while undecided."""

    @property
    def state(self) -> TurnState:
        """What is known, for another `TurnFinder` to go on with."""
        return TurnState(self._first_us, self.quarters)

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
            (found,) = self._finder.find([turned])
            faces = [face for face in found if face.is_usable(*turned.shape[:2])]
            leans = [_lean(face) + 90.0 * quarters for face in faces]
            if quarters == 0 and any(
                face.certainty is Certainty.CLEAR and abs(lean) <= 90.0 - _MAX_LEAN
                for face, lean in zip(faces, leans, strict=True)
            ):
                return 0  # a weak one may also be a face upside down, seen as if it were upright
            turns = [
                round(lean / 90.0) % 4
                for face, lean in zip(faces, leans, strict=True)
                if face.certainty is Certainty.CLEAR
                and abs(math.remainder(lean, 90.0)) <= _MAX_LEAN
            ]
            if turns:
                return 0 if 0 in turns else turns[0]
        return None


def _lean(face: Face) -> float:
    """Degrees by which a face leans clockwise, in [-180, 180]."""
    right_eye, left_eye = face.landmarks[:2].tolist()
    return math.degrees(math.atan2(left_eye[1] - right_eye[1], left_eye[0] - right_eye[0]))
