"""What the original files of the data sets give as inputs of engines."""

from __future__ import annotations

import zipfile

import cv2
import numpy as np
import pytest

from affectstream.bench.engines.inputs import InputsMissing, faces


def test_faces_of_the_public_test_as_png_or_jpeg(tmp_path):
    picture = np.full((48, 48), 90, np.uint8)
    with zipfile.ZipFile(tmp_path / "fer2013.zip", "w") as archive:
        for name in ("test/happy/1.png", "test/sad/2.jpg", "train/sad/3.png", "test/votes.csv"):
            kind = ".jpg" if name.endswith("jpg") else ".png"
            archive.writestr(name, cv2.imencode(kind, picture)[1].tobytes())
    found = faces(tmp_path)
    assert found.shape == (2, 48, 48, 3)
    assert np.abs(found.astype(int) - 90).max() <= 1


def test_without_faces_it_says_what_is_missing(tmp_path):
    with pytest.raises(InputsMissing, match=r"expected test/<class>/\*.png in"):
        faces(tmp_path)
