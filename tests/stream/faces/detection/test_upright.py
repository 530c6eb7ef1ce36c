"""Faces that lie on their side or are upside down: found, and measured the right way up."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectstream.stream.faces.detection.detect import Detector, DetectorSpec
from affectstream.stream.faces.detection.find import FaceFinder
from affectstream.stream.faces.detection.upright import find_at_any_angle
from affectstream.stream.faces.face import Certainty, Face
from affectstream.stream.faces.measures.geometry import GeometryEngine
from affectstream.stream.faces.measures.pose import Pose


@pytest.fixture
def finder(recognizer):
    return FaceFinder.from_bundle(recognizer.bundle)


@pytest.fixture
def scene(portrait):
    """The portrait in a picture of 16:9."""
    picture = np.full((360, 640, 3), 128, np.uint8)
    picture[30:330, 170:470] = cv2.resize(portrait, (300, 300), interpolation=cv2.INTER_AREA)
    return picture


def clockwise(points, turns, height, width):
    """Points of a picture of that size, edges of pixels being whole numbers, in the turned picture."""
    for _ in range(turns):
        points = np.stack([height - points[:, 1], points[:, 0]], 1)
        height, width = width, height
    return points


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("dark", [False, True])
def test_a_turned_face_is_measured_as_the_upright_one(finder, scene, turns, dark):
    if dark:
        scene //= 3
    ((upright, *_),) = finder.find([scene])
    ((found, *_),) = finder.find([np.rot90(scene, -turns).copy()])
    assert (upright.turn, found.turn) == (0, turns)
    assert found.certainty is Certainty.CLEAR
    expected = clockwise(upright.landmarks, turns, *scene.shape[:2])
    np.testing.assert_allclose(found.landmarks, expected, atol=4)
    pose, own = upright.geometry.pose.turned(turns), found.geometry.pose
    assert own.yaw == pytest.approx(pose.yaw, abs=6)
    assert own.pitch == pytest.approx(pose.pitch, abs=6)
    assert abs(np.remainder(own.roll - pose.roll + 180, 360) - 180) < 4
    assert found.geometry.right_eye == pytest.approx(upright.geometry.right_eye, abs=0.05)


def test_somebody_who_lies_beside_somebody_upright(finder, portrait):
    small = cv2.resize(portrait, (300, 300), interpolation=cv2.INTER_AREA)
    (found,) = finder.find([np.hstack([small, np.rot90(small)])])
    assert sorted((face.turn, face.center[0] > 300) for face in found) == [(0, False), (3, True)]


def test_a_leaning_head_stays_as_it_is(finder, scene):
    middle = (320.0, 180.0)
    for angle in (-30, -15, 15, 30):
        turn = cv2.getRotationMatrix2D(middle, -angle, 1.0)
        leaning = cv2.warpAffine(scene, turn, (640, 360), borderMode=cv2.BORDER_REPLICATE)
        ((found, *_),) = finder.find([leaning])
        assert found.turn == 0
        assert found.geometry.pose.roll == pytest.approx(angle, abs=8)


def test_pictures_of_one_call_do_not_matter_to_each_other(finder, scene):
    lying = np.rot90(scene).copy()
    alone = [finder.find([one])[0] for one in (scene, lying, scene)]
    together = finder.find([scene, lying, scene])
    for one, other in zip(alone, together, strict=True):
        assert [face.turn for face in one] == [face.turn for face in other]
        np.testing.assert_allclose(one[0].landmarks, other[0].landmarks, atol=0.01)


class Counting:
    """A detector that counts the pictures it is shown, and finds the same faces in each."""

    def __init__(self, spec, *faces):
        self.spec, self.faces, self.shown = spec, faces, 0

    def detect(self, pictures, least=None):
        self.shown += len(pictures)
        return [list(self.faces) for _ in pictures]


def face(score, certainty):
    points = np.array([[20, 20], [40, 20], [30, 30], [22, 40], [38, 40]], np.float32)
    return Face((12.0, 8.0, 48.0, 52.0), points, score, certainty=certainty)


@pytest.mark.parametrize(
    ("upright", "found", "shown"),
    [
        (0.0, [], 0),
        (0.9, [], 3),
        (0.9, [face(0.95, Certainty.CLEAR)], 0),
        (0.9, [face(0.87, Certainty.CLEAR)], 4),
        (0.9, [face(0.95, Certainty.CLEAR), face(0.6, Certainty.WEAK)], 4),
        (0.0, [face(0.6, Certainty.WEAK)], 0),
    ],
)
def test_only_what_may_lie_is_looked_at_again(upright, found, shown):
    detector = Counting(DetectorSpec(size=64, upright=upright), *found)
    assert find_at_any_angle(detector, [np.zeros((64, 64, 3), np.uint8)]) == [found]
    assert detector.shown == 1 + shown


def test_a_bundle_that_does_not_say_it_looks_once(recognizer, scene):
    engine = recognizer.bundle.engines["face_detector"]
    spec = DetectorSpec.of(recognizer.bundle.manifest.engines.face_detector)
    assert spec.upright > spec.clear
    once = Detector(engine, replace(spec, upright=0.0, leaning=0.0))
    finder = FaceFinder(once, GeometryEngine.from_bundle(recognizer.bundle))
    lying = np.rot90(scene).copy()
    assert {face.turn for face in finder.find([lying])[0]} <= {0}


ANGLES = st.floats(-80, 80)


@given(ANGLES, ANGLES, st.floats(-179, 180), st.integers(0, 3))
def test_a_pose_turns_around(yaw, pitch, roll, quarters):
    pose = Pose(yaw, pitch, roll)
    turned = pose.turned(quarters)
    assert -180 < turned.roll <= 180
    assert turned.angle == pytest.approx(pose.angle, abs=1e-6)
    np.testing.assert_allclose(
        [turned.turned(4 - quarters).yaw, turned.turned(4 - quarters).pitch],
        [yaw, pitch],
        atol=1e-6,
    )


def test_a_quarter_clockwise_turns_right_into_down():
    assert Pose(20.0, 0.0, 10.0).turned(1).pitch == pytest.approx(-20.0)
    assert Pose(0.0, 20.0, 10.0).turned(1).yaw == pytest.approx(20.0)
    assert Pose(0.0, 0.0, 10.0).turned(1).roll == pytest.approx(100.0)
    assert Pose(0.0, 0.0, 100.0).turned(1).roll == pytest.approx(-170.0)
