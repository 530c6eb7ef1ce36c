"""Squares around faces to learn landmarks from, cut out as serving does around a box that errs as the
detector's do, and changed; with what MediaPipe's mesh answers for them."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.engines.landmarks import LANDMARKS, MESH_POINTS
from affectstream.train.errors import DataMissing
from affectstream.train.loader.faces.degrade import blurred, noisy_jpeg, relit

SIDE = 128
SCALE = 1.5
"""Side of a square in pixels, and in longer sides of the detector's box."""
BOX_SIZE, BOX_RAISE = np.array([1.01, 1.075]), 0.055
"""Width and height of a detector's box in those of the box of an upright face's landmarks, and how far it
reaches higher, in its height: YuNet's and ours on the photos."""
KEPT = 2.8
"""Part of a photo that is kept around a face, in longer sides of its box: turned squares fit in."""
KEPT_PX = 256

OPEN = (0.55, 0.55, 1.0)
"""Largest opening of the eyes and the mouth."""
BORDERS = (0.6, 0.2, 0.2)
"""How often the picture's border is repeated beyond its edge as in serving, is black, and is mirrored."""

Floats = NDArray[np.float32]
Grey = NDArray[np.uint8]

_MIRRORED = [
    LANDMARKS.index(name.replace("right", "#").replace("left", "right").replace("#", "left"))
    for name in LANDMARKS
]
FOREHEAD, CHIN = LANDMARKS.index("forehead"), LANDMARKS.index("chin")


@dataclass(frozen=True, slots=True)
class Face:
    """What the teacher answered for one face; points in pixels of `picture`, (H, W) grey."""

    picture: Grey
    landmarks: Floats
    rotation: Floats
    gaze: Floats
    openness: Floats


@dataclass(frozen=True, slots=True)
class Faces:
    """One set of faces. `odds` are the shares at which they are drawn, `sharp` weighs lids and irises."""

    faces: Sequence[Face]
    odds: NDArray[np.float64]
    sharp: float


def is_held(name: str) -> bool:
    """Whether a photo of this file name is kept for validation: those of every eighth person are."""
    return person_number(name) % 8 == 0


def person_number(name: str) -> int:
    """A number that all photos of one person share, whose file names are ``<Person>_<number>.jpg``."""
    person = name.rsplit("/", 1)[-1].rsplit("_", 1)[0]
    return zlib.crc32(person.encode())


def read_answers(path: Path) -> dict[str, NDArray[Any]]:
    """The columns that the teacher wrote into `path`. Raises `DataMissing`."""
    if not path.exists():
        raise DataMissing(
            f"{path} is missing: write it with train/data/teachers/face_mesh.py, in an "
            "environment with mediapipe"
        )
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


def read_faces(path: Path, *, photos: bool) -> tuple[Faces, Faces]:
    """Faces to train on and to validate with. Raises `DataMissing`."""
    table = read_answers(path)
    ends = np.concatenate([[0], table["ends"]])
    points = table["landmarks"][:, list(MESH_POINTS.values())].astype(np.float32)
    # In profile the corners nearly coincide, and the ratios leave every bound.
    openness = np.column_stack([table["eyes"], table["mouth"]]).clip(0, OPEN).astype(np.float32)
    sides: tuple[list[Face], list[Face]] = ([], [])
    for k, name in enumerate(table["name"].tolist()):
        number = int(table["picture"][k])
        blob = table["files"][ends[number] : ends[number + 1]]
        picture = np.asarray(cv2.imdecode(blob, cv2.IMREAD_GRAYSCALE), np.uint8)
        landmarks = points[k] - 0.5  # pixel centers are whole numbers
        if photos:
            picture, landmarks = _around_face(picture, landmarks)
            held = is_held(name)
        else:
            held = not name.startswith("train/")
        face = Face(picture, landmarks, table["rotation"][k], table["gaze"][k], openness[k])
        sides[held].append(face)
    train, valid = (Faces(side, _odds(side), 1.5 if photos else 0.3) for side in sides)
    return train, valid


def _box(points: Floats) -> tuple[Floats, float]:
    """Center (2,) and longer side of the detector's box around landmarks (32, 2) of a face at any angle: the
    detector learned the box of a turned head as that of the ellipse in its upright box."""
    up = points[FOREHEAD] - points[CHIN]
    up = up / max(1e-3, float(np.hypot(*up)))
    axes = np.stack([np.array([-up[1], up[0]]), -up])  # across and down the face
    along = points @ axes.T
    low, high = along.min(0), along.max(0)
    width, height = (high - low) * BOX_SIZE
    middle = (low + high) / 2 - [0.0, BOX_RAISE * height]
    longer = max(np.hypot(width * axes[0, k], height * axes[1, k]) for k in range(2))
    return (middle @ axes).astype(np.float32), float(longer)


