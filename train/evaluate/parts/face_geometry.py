"""How a bundle's `face_geometry` agrees with MediaPipe's face mesh, through the detector as in serving.

The mesh's answers come from ``train/data/teachers/face_mesh.py``. It is compared on recordings, on which
nothing is trained, and on photos of people who are kept out of training; these are also turned, and shown
again with other noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.engines.landmarks import MEASURES, MESH_POINTS
from affectstream.engines.manifest import Measurement
from affectstream.stream.faces.detection.find import FaceFinder
from affectstream.stream.faces.face import Face
from affectstream.stream.faces.measures.geometry import Geometry
from affectstream.train.loader.faces.squares import OPEN, is_held, read_answers
from affectstream.train.metrics import line

PART = "face_geometry"
TURNS = range(-45, 46, 15)
"""Degrees by which portraits are turned."""
TURNED, NOISY, REPEATS = 120, 40, 8
"""Photos that are turned; photos that are shown again, and how often."""
_BATCH = 16

Frame = NDArray[np.uint8]
Table = dict[str, NDArray[Any]]


def evaluate_geometry(finder: FaceFinder, data: Path, teacher: Path) -> list[Measurement]:
    """Correlation, slope and median difference of each measure on recordings and photos, the roll of turned
    portraits, and how steady each angle is. Raises `DataMissing`."""
    video, photos = (
        read_answers(teacher / f"{name}.npz") for name in ("video", "faces_in_context")
    )
    pictures = [_photo(photos, k) for k in _held_rows(photos)]
    return [
        *recordings(finder, data / "video", video),
        *held_photos(finder, photos),
        *turned_portraits(finder, pictures[:TURNED]),
        *steadiness(finder, pictures[:NOISY]),
    ]


def recordings(finder: FaceFinder, folder: Path, video: Table) -> list[Measurement]:
    """The faces that the mesh finds in recordings, and ours."""
    rows: list[_Row] = []
    for name in sorted(set(video["name"].tolist())):
        of_frame: dict[int, list[int]] = {}
        for k in np.flatnonzero(video["name"] == name).tolist():
            of_frame.setdefault(int(video["picture"][k]), []).append(k)
        for numbers, frames in _batches(folder / name):
            for number, faces in zip(numbers, finder.find(frames), strict=True):
                rows += [_row(video, k, faces) for k in of_frame.get(number, ())]
    return _agreement("recordings", rows)


def held_photos(finder: FaceFinder, photos: Table) -> list[Measurement]:
    """The faces that the mesh finds in photos of people who are kept out of training, and ours."""
    rows = [_row(photos, k, finder.find([_photo(photos, k)])[0]) for k in _held_rows(photos)]
    return _agreement("held-out photos", rows)


def turned_portraits(finder: FaceFinder, pictures: Sequence[Frame]) -> list[Measurement]:
    """Slope of the measured roll against the angle by which a portrait was turned, and the residual."""
    angles: list[float] = []
    measured: list[float] = []
    for picture in pictures:
        side = max(picture.shape)
        middle = (picture.shape[1] / 2 - 0.5, picture.shape[0] / 2 - 0.5)
        rolls: dict[int, float] = {}
        for turn in TURNS:
            move = cv2.getRotationMatrix2D(middle, -turn, 0.7)
            move[:, 2] += side / 2 - np.array(middle) - 0.5
            warped = cv2.warpAffine(picture, move, (side, side), borderMode=cv2.BORDER_REPLICATE)
            frame = np.asarray(warped, np.uint8)
            (faces,) = finder.find([frame])
            if (face := _central(faces, frame)) is not None:
                rolls[turn] = face.pose.roll
        if 0 in rolls:
            angles += list(rolls)
            measured += [roll - rolls[0] for roll in rolls.values()]
    x, y = np.asarray(angles), np.asarray(measured)
    _, slope, offset = line(x, y)
    where = "portraits turned by -45 to 45 degrees"
    residual = float(np.median(np.abs(y - slope * x - offset)))
    return [
        Measurement(PART, where, "slope of roll", round(slope, 4), len(x)),
        Measurement(PART, where, "median residual of roll, degrees", round(residual, 3), len(x)),
    ]


def steadiness(finder: FaceFinder, pictures: Sequence[Frame]) -> list[Measurement]:
    """Median standard deviation of each angle over the same photo with other noise, and moved by a pixel."""
    rng = np.random.default_rng(0)
    spreads: list[NDArray[np.float64]] = []
    for picture in pictures:
        frames = []
        for _ in range(REPEATS):
            noisy = picture + rng.normal(0, 3, picture.shape)
            moved = np.roll(noisy, rng.integers(-1, 2, 2), (0, 1))
            frames.append(np.clip(moved, 0, 255).astype(np.uint8))
        found = [_central(faces, picture) for faces in finder.find(frames)]
        measured = [_measures(one) for one in found if one is not None]
        if len(measured) == REPEATS:
            spreads.append(np.std(measured, axis=0))
    medians = np.median(spreads, axis=0)
    return [
        Measurement(
            PART,
            "the same photo, other noise",
            f"{name}, spread in degrees",
            round(float(v), 3),
            len(spreads),
        )
        for name, v in zip(MEASURES, medians, strict=True)
        if "openness" not in name
    ]


_Row = tuple[NDArray[np.float64], NDArray[np.float64], float] | None


def _row(table: Table, k: int, faces: Sequence[Face]) -> _Row:
    """Row `k` of the mesh, and the face among `faces` whose landmarks are nearest; None if they are far."""
    points = table["landmarks"][k][list(MESH_POINTS.values())] - 0.5
    geometries = [face.geometry for face in faces if face.geometry is not None]
    if not geometries:
        return None
    size = float(np.ptp(points, axis=0).max())
    found = min(
        geometries,
        key=lambda one: float(np.linalg.norm(one.landmarks.mean(0) - points.mean(0))),
    )
    distances = np.linalg.norm(found.landmarks - points, axis=1)
    if np.median(distances) > 0.3 * size:
        return None
    eyes = float(np.linalg.norm(points[0] - points[5]))
    truth = np.array(
        [
            *table["pose"][k],
            *np.clip([*table["eyes"][k], table["mouth"][k]], 0, OPEN),
            *table["gaze_angles"][k],
        ]
    )
    return truth, _measures(found), float(distances.mean()) / max(eyes, 0.3 * size)


def _measures(one: Geometry) -> NDArray[np.float64]:
    pose = one.pose
    return np.array(
        [pose.yaw, pose.pitch, pose.roll, one.right_eye, one.left_eye, one.mouth, *one.gaze]
    )


def _agreement(where: str, rows: Sequence[_Row]) -> list[Measurement]:
    found = [row for row in rows if row is not None]
    if not found:
        return []
    truths, measures, errors = zip(*found, strict=True)
    truth, mine, error = np.stack(truths), np.stack(measures), float(np.mean(errors))
    faces, count = len(rows), len(found)
    measured = [
        Measurement(PART, where, "share of the mesh's faces found", round(count / faces, 4), faces),
        Measurement(
            PART,
            where,
            "landmarks, mean error in eye distances",
            round(error, 4),
            count,
        ),
    ]
    for k, name in enumerate(MEASURES):
        r, slope, _ = line(truth[:, k], mine[:, k])
        difference = mine[:, k] - truth[:, k]
        apart = float(np.median(np.abs(difference - np.median(difference))))
        measured += [
            Measurement(PART, where, f"{name}, {metric}", round(value, 4), count)
            for metric, value in (
                ("correlation", r),
                ("slope", slope),
                ("median difference", apart),
            )
        ]
    return measured


def _central(faces: Sequence[Face], picture: Frame) -> Geometry | None:
    """The face whose center is nearest to the middle of the picture."""
    measured = [face.geometry for face in faces if face.geometry is not None]
    middle = np.array([picture.shape[1] / 2, picture.shape[0] / 2])
    return min(
        measured,
        key=lambda one: float(np.linalg.norm(one.landmarks.mean(0) - middle)),
        default=None,
    )


def _held_rows(photos: Table) -> list[int]:
    return [k for k, name in enumerate(photos["name"].tolist()) if is_held(name)]


def _photo(photos: Table, k: int) -> Frame:
    number = int(photos["picture"][k])
    start = int(photos["ends"][number - 1]) if number else 0
    blob = photos["files"][start : int(photos["ends"][number])]
    return np.asarray(cv2.imdecode(blob, cv2.IMREAD_COLOR_RGB), np.uint8)


def _batches(path: Path) -> Iterator[tuple[list[int], list[Frame]]]:
    numbers: list[int] = []
    frames: list[Frame] = []
    with av.open(str(path)) as container:
        for number, picture in enumerate(container.decode(video=0)):
            numbers.append(number)
            frames.append(np.asarray(picture.to_ndarray(format="rgb24"), np.uint8))
            if len(frames) == _BATCH:
                yield numbers, frames
                numbers, frames = [], []
    if frames:
        yield numbers, frames
