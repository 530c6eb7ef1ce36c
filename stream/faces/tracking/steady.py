"""A face over the time of its track: a steady pose, where the eyes look, and how open eyes and mouth are."""

from __future__ import annotations

import math
from dataclasses import replace

from affectstream.stream.faces.face import Face
from affectstream.stream.faces.measures.eyes import (
    NORMAL_OPENNESS,
    eye_offset,
    eye_openness,
    open_share,
)
from affectstream.stream.faces.measures.geometry import Geometry
from affectstream.stream.faces.measures.pose import Pose
from affectstream.stream.faces.tracking.blinks import CLOSE_BELOW
from affectstream.stream.faces.tracking.one_euro import OneEuroFilter

_POSE_CUTOFF_HZ, _POSE_BETA = 1.0, 0.1
"""A still head that is measured 8 times a second with an error of 0.3 degrees then varies by 0.17 degrees. A
turn of 100 degrees a second is followed 0.01 s later, one of 20 degrees a second 0.05 s later."""
_EYES_CUTOFF_HZ, _EYES_BETA = 2.0, 0.2
"""Eyes jump, so they are smoothed less."""
_NORMAL_RANGE = 0.22, 0.38
_NORMAL_S, _NORMAL_SHARE = 10.0, 0.8
"""The normal openness of a person's eyes is followed with this time constant, as an expectile: values above
it weigh four times as much as those below."""


class SteadyFace:
    """The measurements of one track over time, from a face's geometry in each frame."""

    def __init__(self) -> None:
        self._pose = [OneEuroFilter(_POSE_CUTOFF_HZ, _POSE_BETA) for _ in range(3)]
        self._eyes = [OneEuroFilter(_EYES_CUTOFF_HZ, _EYES_BETA) for _ in range(2)]
        self._roll: float | None = None
        self._normal = NORMAL_OPENNESS
        self._seen_us: int | None = None

    @property
    def seen_us(self) -> int:
        """Time of the newest face, 0 before any."""
        return self._seen_us or 0

    def push(self, face: Face, geometry: Geometry, t_us: int) -> Face:
        """`face`, whose geometry is given, with pose, gaze and the opening of eyes and mouth."""
        step_s = 0.0 if self._seen_us is None else (t_us - self._seen_us) / 1e6
        self._seen_us = t_us
        pose = self._steady_pose(geometry.pose, step_s)
        eyes_open = self._eyes_open(geometry, step_s)
        gaze = None
        if eyes_open >= CLOSE_BELOW:  # closed eyes look nowhere
            yaw, pitch = (
                steady.push(angle, step_s)
                for steady, angle in zip(self._eyes, eye_offset(geometry), strict=True)
            )
            gaze = _bounded(pose.yaw + yaw), _bounded(pose.pitch + pitch)
        mouth_open = min(1.0, max(0.0, geometry.mouth))
        return replace(face, pose=pose, gaze=gaze, eyes_open=eyes_open, mouth_open=mouth_open)

    def _steady_pose(self, pose: Pose, step_s: float) -> Pose:
        roll = pose.roll
        if self._roll is not None:  # the shorter way around
            roll = self._roll + math.remainder(roll - self._roll, 360.0)
        yaw, pitch, self._roll = (
            steady.push(angle, step_s)
            for steady, angle in zip(self._pose, (pose.yaw, pose.pitch, roll), strict=True)
        )
        return Pose(_bounded(yaw), _bounded(pitch), math.remainder(self._roll, 360.0))

    def _eyes_open(self, geometry: Geometry, step_s: float) -> float:
        """The opening of the eyes as a share of this person's normal one, in [0, 1]."""
        openness = eye_openness(geometry)
        share = open_share(openness, self._normal)
        if share >= CLOSE_BELOW:
            error = openness - self._normal
            side = _NORMAL_SHARE if error > 0 else 1 - _NORMAL_SHARE
            moved = self._normal + min(1.0, 2 * side * step_s / _NORMAL_S) * error
            self._normal = min(_NORMAL_RANGE[1], max(_NORMAL_RANGE[0], moved))
        return share


def _bounded(angle: float) -> float:
    return min(90.0, max(-90.0, angle))
