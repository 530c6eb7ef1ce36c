"""The geometry of faces: where it is measured, and the crop that follows from it."""

import math

import cv2
import numpy as np
import pytest

from affectstream.engines.landmarks import LANDMARK_INDEX, LANDMARKS, MEASURES
from affectstream.engines.manifest import GeometryPart
from affectstream.stream.faces.box import square_around
from affectstream.stream.faces.crop import TEMPLATE, align_face, cut_square
from affectstream.stream.faces.detection.detect import DetectorSpec
from affectstream.stream.faces.detection.find import FaceFinder
from affectstream.stream.faces.face import Face
from affectstream.stream.faces.measures.geometry import GeometryEngine
from affectstream.stream.media.partial_picture import Part

SIZE = 64
COLORS = {
    "right_eye_outer": (255, 0, 0),
    "left_eye_outer": (0, 255, 0),
    "nose_tip": (0, 0, 255),
    "mouth_right": (255, 255, 0),
    "mouth_left": (0, 255, 255),
}
"""A face of colored dots. Both corners of an eye lie at its outer dot."""
PLACES = np.array([[-20, -18], [20, -18], [0, 4], [-16, 24], [16, 24]], float)
PART = GeometryPart("face_geometry.onnx", "0" * 64, input_size=SIZE)


class DotReader:
    """A geometry engine that finds the dots of `COLORS`."""

    def __init__(self):
        self.batches = []

    def run(self, feeds):
        pixels = feeds["pixels"].astype(int)
        self.batches.append(len(pixels))
        landmarks = np.full((len(pixels), len(LANDMARKS), 2), 0.5, np.float32)
        for row, picture in enumerate(pixels):
            for name, color in COLORS.items():
                ys, xs = np.nonzero(np.abs(picture - color).sum(-1) < 120)
                if len(xs):
                    point = (xs.mean() + 0.5) / SIZE, (ys.mean() + 0.5) / SIZE
                    landmarks[row, LANDMARK_INDEX[name]] = point
                    inner = name.replace("outer", "inner")
                    landmarks[row, LANDMARK_INDEX[inner]] = point
        measures = np.zeros((len(pixels), len(MEASURES)), np.float32)
        return {"landmarks": landmarks, "measures": measures}


def face_picture(degrees, center=(160.0, 120.0), shape=(240, 320)):
    """A picture of a face of dots that leans clockwise, and the places of the dots."""
    picture = np.full((*shape, 3), 127, np.uint8)
    turn = math.radians(degrees)
    matrix = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    points = PLACES @ matrix.T + center
    for (x, y), color in zip(points, COLORS.values(), strict=True):
        cv2.circle(picture, (round(x), round(y)), 5, color, -1)
    return picture, points


def box_at(x, y, side=80.0):
    return (x - side / 2, y - side / 2, x + side / 2, y + side / 2)


@pytest.mark.parametrize("degrees", [0, 30, -75, 90, 180, 270])
def test_landmarks_are_found_where_they_are_and_the_crop_is_upright(degrees):
    picture, points = face_picture(degrees)
    (geometry,) = GeometryEngine(DotReader(), PART).measure([(Part(picture), box_at(160, 120), 0)])
    assert np.abs(geometry.five_points - points).max() < 1.0
    crop = align_face(picture, geometry.five_points, np.array(TEMPLATE, np.float32), 48)
    for (x, y), color in zip(TEMPLATE, COLORS.values(), strict=True):
        assert np.abs(crop[round(y), round(x)].astype(int) - color).max() < 60


def test_a_square_keeps_its_place_at_every_size_and_beyond_the_edge():
    rows, columns = np.mgrid[0:200, 0:200]
    ramp = np.stack([columns, rows, columns], -1).astype(np.uint8)
    for square in ((40.0, 60.0, 72.0, 92.0), (10.0, 10.0, 138.0, 138.0), (50.5, 50.5, 82.5, 82.5)):
        cut = cut_square(ramp, square, 32).astype(float)
        step = (square[2] - square[0]) / 32
        centers = square[0] + (np.arange(32) + 0.5) * step - 0.5
        assert np.abs(cut[16, :, 0] - centers).max() < 1.0
    beyond = cut_square(ramp, (-50.0, -50.0, 50.0, 50.0), 20)
    assert beyond[0, 0].max() <= 2  # the edge is repeated, averaged over five pixels
    assert square_around((10, 20, 30, 60), 1.5) == (-10, 10, 50, 70)


def finder(faces, engine, part=PART):
    """A finder whose detector finds the same `faces` in each picture."""

    class Detector:
        spec = DetectorSpec()

        def detect(self, pictures, least=None):
            return [list(faces) for _ in pictures]

    return FaceFinder(Detector(), GeometryEngine(engine, part))


def test_one_call_measures_all_faces_of_a_batch():
    picture, _ = face_picture(0)
    points = np.array([[140, 100], [180, 100], [160, 120], [145, 140], [175, 140]], np.float32)
    faces = [Face(box_at(160, 120), points, 0.9), Face(box_at(100, 100), points, 0.8)]
    engine = DotReader()
    found = finder(faces, engine).find([picture] * 3)
    assert engine.batches == [8]  # six faces, padded
    assert [len(each) for each in found] == [2, 2, 2]
    assert all(face.geometry is not None for each in found for face in each)
    first = found[0][0]
    assert np.array_equal(first.landmarks, first.geometry.five_points)


def test_a_detection_that_is_not_usable_is_not_measured():
    picture, _ = face_picture(0)
    engine = DotReader()
    broken = Face(box_at(160, 120), np.full((5, 2), np.nan, np.float32), 0.9)
    (found,) = finder([broken], engine).find([picture])
    assert engine.batches == []
    assert found == [broken]


def test_numbers_that_are_not_finite_are_no_geometry():
    class Broken(DotReader):
        def run(self, feeds):
            outputs = super().run(feeds)
            outputs["measures"][:, 0] = np.nan
            return outputs

    picture, points = face_picture(0)
    face = Face(box_at(160, 120), points.astype(np.float32), 0.9)
    ((found,),) = finder([face], Broken()).find([picture])
    assert found.geometry is None
    assert found.landmarks is face.landmarks
