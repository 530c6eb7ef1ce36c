"""The photos of `face_detector`, and the faces that YuNet finds in them.

YuNet looks at each upright photo once: box and landmarks of a head that is turned on a canvas follow from
these. The photos are faces in context, 3,925 head shots, mostly close, longest side 256 pixels,
``faces_in_context.zip`` (``images/<Person>_<number>.jpg``) or the same folder unpacked. Where ``fer2013.zip``
is there, its 48-pixel crops serve for small faces: of many more people, hundreds of them in profile, which
the photos hardly have.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.engines.runtimes.onnx import OnnxEngine
from affectstream.stream.faces.detection.detect import Detector, DetectorSpec
from affectstream.train.errors import DataMissing
from affectstream.train.loader.faces.scene import Faces, Head, moved
from affectstream.train.loader.faces.squares import person_number

HELD_SHARE = 0.05
"""Share of the people kept for validation."""
YUNET = "models/yunet_n_dynamic.onnx"
CERTAIN = 0.6
"""YuNet's score of a face that has to be found; weaker ones, from `WEAK` on, may be found or not."""
WEAK = 0.3
CROP_EVERY = 3
"""One of so many crops with a frontal face is used, and all others."""
FRONTAL = 0.3
"""How far a head is turned at most that counts as frontal, see `Head`."""
CHUNK = 256
"""Pictures that one thread examines in one go."""
CROP_SCALE = 2
"""YuNet sees a crop enlarged by this factor."""
CROP_ZOOM = 2.0
"""How many times a crop may be enlarged on a canvas."""

Photo = NDArray[np.uint8]
"""(H, W, 3) RGB, or (H, W) grey."""


def read_photos(root: Path) -> tuple[list[Photo], list[Photo]]:
    """Photos (H, W, 3) uint8 RGB to train on and to validate on, other people on each side, each in a fixed
    order. About 0.6 GB. Raises `DataMissing` without ``faces_in_context.zip`` and ``faces_in_context/`` under
    `root`."""
    archive, folder = root / "faces_in_context.zip", root / "faces_in_context"
    if archive.exists():
        files = _in_archive(archive, ".jpg")
    elif folder.is_dir():
        paths = sorted(folder.rglob("*.jpg"))
        files = ((path.relative_to(folder).as_posix(), path.read_bytes()) for path in paths)
    else:
        raise DataMissing(f"photos not found: expected {archive} or {folder}/images/*.jpg")
    sides: tuple[list[Photo], list[Photo]] = ([], [])
    for name, blob in files:
        sides[is_held(name)].append(_decoded(name, blob))
    if not all(sides):
        raise DataMissing(f"no photos in faces_in_context under {root}: expected images/*.jpg")
    return sides


def read_crops(root: Path) -> tuple[list[Photo], list[Photo]]:
    """Crops of FER2013, (48, 48) uint8, to train on and to validate on; none without ``fer2013.zip``."""
    sides: tuple[list[Photo], list[Photo]] = ([], [])
    archive = root / "fer2013.zip"
    for name, blob in _in_archive(archive, ".png") if archive.exists() else ():
        sides[not name.startswith("train/")].append(_decoded(name, blob, cv2.IMREAD_GRAYSCALE))
    return sides


def is_held(name: str) -> bool:
    """Whether the photo of this file name belongs to a person kept for validation."""
    return person_number(name) % 1000 < HELD_SHARE * 1000


def _decoded(name: str, blob: bytes, kind: int = cv2.IMREAD_COLOR_RGB) -> Photo:
    photo = cv2.imdecode(np.frombuffer(blob, np.uint8), kind)
    if photo is None:
        raise ValueError(f"{name}: not a picture that OpenCV can read")
    return np.asarray(photo, np.uint8)


def _in_archive(path: Path, suffix: str) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(suffix):
                yield name, archive.read(name)


def find_heads(photos: Sequence[Photo], crops: Sequence[Photo], data: Path) -> list[Head]:
    """The photos (H, W, 3) uint8 RGB and the crops (H, W) uint8 in which YuNet finds a face, with all of
    their faces; of the crops with a frontal face one in `CROP_EVERY`. Raises `DataMissing` without YuNet in
    `data`."""
    path = data / YUNET
    if not path.exists():
        raise DataMissing(f"the teacher is missing: expected YuNet's dynamic graph as {path}")
    spec = DetectorSpec(size=256, threshold=WEAK, color="bgr", layout="nchw")

    def examine(part: Sequence[Photo], scale: int) -> list[Head]:
        with OnnxEngine(path, threads=1) as engine:
            detector = Detector(engine, spec)
            heads = [_head(detector, photo, scale) for photo in part]
        return [head for head in heads if head is not None]

    with ThreadPoolExecutor(min(8, len(os.sched_getaffinity(0)))) as pool:
        in_photos = list(pool.map(lambda part: examine(part, 1), _chunks(photos)))
        in_crops = list(pool.map(lambda part: examine(part, CROP_SCALE), _chunks(crops)))
    return [*chain(*in_photos), *thinned([*chain(*in_crops)])]


def _chunks(photos: Sequence[Photo]) -> Iterator[Sequence[Photo]]:
    return (photos[at : at + CHUNK] for at in range(0, len(photos), CHUNK))


def thinned(heads: Sequence[Head]) -> list[Head]:
    """The heads that are turned by more than `FRONTAL`, and one in `CROP_EVERY` of the others."""
    frontal = (k for k, head in enumerate(heads) if head.turned <= FRONTAL)
    dropped = {k for place, k in enumerate(frontal) if place % CROP_EVERY}
    return [head for k, head in enumerate(heads) if k not in dropped]


def _head(detector: Detector, photo: Photo, scale: int) -> Head | None:
    """A photo with the faces that are found in it enlarged by `scale`; None without a certain one."""
    shown = photo
    if scale > 1:
        large = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        shown = np.repeat(np.asarray(large, np.uint8)[..., None], 3, axis=2)
    found = detector.detect([shown])[0]
    if not found or found[0].score < CERTAIN:
        return None
    faces = Faces(
        np.array([face.box for face in found], np.float32),
        np.array([face.landmarks for face in found], np.float32),
        np.array([face.score >= CERTAIN for face in found]),
    )
    turned = _turned(found[0].landmarks)
    if scale == 1:
        return Head(photo, faces, turned)
    small = moved(faces, np.eye(2) / scale, np.full(2, 0.5 / scale - 0.5))
    return Head(photo, small, turned, CROP_ZOOM)


def _turned(landmarks: NDArray[np.float32]) -> float:
    """Distance of the nose from the middle of the eyes along the line between them, in eye distances."""
    right, left, nose = landmarks[:3]
    axis = left - right
    return float(abs((nose - (left + right) / 2) @ axis) / max(1.0, axis @ axis))
