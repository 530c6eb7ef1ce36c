"""Attention by head pose: where the head points, as AFFDEX defines it; or as a bundle's head tells it.

A face that points within 15 degrees of the camera's axis is fully attentive, beyond 35 not at all. A
camera above the screen makes everyone seem to look down: a baseline, the median pose of the first
seconds, is then taken off. What a head tells is a probability; the states follow from both alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from affectstream.stream.faces.pose import Pose
from affectstream.stream.windowing.windows import ABSENT_AFTER_US

ATTENTIVE, AWAY, ABSENT = "attentive", "away", "absent"
_ZERO_DEG, _SPAN_DEG = 35.0, 20.0
_ENTER, _LEAVE = 0.6, 0.4


@dataclass(frozen=True, slots=True)
class AttentionReading:
    """One hop's verdict: `score` in [0, 1] and angles in degrees are None while absent.

    A verdict of the ``model`` has angles only where a face was seen.
    """

    state: str
    score: float | None
    yaw: float | None
    pitch: float | None
    roll: float | None
    method: str = "head_pose"

    @property
    def strength(self) -> float:
        """The score of `state` itself, in [0, 1]: `score` where attentive, 1 - `score` where away, and 1
        while absent, which is no matter of degree."""
        if self.score is None:
            return 1.0
        return 1.0 - self.score if self.state == AWAY else self.score


def angle_score(angle_deg: float) -> float:
    """clip((35 - a) / 20, 0, 1) for an angle of `angle_deg` off the axis."""
    return min(1.0, max(0.0, (_ZERO_DEG - angle_deg) / _SPAN_DEG))


class AttentionMeter:
    """The attention of one track, hop after hop."""

    def __init__(self, baseline_us: int = 0) -> None:
        self._baseline_us = baseline_us
        self._first_us: int | None = None
        self._early: list[tuple[float, float]] = []
        self._state = ABSENT
        self._last: AttentionReading | None = None
        self._seen_us: int | None = None

    def push(self, poses: Sequence[tuple[int, Pose]], end_us: int) -> AttentionReading:
        """The verdict for the hop that ends at `end_us`, from the (time, pose) seen in it."""
        for t_us, pose in poses:
            self._learn(t_us, pose)
        if poses:
            self._seen_us = poses[-1][0]
            yaw, pitch, roll = _middle(poses)
            self._last = self._judge(self._score(yaw, pitch), (yaw, pitch, roll), "head_pose")
        return self._last_or_absent(end_us, "head_pose")

    def push_score(
        self, score: float | None, poses: Sequence[tuple[int, Pose]], end_us: int
    ) -> AttentionReading:
        """The same where the bundle's head tells the `score`, None where it had nothing to go by."""
        if score is not None:
            self._seen_us = end_us
            angles = _middle(poses) if poses else (None, None, None)
            self._last = self._judge(score, angles, "model")
        return self._last_or_absent(end_us, "model")

    def _last_or_absent(self, end_us: int, method: str) -> AttentionReading:
        if self._last is None or self._seen_us is None or end_us - self._seen_us > ABSENT_AFTER_US:
            self._state = ABSENT
            return AttentionReading(ABSENT, None, None, None, None, method)
        return self._last

    def _learn(self, t_us: int, pose: Pose) -> None:
        if self._first_us is None:
            self._first_us = t_us
        if t_us - self._first_us < self._baseline_us:
            self._early.append((pose.yaw, pose.pitch))

    def _score(self, yaw: float, pitch: float) -> float:
        yaw0 = median(y for y, _ in self._early) if self._early else 0.0
        pitch0 = median(p for _, p in self._early) if self._early else 0.0
        across, up = math.radians(yaw - yaw0), math.radians(pitch - pitch0)
        return angle_score(math.degrees(math.acos(math.cos(across) * math.cos(up))))

    def _judge(
        self, score: float, angles: tuple[float | None, float | None, float | None], method: str
    ) -> AttentionReading:
        if score >= _ENTER:
            self._state = ATTENTIVE
        elif score < _LEAVE or self._state == ABSENT:
            self._state = AWAY if score < (_ENTER + _LEAVE) / 2 else ATTENTIVE
        return AttentionReading(self._state, score, *angles, method)


def _middle(poses: Sequence[tuple[int, Pose]]) -> tuple[float, float, float]:
    """Median yaw, pitch and roll."""
    return (
        median(pose.yaw for _, pose in poses),
        median(pose.pitch for _, pose in poses),
        median(pose.roll for _, pose in poses),
    )
