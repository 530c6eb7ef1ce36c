"""From a decoded frame to a tracked face."""

import numpy as np

from affectstream.stream.faces.crop import TEMPLATE, align_face
from affectstream.stream.faces.detection.detect import letterbox
from affectstream.stream.faces.measures.quality import assess_quality
from affectstream.stream.faces.tracking.track import Tracker
from affectstream.stream.media.picture import to_rgb


def test_convert_a_frame(benchmark, frames):
    assert benchmark(to_rgb, frames[0]).shape == (360, 640, 3)


def test_shrink_a_picture_for_the_detector(benchmark, pictures):
    canvas = np.empty((160, 256, 3), np.uint8)
    benchmark(letterbox, pictures[0], canvas, 256)
    assert canvas.any()


def test_cut_a_face(benchmark, pictures, observations):
    (face,) = observations[0].faces
    template = np.asarray(TEMPLATE, np.float32)
    assert benchmark(align_face, pictures[0], face.landmarks, template, 48).shape == (48, 48, 3)


def test_assess_a_face(benchmark, pictures, observations):
    (face,) = observations[0].faces
    crop = align_face(pictures[0], face.landmarks, np.asarray(TEMPLATE, np.float32), 48)
    assert 0 <= benchmark(assess_quality, crop, face.landmarks).value <= 1


def test_find_faces_in_16_pictures(benchmark, perceiver, pictures):
    assert all(benchmark(perceiver.finder.find, pictures))


def test_perceive_16_frames(benchmark, perceiver, frames):
    assert all(found.faces for found in benchmark(perceiver.perceive, frames))


def test_track_16_frames(benchmark, observations):
    def track():
        tracker = Tracker()
        return [tracker.push(observation) for observation in observations]

    assert {number for found in benchmark(track) for number, _ in found} == {1}
