"""Heads that lean too far to be found at once."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from affectstream.stream.faces.crop import cut_leaning, cut_square
from affectstream.stream.faces.detection.detect import Detector, DetectorSpec
from affectstream.stream.faces.detection.find import FaceFinder
from affectstream.stream.faces.detection.leaning import find_leaning
from affectstream.stream.faces.face import Certainty, Face

SIDE = 130
"""Of the portrait in a picture of 16:9."""


@pytest.fixture
def finder(recognizer):
    return FaceFinder.from_bundle(recognizer.bundle)


@pytest.fixture
def upright_only(recognizer):
    """The same without a second look at what leans."""
    spec = DetectorSpec.of(recognizer.bundle.manifest.engines.face_detector)
    engine = recognizer.bundle.engines["face_detector"]
    return FaceFinder(Detector(engine, replace(spec, leaning=0.0)))


def scene(portrait, *angles):
    """The portrait in the middle of each part of a picture, leaning clockwise by the angle of the part."""
    small = cv2.resize(portrait, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    parts = []
    for angle in angles:
        part = np.full((360, 640 // len(angles), 3), 128, np.uint8)
        turn = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), -angle, 1.0)
        turn[:, 2] += [part.shape[1] / 2 - SIDE / 2, 180 - SIDE / 2]
        size = part.shape[1], 360
        parts.append(cv2.warpAffine(small, turn, size, borderValue=(128, 128, 128)))
    return np.hstack(parts)


@pytest.mark.parametrize("angle", [-60, -45, -35, 35, 45, 60])
def test_a_head_that_leans_is_found_and_measured(finder, upright_only, portrait, angle):
    picture = scene(portrait, angle)
    ((upright,),) = finder.find([scene(portrait, 0)])
    assert upright_only.find([picture]) == [[]]
    ((found,),) = finder.find([picture])
    assert found.turn == {60: 1, -60: 3}.get(angle, 0)
    middle, own = np.array([320, 180]), found.geometry.pose
    assert own.roll - upright.geometry.pose.roll == pytest.approx(angle, abs=8)
    radians = np.radians(angle)
    turn = np.array([[np.cos(radians), np.sin(radians)], [-np.sin(radians), np.cos(radians)]])
    expected = (upright.landmarks - middle) @ turn + middle
    np.testing.assert_allclose(found.landmarks, expected, atol=4)


def test_somebody_who_leans_beside_somebody_upright(finder, upright_only, portrait):
    picture = scene(portrait, 0, 45)
    assert [face.center[0] > 320 for face in upright_only.find([picture])[0]] == [False]
    assert sorted(face.center[0] > 320 for face in finder.find([picture])[0]) == [False, True]


def test_pictures_of_one_call_do_not_matter_to_each_other(finder, portrait):
    pictures = [scene(portrait, angle) for angle in (45, 0, -60)]
    for one, together in zip(pictures, finder.find(pictures), strict=True):
        (alone,) = finder.find([one])
        assert [face.turn for face in alone] == [face.turn for face in together]
        np.testing.assert_allclose(alone[0].landmarks, together[0].landmarks, atol=0.01)


@pytest.mark.parametrize("lean", [0.0, 90.0, 180.0, -90.0])
def test_a_cut_turns_clockwise_around_its_middle(portrait, lean):
    square = (40.0, 30.0, 168.0, 158.0)
    found = cut_leaning(portrait, square, 128, lean)
    straight = np.rot90(cut_square(portrait, square, 128), round(lean / 90))
    assert np.abs(found.astype(int) - straight).mean() < 1.5


class Blank:
    """A detector that finds nothing and keeps the number of pictures that it was shown at a time."""

    def __init__(self, leaning):
        self.spec, self.shown = DetectorSpec(size=64, leaning=leaning), []

    def detect(self, pictures, least=None):
        self.shown.append(len(pictures))
        return [[] for _ in pictures]


def face(score, x, certainty=Certainty.WEAK):
    points = np.array([[20, 20], [40, 20], [30, 30], [22, 40], [38, 40]], np.float32)
    return Face((x, 8.0, x + 20, 30.0), points, score, certainty=certainty)


class Broken(Blank):
    """Finds faces of numbers that are no numbers."""

    def detect(self, pictures, least=None):
        points = np.full((5, 2), np.nan, np.float32)
        return [[Face((0.0, 0.0, 128.0, 128.0), points, 0.95)] for _ in pictures]


def test_what_is_no_face_at_all_is_left_out():
    picture = np.zeros((64, 128, 3), np.uint8)
    wrong = replace(face(0.2, 0), box=(np.inf, 0.0, np.nan, 10.0))
    assert find_leaning(Blank(0.03), picture, [], [wrong]) == []
    assert find_leaning(Broken(0.03), picture, [], [face(0.2, 40)]) == []


@pytest.mark.parametrize(
    ("faces", "proposals", "looks"),
    [
        ([], [], 0),
        ([], [face(0.04, 0)], 2),
        ([], [face(0.02, 0)], 0),
        ([], [face(0.3, 0), face(0.2, 40), face(0.1, 80)], 4),
        ([face(0.9, 0, Certainty.CLEAR)], [face(0.17, 40)], 0),
        ([face(0.9, 0, Certainty.CLEAR)], [face(0.3, 40), face(0.2, 80)], 2),
        ([face(0.9, 0, Certainty.CLEAR)], [face(0.3, 5)], 0),
    ],
)
def test_only_what_may_lean_is_looked_at(faces, proposals, looks):
    detector = Blank(0.03)
    assert find_leaning(detector, np.zeros((64, 128, 3), np.uint8), faces, proposals) == []
    assert sum(detector.shown) == looks
