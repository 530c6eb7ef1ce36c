"""Attention of one track: from head pose as AFFDEX defines it, or from a bundle's attention head.

By head pose, a face within 15 degrees of the camera's axis is fully attentive, and beyond 35 degrees not
at all. With a camera above the screen everyone seems to look down; the baseline, which is the median
pose of the first seconds, corrects for that. A head predicts a probability instead. Both scores lead to
states by the same thresholds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from affectstream.stream.events import AttentionMethod, AttentionState
from affectstream.stream.faces.pose import Pose
from affectstream.stream.windowing.windows import ABSENT_AFTER_US

_ZERO_DEG, _SPAN_DEG = 35.0, 20.0
_ENTER, _LEAVE = 0.6, 0.4


@dataclass(frozen=True, slots=True)
class AttentionReading:
    """The attention of one track in one hop.

    `score` is in [0, 1], the angles are in degrees with the signs of `Pose`; all are None while absent.
    A reading of the ``model`` has angles only where a face was detected.
    """

    state: AttentionState
    score: float | None
    yaw: float | None
    pitch: float | None
    roll: float | None
    method: AttentionMethod = "head_pose"

    @property
    def state_score(self) -> float:
        """The score of `state` itself, in [0, 1]: `score` where attentive, 1 - `score` where away, and 1
        while absent."""
        if self.score is None:
            return 1.0
        return 1.0 - self.score if self.state == "away" else self.score


def angle_score(angle_deg: float) -> float:
    """clip((35 - a) / 20, 0, 1) for an angle `angle_deg` from the camera's axis."""
    return min(1.0, max(0.0, (_ZERO_DEG - angle_deg) / _SPAN_DEG))


class AttentionMeter:
    """Measures the attention of one track, hop after hop."""

    def __init__(self, baseline_us: int = 0) -> None:
        self._baseline_us = baseline_us
        self._first_us: int | None = None
        self._baseline: list[tuple[float, float]] = []
        self._state: AttentionState = "absent"
        self._last: AttentionReading | None = None
        self._seen_us: int | None = None

    def push(self, poses: Sequence[tuple[int, Pose]], end_us: int) -> AttentionReading:
        """The attention in the hop that ends at `end_us`, from its (time, pose) pairs."""
        for t_us, pose in poses:
            self._add_to_baseline(t_us, pose)
        if poses:
            self._seen_us = poses[-1][0]
            yaw, pitch, roll = _median_angles(poses)
            self._last = self._read(self._pose_score(yaw, pitch), (yaw, pitch, roll), "head_pose")
        return self._last_or_absent(end_us, "head_pose")

    def push_score(
        self, score: float | None, poses: Sequence[tuple[int, Pose]], end_us: int
    ) -> AttentionReading:
        """The same from the `score` of a bundle's head, None where the head had no input."""
        if score is not None:
            self._seen_us = end_us
            angles = _median_angles(poses) if poses else (None, None, None)
            self._last = self._read(score, angles, "model")
        return self._last_or_absent(end_us, "model")

    def _last_or_absent(self, end_us: int, method: AttentionMethod) -> AttentionReading:
        if self._last is None or self._seen_us is None or end_us - self._seen_us > ABSENT_AFTER_US:
            self._state = "absent"
            return AttentionReading("absent", None, None, None, None, method)
        return self._last

    def _add_to_baseline(self, t_us: int, pose: Pose) -> None:
        if self._first_us is None:
            self._first_us = t_us
        if t_us - self._first_us < self._baseline_us:
            self._baseline.append((pose.yaw, pose.pitch))

    def _pose_score(self, yaw: float, pitch: float) -> float:
        yaw0 = median(y for y, _ in self._baseline) if self._baseline else 0.0
        pitch0 = median(p for _, p in self._baseline) if self._baseline else 0.0
        across, up = math.radians(yaw - yaw0), math.radians(pitch - pitch0)
        return angle_score(math.degrees(math.acos(math.cos(across) * math.cos(up))))

    def _read(
        self,
        score: float,
        angles: tuple[float | None, float | None, float | None],
        method: AttentionMethod,
    ) -> AttentionReading:
        """Between the two thresholds the last state stays."""
        if score >= _ENTER:
            self._state = "attentive"
        elif score < _LEAVE or self._state == "absent":
            self._state = "away" if score < (_ENTER + _LEAVE) / 2 else "attentive"
        return AttentionReading(self._state, score, *angles, method)


def _median_angles(poses: Sequence[tuple[int, Pose]]) -> tuple[float, float, float]:
    """Median yaw, pitch and roll."""
    return (
        median(pose.yaw for _, pose in poses),
        median(pose.pitch for _, pose in poses),
        median(pose.roll for _, pose in poses),
    )
