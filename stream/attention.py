"""Attention by head pose: where the head points, as AFFDEX defines it.

A face that points within 15 degrees of the camera's axis is fully attentive, beyond 35 not at all. A
camera above the screen makes everyone seem to look down: a baseline, the median pose of the first
seconds, is then taken off.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from affectstream.stream.faces.pose import Pose

ATTENTIVE, AWAY, ABSENT = "attentive", "away", "absent"
ABSENT_AFTER_US = 1_000_000
_ZERO_DEG, _SPAN_DEG = 35.0, 20.0
_ENTER, _LEAVE = 0.6, 0.4


@dataclass(frozen=True, slots=True)
class Attention:
    """One hop's verdict: `score` in [0, 1] and angles in degrees are None while absent."""

    state: str
    score: float | None
    yaw: float | None
    pitch: float | None
    roll: float | None


def score_of(angle_deg: float) -> float:
    """clip((35 - a) / 20, 0, 1) for an angle of `angle_deg` off the axis."""
    return min(1.0, max(0.0, (_ZERO_DEG - angle_deg) / _SPAN_DEG))


class AttentionMeter:
    """The attention of one track, hop after hop."""

    def __init__(self, baseline_us: int = 0) -> None:
        self._baseline_us = baseline_us
        self._first_us: int | None = None
        self._early: list[tuple[float, float]] = []
        self._state = ABSENT
        self._last: Attention | None = None
        self._seen_us: int | None = None

    def push(self, poses: Sequence[tuple[int, Pose]], end_us: int) -> Attention:
        """The verdict for the hop that ends at `end_us`, from the (time, pose) seen in it."""
        for t_us, pose in poses:
            self._learn(t_us, pose)
        if poses:
            self._seen_us = poses[-1][0]
            yaw, pitch, roll = (
                median(getattr(pose, name) for _, pose in poses)
                for name in ("yaw", "pitch", "roll")
            )
            return self._judge(yaw, pitch, roll)
        if self._last is None or self._seen_us is None or end_us - self._seen_us > ABSENT_AFTER_US:
            self._state = ABSENT
            return Attention(ABSENT, None, None, None, None)
        return self._last

    def _learn(self, t_us: int, pose: Pose) -> None:
        if self._first_us is None:
            self._first_us = t_us
        if t_us - self._first_us < self._baseline_us:
            self._early.append((pose.yaw, pose.pitch))

    def _judge(self, yaw: float, pitch: float, roll: float) -> Attention:
        yaw0 = median(y for y, _ in self._early) if self._early else 0.0
        pitch0 = median(p for _, p in self._early) if self._early else 0.0
        across, up = math.radians(yaw - yaw0), math.radians(pitch - pitch0)
        angle = math.degrees(math.acos(math.cos(across) * math.cos(up)))
        score = score_of(angle)
        if score >= _ENTER:
            self._state = ATTENTIVE
        elif score < _LEAVE or self._state == ABSENT:
            self._state = AWAY if score < (_ENTER + _LEAVE) / 2 else ATTENTIVE
        self._last = Attention(self._state, score, yaw, pitch, roll)
        return self._last
