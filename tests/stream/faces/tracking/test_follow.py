"""Faces over time: a steady pose without lag, gaze, and the opening of eyes and mouth."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectstream.engines.landmarks import LANDMARK_INDEX, LANDMARKS
from affectstream.stream.faces.face import Face, FrameObservation
from affectstream.stream.faces.measures.eyes import SHARE, eye_openness, gaze_in_frame
from affectstream.stream.faces.measures.geometry import Geometry
from affectstream.stream.faces.measures.pose import Pose
from affectstream.stream.faces.measures.quality import Quality
from affectstream.stream.faces.tracking.follow import Follower
from affectstream.stream.faces.tracking.one_euro import OneEuroFilter

STEP_US = 125_000
LOOKS = np.random.default_rng(1).normal(size=228).astype(np.float32)


def geometry(yaw=0.0, pitch=0.0, roll=0.0, *, eyes=0.3, mouth=0.1, gaze=(0.0, 0.0), side=100.0):
    points = np.full((len(LANDMARKS), 2), 100.0, np.float32)
    for name, x in (("right", -1), ("left", 1)):
        for corner in ("outer", "inner"):
            points[LANDMARK_INDEX[f"{name}_eye_{corner}"]] = (100 + x * 0.2 * side, 90)
    return Geometry(points, Pose(yaw, pitch, roll), eyes, eyes, mouth, gaze)


def face(measured):
    box = (60.0, 60.0, 140.0, 140.0)
    return Face(box, measured.five_points, 0.95, Quality(1, 1, 1), (), LOOKS, measured)


def follow(measured):
    """The followed face of each frame, a grid step apart; None for a frame without a face."""
    follower, out = Follower(), []
    for number, each in enumerate(measured):
        faces = () if each is None else (face(each),)
        found = follower.push(FrameObservation(number * STEP_US, (640, 360), faces))
        out.append(found[0][1] if found else None)
    return out


def test_a_still_head_is_steady():
    noise = np.random.default_rng(0).normal(0, 0.5, (400, 3))
    poses = [f.pose for f in follow([geometry(*row) for row in noise])][20:]
    for axis in ("yaw", "pitch", "roll"):
        assert np.std([getattr(pose, axis) for pose in poses]) < 0.35


def test_a_turn_is_followed_without_lag():
    yaws = [0.0] * 16 + [0.0, 12.5, 25.0, 37.5, 40.0] + [40.0] * 4  # 100 degrees a second
    found = [f.pose.yaw for f in follow([geometry(yaw) for yaw in yaws])]
    assert found[15] == pytest.approx(0.0)
    assert found[20] > 32  # a step after the turn ended
    assert found[-1] == pytest.approx(40, abs=2)


@pytest.mark.parametrize("axis", ["yaw", "pitch", "roll"])
@pytest.mark.parametrize("speed", [20.0, 100.0])
def test_a_head_that_leans_or_nods_is_where_it_was_a_moment_ago(axis, speed):
    angles = [0.0] * 8 + [speed * step * STEP_US / 1e6 for step in range(8)]
    found = follow([geometry(**{axis: min(angle, 60.0)}) for angle in angles])
    moving = [n for n, angle in enumerate(angles) if 0 < angle < 60]
    for n in moving:
        assert angles[n] - getattr(found[n].pose, axis) < 0.06 * speed, n


def test_a_roll_past_upside_down_goes_the_shorter_way():
    rolls = [170.0, 175.0, 180.0, -175.0, -170.0]
    found = [f.pose.roll for f in follow([geometry(roll=roll) for roll in rolls])]
    assert all(abs(roll) > 165 for roll in found)


def test_a_face_that_returns_starts_anew():
    frames = [geometry(40)] * 8 + [None] * 12 + [geometry(-30)] * 4
    found = follow(frames)
    back = next(f for f in found[20:] if f is not None)
    assert back.pose.yaw == pytest.approx(-30)


@given(
    st.lists(st.floats(-89, 89), min_size=1, max_size=40),
    st.lists(st.integers(0, 2_000_000), min_size=40, max_size=40),
)
def test_the_filter_stays_within_what_it_saw(values, steps):
    steady = OneEuroFilter(0.3, 0.03)
    for n, value in enumerate(values):
        out = steady.push(value, steps[n] / 1e6)
        assert min(values[: n + 1]) - 1e-6 <= out <= max(values[: n + 1]) + 1e-6


def test_gaze_is_head_and_eyes_together():
    (found,) = follow([geometry(10, -5, gaze=(8, 3))])
    assert found.gaze == pytest.approx((10 + SHARE * 8, -5 + SHARE * 3))
    assert found.pose.yaw == 10


def test_eyes_count_less_where_they_are_hardly_seen():
    assert gaze_in_frame(geometry(60, gaze=(-40, 0))) == (60, 0)
    assert gaze_in_frame(geometry(0, gaze=(-40, 0), side=20)) == (0, 0)
    assert 10 < gaze_in_frame(geometry(37.5, gaze=(-20, 0)))[0] < 37.5


def test_closed_eyes_look_nowhere():
    found = follow([geometry(5)] * 8 + [geometry(5, eyes=0.08)] * 2)
    assert found[7].eyes_open > 0.85
    assert found[7].gaze is not None
    assert (found[8].eyes_open, found[8].gaze) == (0.0, None)


def test_narrow_eyes_become_normal_for_a_person():
    found = follow([geometry(eyes=0.22)] * 400)
    assert found[0].eyes_open < 0.7
    assert found[-1].eyes_open > 0.9


def test_the_eye_that_is_seen_better_counts_more():
    both = replace(geometry(), right_eye=0.3, left_eye=0.1)
    assert eye_openness(both) == pytest.approx(0.2)
    # The head points to the right of the picture: the right eye, on the left, is nearer.
    assert eye_openness(replace(both, pose=Pose(40, 0, 0))) > 0.2
    assert eye_openness(replace(both, pose=Pose(-40, 0, 0))) < 0.12


def test_the_mouth_is_open_as_measured():
    (found,) = follow([geometry(mouth=0.4)])
    assert found.mouth_open == pytest.approx(0.4)
    assert follow([geometry(mouth=1.7)])[0].mouth_open == 1.0


def test_a_bundle_without_geometry_knows_the_pose_only():
    points = np.array([[85, 90], [115, 90], [100, 105], [88, 120], [112, 120]], np.float32)
    plain = Face((60.0, 60.0, 140.0, 140.0), points, 0.95, Quality(1, 1, 1), (), LOOKS)
    ((_, found),) = Follower().push(FrameObservation(0, (640, 360), (plain,)))
    assert found.pose is not None
    assert (found.gaze, found.eyes_open, found.mouth_open) == (None, None, None)