def _around_face(picture: Grey, points: Floats) -> tuple[Grey, Floats]:
    """The part around a face, `KEPT_PX` wide at most, and the landmarks in it."""
    center, side = _box(points)
    half = KEPT / 2 * side
    low = np.maximum(np.floor(center - half).astype(int), 0)
    high = np.ceil(center + half).astype(int)
    part, points = picture[low[1] : high[1], low[0] : high[0]], points - low.astype(np.float32)
    ratio = KEPT_PX / (2 * half)
    if ratio < 1:
        part = np.asarray(
            cv2.resize(part, None, fx=ratio, fy=ratio, interpolation=cv2.INTER_AREA), np.uint8
        )
        points = (points + 0.5) * np.float32(ratio) - 0.5
    return np.ascontiguousarray(part), points.astype(np.float32)


def _odds(faces: Sequence[Face]) -> NDArray[np.float64]:
    """How often each face is drawn: up to five times as often the more unusual it is."""
    if not faces:
        return np.zeros(0)
    head = np.stack([-face.rotation[:, 2] for face in faces])
    gaze = np.stack([face.gaze for face in faces])
    openness = np.stack([face.openness for face in faces])
    turned = np.linalg.norm(head[:, :2], axis=1) / 0.35
    aside = np.linalg.norm(gaze[:, :2] - head[:, :2], axis=1) / 0.4
    closed = (openness[:, :2].mean(1) < 0.17) * 1.5
    mouth = openness[:, 2] / 0.4
    odds = 1 + np.minimum(turned**2, 2) + np.minimum(aside**2, 1) + closed + np.minimum(mouth**2, 1)
    return np.asarray(odds / odds.sum(), np.float64)


def cut(
    face: Face, rng: np.random.Generator, *, spread: float = 1.0, turn: float | None = None
) -> tuple[Grey, dict[str, Floats]]:
    """A face's square (SIDE, SIDE), turned by `turn` degrees (clockwise; at random if None), mirrored in half
    of the cases, and the targets in it. `spread` scales the errors of the box."""
    points, rotation, gaze, openness = face.landmarks, face.rotation, face.gaze, face.openness
    mirror = rng.random() < 0.5
    width = face.picture.shape[1]
    move = np.eye(3)
    if mirror:
        move = np.array([[-1.0, 0, width - 1], [0, 1, 0], [0, 0, 1]])
        flip = np.diag([-1.0, 1.0, 1.0])
        points = (points * [-1, 1] + [width - 1, 0])[_MIRRORED].astype(np.float32)
        rotation = np.asarray(flip @ rotation @ flip, np.float32)
        gaze, openness = np.asarray(flip @ gaze, np.float32), openness[[1, 0, 2]]
    if turn is None:
        turn = float(rng.normal(0, 22) if rng.random() < 0.7 else rng.uniform(-90, 90))
    cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    spin = np.array([[cosine, -sine], [sine, cosine]])
    turned = (points @ spin.T).astype(np.float32)
    center, side = _box(turned)
    side *= SCALE * math.exp(spread * rng.normal(0, 0.09))
    center = (center + spread * rng.normal(0, 0.035, 2) * side).astype(np.float32)
    zoom = SIDE / side
    # From the turned picture to the square, whose first pixel's center is half a pixel from its edge.
    place = np.column_stack([zoom * spin, SIDE / 2 - 0.5 - zoom * center])
    matrix = place @ move
    border = rng.choice(
        [cv2.BORDER_REPLICATE, cv2.BORDER_CONSTANT, cv2.BORDER_REFLECT_101], p=BORDERS
    )
    square = cv2.warpAffine(
        face.picture, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=int(border)
    )
    rolled = np.eye(3)
    rolled[:2, :2] = spin
    rotation = np.asarray(rolled @ rotation, np.float32)
    gaze = np.asarray(rolled @ gaze, np.float32)
    roll = rotation[[0, 1], 0] / max(1e-6, float(np.hypot(*rotation[[0, 1], 0])))
    targets = {
        "landmarks": ((turned - center) * zoom / SIDE + 0.5).ravel(),
        "head": -rotation[:, 2],
        "roll": roll,
        "openness": openness,
        "gaze": gaze,
    }
    return np.asarray(square, np.uint8), {k: np.asarray(v, np.float32) for k, v in targets.items()}


def degrade(square: Grey, rng: np.random.Generator) -> Grey:
    """Other light, blur, noise, JPEG blocks and a patch that covers a part, each with some probability."""
    square = relit(square, rng)
    if rng.random() < 0.2:  # a small face
        small = int(rng.uniform(0.25, 0.7) * SIDE)
        few = cv2.resize(square, (small, small), interpolation=cv2.INTER_AREA)
        square = np.asarray(cv2.resize(few, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR), np.uint8)
    square = noisy_jpeg(blurred(square, rng, 2.4), rng, (0.3, 12), (0.15, 70))
    if rng.random() < 0.2:
        square = square.copy()
        height, width = rng.integers(SIDE // 10, SIDE // 3, 2)
        top, left = rng.integers(0, SIDE - height), rng.integers(0, SIDE - width)
        square[top : top + height, left : left + width] = rng.integers(0, 256)
    return square
