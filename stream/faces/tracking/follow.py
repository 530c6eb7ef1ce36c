"""Following faces over time: track numbers, steady poses, and where eyes look.

What one frame shows of a face does not depend on other frames; what is added here does.
"""

from __future__ import annotations

from dataclasses import replace

from affectstream.stream.faces.face import Face, FrameObservation
from affectstream.stream.faces.measures.pose import Pose, solve_pose
from affectstream.stream.faces.tracking.steady import SteadyFace
from affectstream.stream.faces.tracking.track import Tracker

_FORGET_US = 1_000_000
"""A face that was away for longer starts anew: its former pose says nothing about the present one."""


class Follower:
    """Push the observations of one source in their order; get the faces of each by track.

    The result depends only on what was pushed.
    """

    def __init__(self, focal_px: float | None = None) -> None:
        """`focal_px` is the focal length of the recording in pixels; None: the frame's width. Poses that an
        engine measures do not need it."""
        self._focal_px = focal_px
        self._tracker = Tracker()
        self._poses: dict[int, Pose] = {}
        """Of the frame before, from five landmarks."""
        self._steady: dict[int, SteadyFace] = {}

    @property
    def count(self) -> int:
        """Tracks so far; they are numbered from 1."""
        return self._tracker.count

    def push(self, observation: FrameObservation) -> list[tuple[int, Face]]:
        """The faces of a frame by track, in order of the numbers, with pose, gaze, eyes and mouth."""
        now_us = observation.pts_us
        self._steady = {
            n: face for n, face in self._steady.items() if now_us - face.seen_us <= _FORGET_US
        }
        tracked = [
            (number, self._followed(number, face, observation))
            for number, face in self._tracker.push(observation)
        ]
        self._poses = {number: face.pose for number, face in tracked if face.pose is not None}
        return tracked

    def _followed(self, number: int, face: Face, observation: FrameObservation) -> Face:
        if face.geometry is not None:
            steady = self._steady.setdefault(number, SteadyFace())
            return steady.push(face, face.geometry, observation.pts_us)
        focal = None if self._focal_px is None else self._focal_px * observation.scale
        before = self._poses.get(number)
        return replace(face, pose=solve_pose(face.landmarks, observation.frame_size, before, focal))
