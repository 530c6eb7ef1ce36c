"""From frames to observations."""

import math

import av
import cv2
import numpy as np
import pytest

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.manifest import FaceCrop
from affectstream.stream.faces.crop import TEMPLATE, align_face, scaled_template
from affectstream.stream.faces.face import Face
from affectstream.stream.faces.measures.appearance import describe_appearance
from affectstream.stream.faces.measures.quality import assess_quality
from affectstream.stream.faces.perceive import Perceiver, is_near_reference
from affectstream.stream.media.types import Frame

POCKET = ((14.7, 17.7), (32.3, 17.7), (23.5, 28.1), (16.7, 36.9), (30.3, 36.9))
"""Where `pocket` puts the five landmarks."""


@pytest.mark.parametrize(
    ("change", "usable"),
    [
        (lambda box, points: (box, points), True),
        (lambda box, points: (box, np.full((5, 2), 50, np.float32)), False),
        (lambda box, points: (box, np.full((5, 2), np.nan, np.float32)), False),
        (lambda box, points: (box, points * np.float32(1e30)), False),
        (lambda box, points: ((700.0, 40.0, 720.0, 60.0), points), False),
        (lambda box, points: ((40.0, math.inf, 60.0, math.inf), points), False),
    ],
)
def test_faces_that_nothing_can_be_cropped_from_are_left_out_and_counted(change, usable):
    """One of them ended the run."""
    points = np.array([[45, 45], [55, 45], [50, 50], [46, 55], [54, 55]], np.float32)
    detection = Face(*change((40.0, 40.0, 60.0, 60.0), points), 0.9)
    with Bundle.open("pocket") as bundle:
        perceiver = Perceiver(bundle)
        perceiver.finder.find = lambda pictures: [[detection] for _ in pictures]
        frame = Frame(0, av.VideoFrame.from_ndarray(np.zeros((360, 640, 3), np.uint8), "rgb24"))
        (seen,) = perceiver.perceive([frame])
    assert (len(seen.faces), seen.bad_faces) == ((1, 0) if usable else (0, 1))


@pytest.mark.parametrize(
    ("crop", "near"),
    [
        (FaceCrop(48, TEMPLATE), True),
        (FaceCrop(48, TEMPLATE, tone="equalized"), True),
        (FaceCrop(48, POCKET), True),
        (FaceCrop(48, tuple((x + 2, y) for x, y in TEMPLATE)), False),
        (FaceCrop(64, scaled_template(64)), False),
        (FaceCrop(48, kind="person"), False),
    ],
)
def test_quality_and_appearance_need_no_second_cut_of_nearly_the_same_crop(crop, near):
    assert is_near_reference(crop) == near


def test_quality_and_appearance_hardly_depend_on_which_near_crop_they_see(portrait):
    landmarks = np.array([[207, 100], [245, 98], [228, 120], [211, 140], [243, 139]], np.float32)
    reference, own = (
        align_face(portrait, landmarks, np.asarray(template, np.float32), 48)
        for template in (TEMPLATE, POCKET)
    )
    one, other = (assess_quality(crop, landmarks) for crop in (reference, own))
    assert other.sharpness == pytest.approx(one.sharpness, abs=0.1)
    box = (185.0, 65.0, 268.0, 170.0)
    first, second = (describe_appearance(portrait, box, crop) for crop in (reference, own))
    assert float(first @ second) > 0.98


def test_a_face_in_a_large_picture_is_the_one_that_the_whole_picture_shows(portrait):
    """Of a large picture the detector gets a reduced copy, and only the face is converted."""
    scene = np.zeros((1080, 1920, 3), np.uint8)
    side = 700
    scene[200 : 200 + side, 900 : 900 + side] = cv2.resize(portrait, (side, side))
    planes = av.VideoFrame.from_ndarray(scene, "rgb24").reformat(format="yuv420p")
    whole = planes.reformat(format="rgb24")  # is not cut into parts
    with Bundle.open("pocket") as bundle:
        seen, expected = Perceiver(bundle).perceive([Frame(0, planes), Frame(1, whole)])
    (face,), (same,) = seen.faces, expected.faces
    assert (seen.frame_size, seen.scale) == (expected.frame_size, expected.scale)
    assert np.abs(np.subtract(face.box, same.box)).max() < 3
    assert np.abs(face.landmarks - same.landmarks).max() < 3
    assert face.appearance @ same.appearance > 0.98
    assert (
        np.abs(face.embeddings[0] - same.embeddings[0]).mean()
        < 0.1 * np.abs(same.embeddings[0]).mean()
    )
