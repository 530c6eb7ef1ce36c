"""Measuring `face_geometry`: which way portraits are turned, and how rows are compared with the mesh's."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.mesh_answers import landmarks, write_answers

pytest.importorskip("torch")

from affectstream.engines.manifest import Measurement
from affectstream.stream.faces.detection.find import FaceFinder
from affectstream.stream.faces.face import Face
from affectstream.stream.faces.measures.geometry import Geometry
from affectstream.stream.faces.measures.pose import Pose
from affectstream.train.errors import DataMissing
from affectstream.train.evaluate.parts.face_geometry import (
    evaluate_geometry,
    held_photos,
    turned_portraits,
)
from affectstream.train.loader.faces.squares import is_held

SIDE = 96


class LineFinder:
    """Finds a face in the middle of each picture, whose roll is the angle of a bright line."""

    def find(self, pictures: Sequence[NDArray[np.uint8]]) -> list[list[Face]]:
        return [[self._face(picture)] for picture in pictures]

    def _face(self, picture: NDArray[np.uint8]) -> Face:
        y, x = np.nonzero(picture[..., 0] > 128)
        covariance = np.cov(np.stack([x, y])) if len(x) > 2 else np.eye(2)
        roll = 0.5 * np.arctan2(2 * covariance[0, 1], covariance[0, 0] - covariance[1, 1])
        middle = picture.shape[1] / 2, picture.shape[0] / 2
        points = landmarks(middle, 0.5 * picture.shape[0])
        geometry = Geometry(
            points, Pose(0.0, 0.0, float(np.rad2deg(roll))), 0.3, 0.3, 0.1, (0.0, 0.0)
        )
        return Face((0.0, 0.0, 1.0, 1.0), geometry.five_points, 1.0, geometry=geometry)


def values(measured: Sequence[Measurement]) -> dict[str, float]:
    return {one.metric: one.value for one in measured}


def test_portraits_are_turned_clockwise() -> None:
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    cv2.line(picture, (20, 48), (76, 48), (255, 255, 255), 3)
    measured = values(turned_portraits(cast(FaceFinder, LineFinder()), [picture]))
    assert measured["slope of roll"] == pytest.approx(1.0, abs=0.03)
    assert measured["median residual of roll, degrees"] < 1.0


def test_photos_are_compared_with_the_mesh(tmp_path: Path) -> None:
    names = [f"images/Person{k}_0001.jpg" for k in range(24)]
    write_answers(tmp_path / "faces_in_context.npz", names, side=SIDE)
    with np.load(tmp_path / "faces_in_context.npz") as stored:
        photos = {name: stored[name] for name in stored.files}
    rows = held_photos(cast(FaceFinder, LineFinder()), photos)
    assert {row.count for row in rows} == {sum(map(is_held, names))}
    measured = values(rows)
    assert measured["share of the mesh's faces found"] == 1.0
    assert measured["landmarks, mean error in eye distances"] < 0.2
    assert measured["right_eye_openness, median difference"] == pytest.approx(0.0, abs=1e-6)
    # The finder answers 0 where the mesh sees heads turned by 0, 20 and 40 degrees.
    assert measured["yaw, slope"] == pytest.approx(0.0, abs=1e-6)


def test_it_needs_the_answers(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="face_mesh"):
        evaluate_geometry(cast(FaceFinder, LineFinder()), tmp_path, tmp_path)
