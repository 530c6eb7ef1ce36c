"""Attention of one track: from where head and eyes point, from the head alone, or from a bundle's head.

``head_pose`` follows AFFDEX: a face within 15 degrees of the camera's axis is fully attentive, and beyond
35 degrees not at all. ``gaze`` applies such a rule, of 7 and 19 degrees, to where the eyes look; eyes that
are closed for longer than a blink are away. With a camera above the screen everyone seems to look down; the
baseline, which is the median direction of the first seconds, corrects for that. A bundle with an attention
head predicts a probability instead (``model``). All scores lead to states by the same thresholds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.labels import AttentionOption
from affectstream.stream.events import AttentionMethod, AttentionState
from affectstream.stream.faces.face import Face
from affectstream.stream.faces.measures.pose import Pose, angle_from_axis
from affectstream.stream.faces.tracking.blinks import BLINK_US, Closure, Eyelids
from affectstream.stream.windowing.windows import ABSENT_AFTER_US

HEAD_FULL_DEG, HEAD_ZERO_DEG = 15.0, 35.0
"""Angle of the head from the camera's axis up to which the score is 1, and from which on it is 0 (AFFDEX)."""
GAZE_FULL_DEG, GAZE_ZERO_DEG = 7.0, 19.0
"""The same for the gaze. Their middle, 13 degrees, separates best who looks at the camera from who looks
elsewhere on the photos that `pocket` learned from (see `faces.eyes`)."""
ENTER, LEAVE = 0.6, 0.4
"""Scores from which on a person is attentive, and below which away; between them the last state stays."""

Angles = tuple[float, float]
"""Yaw and pitch in degrees."""
TimedFace = tuple[int, Face]
"""A face of the track, and its time in microseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionReading:
    """The attention of one track in one hop.

    `score` is in [0, 1], the angles are in degrees with the signs of `Pose`, `eyes_open` and `mouth_open` are
    in [0, 1], `blink_rate` is a minute. All are None while absent, and where they are not known: without a
    face, of what needs the engine `face_geometry`, and the gaze of closed eyes.
    """

    state: AttentionState
    method: AttentionMethod
    score: float | None = None
    yaw: float | None = None
    pitch: float | None = None
    roll: float | None = None
    gaze_yaw: float | None = None
    gaze_pitch: float | None = None
    eyes_open: float | None = None
    mouth_open: float | None = None
    blink_rate: float | None = None

    @property
    def state_score(self) -> float:
        """The score of `state` itself, in [0, 1]: `score` where attentive, 1 - `score` where away, and 1
        while absent."""
        if self.score is None:
            return 1.0
        return 1.0 - self.score if self.state == "away" else self.score


def attention_method(bundle: Bundle, option: AttentionOption) -> AttentionMethod:
    """How `bundle` measures attention: by its own head where it has one, by ``gaze`` only with
    `face_geometry`."""
    if "attention" in bundle.head_outputs:
        return "model"
    return option if bundle.has_geometry else "head_pose"


def angle_score(
    angle_deg: float, full_deg: float = HEAD_FULL_DEG, zero_deg: float = HEAD_ZERO_DEG
) -> float:
    """From 1 up to `full_deg` from the camera's axis to 0 from `zero_deg` on, linear between."""
    return min(1.0, max(0.0, (zero_deg - angle_deg) / (zero_deg - full_deg)))


