"""From frames to observations."""

import math

import av
import numpy as np
import pytest

from affectstream.engines.bundle.bundle import Bundle
from affectstream.stream.faces.face import Face
from affectstream.stream.faces.perceive import Perceiver
from affectstream.stream.media.types import Frame


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
