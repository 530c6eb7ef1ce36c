"""Degraded faces are those of which a recognizer still says something."""

import zipfile

import cv2
import numpy as np
import pytest

from affectstream.stream.faces.measures.quality import MIN_QUALITY, assess_quality
from affectstream.train.data.degrade import FACES, PAIRED_FACES

EYES_NOSE_MOUTH = np.float32([[15, 18], [33, 18], [24, 28], [17, 37], [31, 37]])


@pytest.mark.data
def test_blurred_faces_of_pairs_are_usable_and_those_of_the_robustness_table_are_not(data_root):
    with zipfile.ZipFile(data_root / "fer2013.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".png"))[::200]
        pictures = [np.frombuffer(archive.read(name), np.uint8) for name in names]
    crops = [cv2.imdecode(picture, cv2.IMREAD_COLOR_RGB) for picture in pictures]
    random = np.random.default_rng(0)

    def usable(change):
        found = (assess_quality(change(crop, random), EYES_NOSE_MOUTH) for crop in crops)
        return np.mean([quality.sharpness >= MIN_QUALITY for quality in found])

    for name in PAIRED_FACES:
        assert usable(PAIRED_FACES[name]) > (0.6 if name == "few_pixels" else 0.85), name
    assert usable(FACES["blur"]) < 0.05