class AttentionMeter:
    """Measures the attention of one track, hop after hop."""

    def __init__(self, method: AttentionMethod, baseline_us: int = 0) -> None:
        self._method = method
        self._head = _Direction(baseline_us, HEAD_FULL_DEG, HEAD_ZERO_DEG)
        self._gaze = _Direction(baseline_us, GAZE_FULL_DEG, GAZE_ZERO_DEG)
        self._eyelids = Eyelids()
        self._state: AttentionState = "absent"
        self._last: AttentionReading | None = None
        self._seen_us: int | None = None

    def push(
        self, faces: Sequence[TimedFace], end_us: int, score: float | None = None
    ) -> AttentionReading:
        """The attention in the hop that ends at `end_us`, from the faces of the track in it, by time.

        `score` is that of the bundle's head, for the method ``model``; None where the head had no input.
        """
        closures = [
            None if face.eyes_open is None else self._eyelids.push(t_us, face.eyes_open)
            for t_us, face in faces
        ]
        posed = [(t_us, face.pose) for t_us, face in faces if face.pose is not None]
        looking = [
            (t_us, face.gaze)
            for (t_us, face), closure in zip(faces, closures, strict=True)
            if face.gaze is not None and closure is None
        ]
        self._head.learn((t_us, (pose.yaw, pose.pitch)) for t_us, pose in posed)
        self._gaze.learn(looking)
        if self._method == "model":
            if score is not None:
                self._seen_us = end_us
        elif posed:
            self._seen_us = posed[-1][0]
            score = self._angle_score(posed, looking)
            if self._method == "gaze":
                score *= 1.0 - _share_closed(closures, end_us)
        if score is not None:
            self._last = self._read(score, faces, [gaze for _, gaze in looking], end_us)
        if self._last is None or self._seen_us is None or end_us - self._seen_us > ABSENT_AFTER_US:
            self._state = "absent"
            return AttentionReading(state="absent", method=self._method)
        return self._last

    def _angle_score(
        self, posed: Sequence[tuple[int, Pose]], looking: Sequence[tuple[int, Angles]]
    ) -> float:
        """The score of the direction of the eyes, or of the head."""
        if self._method == "gaze" and looking:
            return self._gaze.score([gaze for _, gaze in looking])
        if self._method == "gaze" and self._last is not None and self._last.score is not None:
            return self._last.score  # the eyes blink: they look where they looked
        return self._head.score([(pose.yaw, pose.pitch) for _, pose in posed])

    def _read(
        self,
        score: float,
        faces: Sequence[TimedFace],
        looking: Sequence[Angles],
        end_us: int,
    ) -> AttentionReading:
        """The reading of a hop. Between the two thresholds the last state stays."""
        if score >= ENTER:
            self._state = "attentive"
        elif score < LEAVE or self._state == "absent":
            self._state = "away" if score < (ENTER + LEAVE) / 2 else "attentive"
        poses = [face.pose for _, face in faces if face.pose is not None]
        return AttentionReading(
            state=self._state,
            method=self._method,
            score=score,
            yaw=_median(pose.yaw for pose in poses),
            pitch=_median(pose.pitch for pose in poses),
            roll=_median(pose.roll for pose in poses),
            gaze_yaw=_median(yaw for yaw, _ in looking),
            gaze_pitch=_median(pitch for _, pitch in looking),
            eyes_open=_median(f.eyes_open for _, f in faces if f.eyes_open is not None),
            mouth_open=_median(f.mouth_open for _, f in faces if f.mouth_open is not None),
            blink_rate=self._eyelids.blink_rate(end_us),
        )


class _Direction:
    """Scores directions against the neutral one of their track: the median of its first `baseline_us`, or the
    camera's axis."""

    def __init__(self, baseline_us: int, full_deg: float, zero_deg: float) -> None:
        self._baseline_us, self._full_deg, self._zero_deg = baseline_us, full_deg, zero_deg
        self._first_us: int | None = None
        self._angles: list[Angles] = []
        self._neutral: Angles = (0.0, 0.0)

    def learn(self, angles: Iterable[tuple[int, Angles]]) -> None:
        """Add directions with their times, in order."""
        for t_us, angle in angles:
            if self._first_us is None:
                self._first_us = t_us
            if t_us - self._first_us >= self._baseline_us:
                break
            self._angles.append(angle)
            self._neutral = _median_angles(self._angles)

    def score(self, angles: Sequence[Angles]) -> float:
        """The score of the median of some directions."""
        yaw, pitch = _median_angles(angles)
        angle = angle_from_axis(yaw - self._neutral[0], pitch - self._neutral[1])
        return angle_score(angle, self._full_deg, self._zero_deg)


def _share_closed(closures: Sequence[Closure | None], end_us: int) -> float:
    """Share of the frames of a hop in which the eyes are closed for longer than a blink."""
    closed = [c is not None and c.duration_us(end_us) >= BLINK_US for c in closures]
    return sum(closed) / len(closed)


def _median(values: Iterable[float]) -> float | None:
    known = list(values)
    return median(known) if known else None


def _median_angles(angles: Sequence[Angles]) -> Angles:
    return median(yaw for yaw, _ in angles), median(pitch for _, pitch in angles)
